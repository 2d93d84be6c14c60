"""The contents of a report belong to the rows that they are shown for."""

import numpy as np

from dml.datasets import Items
from dml.runs import Evaluation, MetricValue
from dml.runs._measuring import measure
from dml.runs._report import report_data
from dml.runs._splits import TestSplit
from tests.datasets.layouts import write_image


def test_thumbnails_of_queries_and_gallery_are_their_own(tmp_path):
    # Rows of the split: gallery, query, gallery, query; each image has a colour of its own.
    import cv2

    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((8, 8, 3), 40 * (i + 1), "uint8"))
    splits = ["gallery", "query", "gallery", "query"]
    items = Items.build(
        [str(p) for p in paths], list("aabb"), splits, list("0123"), "query-gallery"
    )
    split = TestSplit.of(items, "mine", "none")
    vectors = np.eye(2, dtype="float32")[[0, 0, 1, 1]]
    measured = measure(split, vectors, ks=(1,), verify=True)
    metrics = {"R@1": MetricValue(1.0, 0.9, 1.0), "AUC": MetricValue(1.0)}
    evaluation = Evaluation(
        tmp_path, "mine", "query-gallery", 2, 0, 2, 2, metrics, {"R@1": MetricValue(0.4, 0.3, 0.5)}
    )
    data = report_data(evaluation, split, vectors, measured, "title", "", "", [], [], "", {}, 7)
    assert [int(data.thumbnail(row)[0, 0, 0]) for row in (0, 1)] == [80, 160]
    assert [int(data.gallery_thumbnail(row)[0, 0, 0]) for row in (0, 1)] == [40, 120]
    np.testing.assert_array_equal(data.vectors, vectors[[1, 3]])
    np.testing.assert_array_equal(data.gallery_vectors, vectors[[0, 2]])
    assert [data.class_names[code] for code in data.labels] == ["a", "b"]
    assert [data.class_names[code] for code in data.gallery_labels] == ["a", "b"]
    first, second = data.metrics
    assert (first.value, first.interval, first.frozen) == (1.0, (0.9, 1.0), 0.4)
    assert first.frozen_interval == (0.3, 0.5) and second.frozen is None
    accepted, rejected = data.errors
    assert accepted[-1] == 1 and rejected[-1] == 0 and data.seeds == {"training": 7}


def test_images_that_search_each_other_have_no_gallery(tmp_path):
    write_image(tmp_path / "0.jpg")
    paths = [str(tmp_path / "0.jpg")] * 4
    items = Items.build(paths, list("aabb"), ["test"] * 4, list("0123"), "zero-shot")
    split = TestSplit.of(items, "mine", "none")
    vectors = np.eye(2, dtype="float32")[[0, 0, 1, 1]]
    evaluation = Evaluation(tmp_path, "mine", "zero-shot", 4, 0, 4, 2, {})
    data = report_data(
        evaluation,
        split,
        vectors,
        measure(split, vectors, ks=(1,)),
        "title",
        "",
        "",
        [],
        [],
        "",
        {},
        0,
    )
    assert data.gallery_vectors is None and data.gallery_thumbnail is None and data.errors is None

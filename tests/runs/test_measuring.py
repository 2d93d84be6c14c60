"""Metrics of a test split, worked by hand."""

import numpy as np
import pytest

from dml.datasets import Items
from dml.evaluation import CalibratedThreshold, ThresholdKind
from dml.runs._measuring import calibrate, linear_metrics, measure, with_test_rates
from dml.runs._splits import TestSplit


def split_of(protocol, splits, classes):
    paths = [f"{i}.jpg" for i in range(len(splits))]
    names = [f"class {c}" for c in classes]
    return TestSplit.of(Items.build(paths, names, splits, paths, protocol), "mine", "none")


def items_of(names, **options):
    paths = [f"{i}.jpg" for i in range(len(names))]
    return Items.build(paths, list(names), "val", paths, "zero-shot", **options)


def at(*degrees):
    """Returns unit vectors of a plane at these angles."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype("float32")


def test_queries_search_the_gallery_and_not_each_other():
    # Two queries close to each other; the gallery's nearest is the other class for the second.
    split = split_of("query-gallery", ["query", "query", "gallery", "gallery"], [0, 1, 0, 1])
    measured = measure(split, at(0, 1, 5, 90), ks=(1, 2), verify=True)
    assert measured.retrieval.neighbours[:, 0].tolist() == [0, 0]
    assert measured.metrics["R@1"].value == 0.5 and measured.metrics["R@2"].value == 1
    assert measured.verification.genuine == 2  # over all pairs of queries and gallery
    assert measured.notes == ()


def test_gallery_rows_are_those_of_the_gallery():
    split = split_of("query-gallery", ["gallery", "query", "gallery", "query"], [0, 0, 1, 1])
    measured = measure(split, at(0, 1, 60, 61), ks=(1,))
    assert measured.metrics["R@1"].value == 1
    threshold = CalibratedThreshold(ThresholdKind.PRECISION, 0.9, 0.9, 1.0, 0.95, 10, 0.5)
    (precision,) = with_test_rates([threshold], measured, at(0, 1, 60, 61), split)
    assert precision.test_rate == 1 and precision.test_coverage == 1
    # Rows 0 and 1 of the gallery are rows 0 and 2 of the split.
    assert split.gallery_rows[measured.retrieval.neighbours[:, 0]].tolist() == [0, 2]


def test_an_image_of_its_own_camera_is_not_a_query_s_neighbour():
    # By angle: a1 a1 b1 a2 b2. Each of a's first two finds b1 first, and a2 behind it.
    paths = [f"{i}.jpg" for i in range(5)]
    cameras = ["1", "1", "1", "2", "2"]
    items = Items.build(paths, list("aabab"), "test", paths, "zero-shot", cameras=cameras)
    vectors = at(0, 1, 10, 25, 60)
    split = TestSplit.of(items, "mine", "camera")
    measured = measure(split, vectors, ks=(1, 2))
    assert measured.retrieval.neighbours[:, 0].tolist() == [2, 2, 1, 2, 3]
    assert measured.retrieval.first_positive.tolist() == [2, 2, 4, 2, 2]
    assert measured.metrics["R@2"].value == 0.8
    alone = measure(TestSplit.of(items, "mine", "none"), vectors, ks=(1,))
    assert alone.retrieval.first_positive.tolist() == [1, 1, 4, 2, 2]
    every = ["1"] * 5
    items = Items.build(paths, list("aabab"), "test", paths, "zero-shot", cameras=every)
    measured = measure(TestSplit.of(items, "mine", "camera"), vectors, ks=(1,))
    assert measured.notes[0].startswith("no retrieval metrics: no query has another image")
    (_, (note,)) = calibrate(vectors, items, 0.5, 0.5, "camera")
    assert note.startswith("no calibrated thresholds: no query has another image")


def test_nothing_to_measure_is_a_note_each():
    split = split_of("zero-shot", ["test"] * 3, [0, 1, 2])
    measured = measure(split, at(0, 30, 60), ks=(1,), clustering_seeds=1, verify=True)
    assert measured.metrics == {} and measured.retrieval is None
    starts = [note.split(":")[0] for note in measured.notes]
    assert starts == [
        "no retrieval metrics",
        "no clustering metrics",
        "no verification metrics",
    ]


def test_a_threshold_accepts_from_its_similarity_upwards():
    # Nearest similarities: cos 10 (right) for two queries, cos 40 (wrong) for the other two.
    split = split_of("query-gallery", ["query"] * 4 + ["gallery"] * 2, [0, 0, 1, 1, 0, 1])
    vectors = at(10, -10, 40, -40, 0, 180)
    measured = measure(split, vectors, ks=(1,), verify=True)
    limit = float(np.cos(np.radians(20)))
    thresholds = [
        CalibratedThreshold(ThresholdKind.PRECISION, limit, 0.9, 1.0, 0.9, 9, 0.5),
        CalibratedThreshold(ThresholdKind.FAR, limit, 0.1, 0.0, 0.1, 9, 0.5),
        CalibratedThreshold(
            ThresholdKind.FAR, float(np.cos(np.radians(35))), 0.3, 0.0, 0.3, 9, 0.5
        ),
    ]
    precision, far, wider = with_test_rates(thresholds, measured, vectors, split)
    assert precision.test_rate == 1 and precision.test_coverage == 0.5
    # Of the 9 pairs of two classes none is within 20 degrees.
    assert far.test_rate == 0 and far.test_coverage == 0.5
    # Two are 30 degrees apart, four 40 and more.
    assert wider.test_rate == pytest.approx(2 / 9)


def test_what_was_not_measured_has_no_test_rate():
    split = split_of("zero-shot", ["test"] * 2, [0, 1])
    measured = measure(split, at(0, 30), ks=(1,))
    threshold = CalibratedThreshold(ThresholdKind.FAR, 0.5, 0.1, 0.0, 0.1, 9, 0.5)
    assert with_test_rates([threshold], measured, at(0, 30), split) == (threshold,)


def test_thresholds_that_nothing_promises_are_named():
    vectors = at(0, 1, 90, 91)
    thresholds, notes = calibrate(vectors, items_of([0, 0, 1, 1]), 0.9, 0.01)
    assert thresholds == ()  # 4 right answers show a precision of 0.47 at the most
    assert notes == (
        "no threshold reaches a precision of 90 % on the validation split",
        "no threshold reaches a false accept rate of 1 % on the validation split",
    )
    assert calibrate(at(0, 1), items_of([0, 0]), 0.9, 0.01)[1][0].startswith("no calibrated")


def test_a_promise_that_validation_keeps_is_a_threshold():
    # 40 pairs, 9 degrees apart: every nearest neighbour, at 1 degree, is right.
    degrees = np.repeat(np.arange(40) * 9, 2) + np.tile([0, 1], 40)
    (precision, far), notes = calibrate(
        at(*degrees), items_of(np.repeat(np.arange(40), 2)), 0.9, 0.05
    )
    assert notes == ()
    assert precision.kind is ThresholdKind.PRECISION and precision.target == 0.9
    assert precision.rate == 1 and precision.coverage == 1 and precision.count == 80
    # Clopper and Pearson's of 80 of 80, with half of the error: the others are tested from 72 on.
    assert precision.bound == pytest.approx(0.025 ** (1 / 80))
    assert precision.similarity == pytest.approx(np.cos(np.radians(1)), abs=2e-6)
    assert far.kind is ThresholdKind.FAR and far.bound <= 0.05 and far.target == 0.05


@pytest.mark.parametrize("names", [[0] * 60 + [1] * 2, [1] * 2 + [0] * 60])
def test_a_nearest_neighbour_that_ties_with_another_class_is_wrong(names):
    # All vectors are the same: which neighbour comes first says nothing, though most are of one
    # class.
    thresholds, notes = calibrate(np.tile(at(30), (62, 1)), items_of(names), 0.5, 0.01)
    assert thresholds == () and notes[0].startswith("no threshold reaches a precision of 50 %")
    classes = names[-60:-56] + names[:3] + names[-3:]
    split = split_of("query-gallery", ["query"] * 4 + ["gallery"] * 6, classes)
    vectors = np.tile(at(30), (10, 1))
    threshold = CalibratedThreshold(ThresholdKind.PRECISION, 0.5, 0.9, 1.0, 0.9, 9, 0.5)
    measured = measure(split, vectors, ks=(1,))
    assert with_test_rates([threshold], measured, vectors, split)[0].test_rate == 0


def test_copies_are_accepted_by_the_threshold_of_copies():
    rng = np.random.default_rng(0)

    def drawn(count):
        x = rng.normal(size=(count, 256))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
        return np.concatenate([x, x]), np.tile(np.arange(count), 2)

    vectors, names = drawn(25)
    (threshold, *_), _ = calibrate(vectors, items_of(names), 0.9, 0.05)
    vectors, names = drawn(400)
    split = split_of("query-gallery", ["query"] * 400 + ["gallery"] * 400, names)
    measured = measure(split, vectors, ks=(1,))
    (found,) = with_test_rates([threshold], measured, vectors, split)
    assert found.test_coverage == 1 and found.test_rate == 1


def test_test_classes_without_training_images_count_as_wrong():
    names = [0, 0, 1, 1, 0, 1, 2]
    splits = ["train"] * 4 + ["test"] * 3
    paths = [f"{i}.jpg" for i in range(7)]
    items = Items.build(paths, names, splits, paths, "seen-class")
    measured = linear_metrics(at(0, 2, 90, 92, 1, 91, 45), items)
    assert measured.metrics["1-NN accuracy"].value == pytest.approx(2 / 3)
    assert measured.notes[0].endswith(" count as wrong: 1 of 3 test images")

"""Checks and properties of a report's data."""

import numpy as np
import pytest

from dml.report import Metric
from tests.report.example import example


def test_queries_search_each_other_where_there_is_no_gallery():
    data = example()
    assert data.searched_vectors is data.vectors
    assert data.searched_labels is data.labels
    assert data.searched_thumbnail is data.thumbnail


def test_queries_search_the_gallery():
    data = example(gallery=True)
    assert data.searched_vectors is data.gallery_vectors
    assert data.searched_labels is data.gallery_labels
    assert data.searched_thumbnail is data.gallery_thumbnail


def test_any_hashable_names_a_class_and_its_code_stands_in():
    data = example(class_names=[("alphabet", "alpha"), 17])
    assert data.class_name(np.int32(0)) == "('alphabet', 'alpha')"
    assert data.class_name(1) == "17"
    assert data.class_name(2) == "2"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"vectors": np.zeros((3, 6))}, "vectors has 3 rows for 20 labels"),
        ({"neighbours": np.zeros((3, 6), int)}, "neighbours has 3 rows"),
        ({"first_positive": np.ones(3, int)}, "first_positive has 3 rows"),
        ({"gallery_vectors": np.zeros((3, 6))}, "gallery_labels and gallery_thumbnail together"),
    ],
)
def test_refuses_data_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        example(**changes)


def test_a_metric_needs_a_name_and_a_value_only():
    assert Metric("Recall@1", 0.5).frozen is None

"""Planted errors are found."""

import numpy as np
import pytest

from dml.evaluation import find_label_issues


@pytest.fixture
def clusters():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(["ant", "bee", "cat", "dog"], dtype=object), 20)
    centres = rng.normal(size=(4, 16))
    return centres.repeat(20, axis=0) + 0.3 * rng.normal(size=(80, 16)), labels


def test_clean_data_has_no_findings(clusters):
    found = find_label_issues(*clusters)
    assert found.mislabelled == found.duplicates == found.confused == found.never_found == []


def test_a_wrong_label_is_named_with_the_right_one(clusters):
    x, labels = clusters
    labels = labels.copy()
    labels[[3, 41]] = "dog", "ant"
    found = find_label_issues(x, labels)
    assert {(row, name) for row, name, _ in found.mislabelled} == {(3, "ant"), (41, "cat")}
    assert all(share >= 0.8 for *_, share in found.mislabelled)


def test_duplicates_are_paired(clusters):
    x, labels = clusters
    x = x.copy()
    x[7], x[60] = 2 * x[5], x[22]
    pairs = [(a, b) for a, b, _ in find_label_issues(x, labels).duplicates]
    assert sorted(pairs) == [(5, 7), (22, 60)]


def test_classes_that_are_one_are_confused(clusters):
    x, labels = clusters
    labels = labels.copy()
    labels[:20:2] = "wasp"  # ants by another name
    first = find_label_issues(x, labels).confused[0]
    assert set(first[:2]) == {"ant", "wasp"} and first[2] > 0.3


def test_a_class_that_is_never_found(clusters):
    x, labels = clusters
    labels = labels.copy()
    labels[[2, 25, 47, 66]] = "owl"  # one in each cluster
    assert find_label_issues(x, labels).never_found == ["owl"]


def test_says_what_is_wrong(clusters):
    with pytest.raises(ValueError, match=r"agreement must be positive; got 0\.0"):
        find_label_issues(*clusters, agreement=0.0)
    with pytest.raises(ValueError, match="two rows"):
        find_label_issues([[1.0, 2.0]], ["a"])

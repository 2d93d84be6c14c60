"""Planted errors are found."""

import numpy as np
import pytest

from dml.errors import OptionError
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


def at(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_pair_that_only_the_later_rows_list_holds_is_found():
    # The nearest of each: 1 of 0, 0 of 1, and 0 of 2, which no list but its own holds.
    found = find_label_issues(at(0, 0.5, -0.6, 90), list("aaab"), neighbours=1)
    assert [pair[:2] for pair in found.duplicates] == [(0, 1), (0, 2)]
    expected = np.cos(np.radians([0.5, 0.6]))
    assert [pair.similarity for pair in found.duplicates] == pytest.approx(expected, abs=1e-6)


def test_every_pair_of_either_list_is_reported_once():
    # 30 near-copies, each with its own nearest 10.
    rng = np.random.default_rng(0)
    x = 1 + 0.01 * rng.normal(size=(30, 16))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarities = unit @ unit.T - 2 * np.eye(30)
    near = np.argsort(-similarities, axis=1)[:, :10]
    expected = {(min(i, j), max(i, j)) for i, row in enumerate(near.tolist()) for j in row}
    pairs = [pair[:2] for pair in find_label_issues(x, [0] * 15 + [1] * 15).duplicates]
    assert len(pairs) == len(expected) > 150 and set(pairs) == expected


@pytest.mark.parametrize("dim", [8, 64, 512])
def test_copies_are_duplicates_however_products_are_rounded(dim):
    x = np.random.default_rng(0).normal(size=(40, dim))
    found = find_label_issues(np.concatenate([x, x]), [*range(40)] * 2, duplicate=1.0)
    assert sorted(pair[:2] for pair in found.duplicates) == [(i, i + 40) for i in range(40)]


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
    with pytest.raises(ValueError, match=r"agreement must be in \(0, 1\]; got 0\.0"):
        find_label_issues(*clusters, agreement=0.0)
    with pytest.raises(OptionError, match=r"neighbours must be an integer; got 2\.5"):
        find_label_issues(*clusters, neighbours=2.5)
    with pytest.raises(ValueError, match="two rows"):
        find_label_issues([[1.0, 2.0]], ["a"])

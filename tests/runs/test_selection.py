"""The choice among candidates: hand calculations."""

import numpy as np
import pytest

from dml.runs._selection import (
    Candidate,
    Scores,
    most_accurate,
    simplest_within_error,
)

CLASSES = np.repeat(np.arange(5), 4)


def scores(hits):
    return Scores(np.asarray(hits, "float64"), CLASSES)


def candidate(name, hits, share=None):
    return Candidate(name, share, [], scores(hits))


def hits_of(*counts):
    """Returns hits of five classes of four queries, of which so many are right."""
    return np.concatenate([np.arange(4) < count for count in counts]).astype("float64")


def test_nearest_neighbours_are_scored_by_hand():
    vectors = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], "float32")
    found = Scores.of(vectors, np.array([0, 0, 1, 1]))
    # The nearest of the second is the third (0.96 against 0.8), and the other way round.
    np.testing.assert_array_equal(found.hits, [1, 0, 0, 1])
    assert found.recall == 0.5 and found.classes.tolist() == [0, 0, 1, 1]


def test_the_difference_has_the_clustered_error_of_a_hand_calculation():
    # Gains of 4, 0, 0, 0 and 1 of four queries: the mean is 5 / 20. Deviations of the classes'
    # sums are 3, -1, -1, -1, 0, whose squares sum to 12: sqrt(5 / 4 * 12) / 20.
    gap, error = scores(hits_of(4, 2, 2, 2, 3)).difference(scores(hits_of(0, 2, 2, 2, 2)))
    assert gap == 0.25 and error == pytest.approx(np.sqrt(15) / 20)


def test_a_single_class_has_no_error_to_trust():
    one = Scores(np.ones(3), np.zeros(3))
    assert one.difference(Scores(np.zeros(3), np.zeros(3))) == (1.0, float("inf"))


def test_the_simplest_within_an_error_is_chosen():
    frozen = candidate("before training", hits_of(2, 2, 2, 2, 2))
    lucky = candidate("head", hits_of(4, 2, 2, 2, 2))  # better in one class only: 0.1 +- 0.1
    better = candidate("fine-tuned", hits_of(3, 3, 3, 3, 2))  # 0.2 +- 0.05
    assert simplest_within_error([frozen, lucky]) is frozen
    assert simplest_within_error([frozen, better]) is better
    assert simplest_within_error([frozen, lucky, better]) is lucky  # behind by 0.1 +- 0.11
    assert simplest_within_error([frozen]) is frozen


def test_of_equals_the_middle_is_kept():
    path = [candidate("", hits_of(2, 2, 2, 2, n), share) for n, share in RECALLS]
    assert most_accurate(path).share == 0.5
    assert most_accurate([path[1], path[3]]).share == 0.25  # both a quarter away
    assert most_accurate([path[0], path[4]]).share == 0.0
    assert most_accurate([*path, candidate("", hits_of(2, 2, 2, 2, 4), 1.0)]).share == 1.0


RECALLS = [(3, 0.0), (3, 0.25), (3, 0.5), (3, 0.75), (3, 1.0)]

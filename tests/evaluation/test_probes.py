"""Linear and nearest-neighbour evaluation on shared classes."""

import itertools
import tracemalloc

import numpy as np
import pytest

from dml.errors import ArrayError, OptionError
from dml.evaluation import knn_evaluation, linear_evaluation, probes


def test_learns_what_a_nearest_neighbour_can_not():
    rng = np.random.default_rng(0)
    # The class is the sign of one small dimension among large ones of noise.
    x = rng.normal(size=(600, 20))
    labels = (x[:, 0] > 0).astype(int)
    x[:, 0] *= 0.4
    found = linear_evaluation(x[:400], labels[:400], x[400:], labels[400:])
    assert found.accuracy > 0.9 > found.nearest_accuracy > 0.4


def test_labels_that_the_training_never_saw_are_wrong():
    rng = np.random.default_rng(0)
    x = np.repeat(np.eye(3), 6, axis=0) + 0.01 * rng.normal(size=(18, 3))
    labels = np.repeat(["a", "b", "c"], 6)
    found = linear_evaluation(x, labels, x[[0, 7]], ["a", "never seen"])
    assert found.metrics()["linear accuracy"]["value"] == 0.5
    assert found.metrics()["1-NN accuracy"]["value"] == 0.5


@pytest.mark.filterwarnings("error")
def test_a_class_of_one_image_is_fitted_and_chooses_nothing():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = np.repeat(np.eye(4), [5, 4, 3, 1], axis=0) + 0.3 * rng.normal(size=(13, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = np.repeat([0, 1, 2, 3], [5, 4, 3, 1])
    test = np.concatenate([np.eye(4), x])
    found = linear_evaluation(x, labels, test, [*range(4), *labels])
    without = linear_evaluation(x[:12], labels[:12], test, [*range(4), *labels])
    assert found.inverse_penalty == without.inverse_penalty
    fitted = LogisticRegression(C=found.inverse_penalty, max_iter=500).fit(x, labels)
    assert found.accuracy == fitted.score(test, [*range(4), *labels])


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 2, 3]])
def test_refuses_what_it_can_not_fit(labels):
    with pytest.raises(ValueError, match="2 training images of each of 2 classes"):
        linear_evaluation(np.eye(4), labels, np.eye(4), labels)


@pytest.mark.parametrize("evaluate", [linear_evaluation, knn_evaluation])
def test_both_sides_have_the_same_dimensions(evaluate):
    with pytest.raises(ArrayError, match="embeddings have 8 dimensions, test_embeddings 5"):
        evaluate(np.ones((4, 8)), [0, 0, 1, 1], np.ones((2, 5)), [0, 1])


def test_votes_by_hand():
    angles = np.radians([0, 4, 5, 40])
    train = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    test = np.array([[np.cos(0.01), np.sin(0.01)], [np.cos(0.6), np.sin(0.6)]])
    # The first's nearest is an a, but two b outvote it; the second's nearest is c.
    found = knn_evaluation(train, ["a", "b", "b", "c"], test, ["b", "c"], ks=(1, 3))
    assert found == {1: 0.5, 3: 0.5}


def test_votes_that_tie_count_against_the_model():
    train = np.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]])
    test = np.array([[1.0, 0.0], [0.0, 0.0]])
    assert knn_evaluation(train, ["a", "b", "a"], test, ["a", "a"], ks=(2,)) == {2: 0.0}


def test_a_copy_of_another_class_ties_however_products_are_rounded():
    train = np.random.default_rng(0).normal(size=(60, 64))
    labels = np.arange(60) % 3
    twice = np.concatenate([train, train]), np.append(labels, (labels + 1) % 3)
    assert linear_evaluation(*twice, train, labels).nearest_accuracy == 0.0
    assert knn_evaluation(*twice, train, labels, ks=(2,)) == {2: 0.0}
    assert linear_evaluation(train, labels, train, labels).nearest_accuracy == 1.0


@pytest.mark.parametrize("classes", ["abab", "baba"])
def test_the_order_of_copies_has_no_effect(classes):
    same = np.ones((4, 3))
    assert knn_evaluation(same, list(classes), same[:2], ["a", "b"], ks=(1,)) == {1: 0.0}
    every = knn_evaluation(same, list(classes), same[:1], ["a"], ks=(1, 2, 3, 4))
    assert every == dict.fromkeys((1, 2, 3, 4), 0.0)


def wins_whoever_votes(similarities, classes, wanted, k):
    """Returns whether a class has the most votes, for every choice among the ties at k."""
    last = sorted(similarities, reverse=True)[k - 1]
    sure = [i for i, s in enumerate(similarities) if s > last + 1e-6]
    tied = [i for i, s in enumerate(similarities) if abs(s - last) <= 1e-6]
    for some in itertools.combinations(tied, k - len(sure)):
        votes = dict.fromkeys(classes, 0.0)
        for i in (*sure, *some):
            votes[classes[i]] += max(similarities[i], 0.0)
        most = max(votes.values())
        if most <= 0 or [c for c, v in votes.items() if v > most - 1e-4] != [wanted]:
            return False
    return True


@pytest.mark.parametrize("listed", [100, 1])
def test_ties_at_the_last_vote_count_against_the_model(monkeypatch, listed):
    monkeypatch.setattr(probes, "SHORTEST", listed)
    rng = np.random.default_rng(0)
    wins = 0
    for _ in range(150):
        angles = rng.choice([5, 10, 10, 20, 20, 20, 100], 8) * rng.choice([-1, 1], 8)
        classes = rng.choice(list("aab"), 8).tolist()
        turns = np.radians(angles)
        train = np.stack([np.cos(turns), np.sin(turns)], axis=1)
        for k in (1, 2, 3, 5, 8):
            expected = wins_whoever_votes(np.cos(turns).tolist(), classes, "a", k)
            classes_of = [*classes, "a"]  # far off, so that the class is known
            found = knn_evaluation(
                np.append(train, [[-1.0, 0.0]], axis=0), classes_of, [[1.0, 0.0]], ["a"], ks=(k,)
            )
            assert found == {k: float(expected)}
            wins += expected
    assert 100 < wins < 650


def test_the_nearest_is_the_same_in_both_evaluations():
    rng = np.random.default_rng(0)
    train = rng.integers(-1, 2, (200, 4)) + 0.5  # many copies, of all classes
    test, labels = rng.integers(-1, 2, (100, 4)) + 0.5, rng.integers(0, 4, 300)
    sides = train, labels[:200] // 3, test, labels[200:] // 3
    nearest = linear_evaluation(*sides).nearest_accuracy
    assert 0 < nearest < 1 and knn_evaluation(*sides, ks=(1,)) == {1: nearest}


def test_many_votes_take_no_more_memory():
    rng = np.random.default_rng(0)
    sides = rng.normal(size=(3000, 8)), np.arange(3000) % 50
    test = rng.normal(size=(1000, 8)), np.arange(1000) % 50
    tracemalloc.start()
    knn_evaluation(*sides, *test, ks=(800,))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 48 << 20


@pytest.mark.parametrize("ks", [(), (0,), (4,), (1.0,), (True,)])
def test_refuses_votes_of_more_than_there_are(ks):
    with pytest.raises(OptionError, match=r"ks must be integers in \[1, 3\]"):
        knn_evaluation(np.eye(3), [0, 1, 2], np.eye(3), [0, 1, 2], ks=ks)

"""Linear and nearest-neighbour evaluation on shared classes."""

import numpy as np
import pytest

from dml.evaluation import knn_evaluation, linear_evaluation


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


@pytest.mark.parametrize("ks", [(), (0,), (4,)])
def test_refuses_votes_of_more_than_there_are(ks):
    with pytest.raises(ValueError, match=r"ks must be in \[1, 3\]"):
        knn_evaluation(np.eye(3), [0, 1, 2], np.eye(3), [0, 1, 2], ks=ks)

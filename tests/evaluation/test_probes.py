"""Linear evaluation on shared classes."""

import numpy as np
import pytest

from dml.evaluation import linear_evaluation


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
    assert found.figures()["linear accuracy"]["value"] == 0.5
    assert found.figures()["1-NN accuracy"]["value"] == 0.5


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, 1]])
def test_refuses_what_it_can_not_fit(labels):
    with pytest.raises(ValueError, match="at least 2 classes and 2 training images"):
        linear_evaluation(np.eye(4), labels, np.eye(4), labels)

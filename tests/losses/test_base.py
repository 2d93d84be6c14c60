"""The base class of losses, as callers see it."""

import dataclasses

import keras
import numpy as np
import pytest

import dml
from dml.errors import ArrayError
from dml.losses import (
    LOSSES,
    Contrastive,
    MetricLoss,
    MultipleLosses,
    PairLoss,
    ProxyAnchor,
    Triplet,
)


def test_the_value_is_a_scalar_of_float32_whatever_the_input():
    x = np.eye(4, dtype="float16")
    value = keras.ops.convert_to_numpy(Triplet()([0, 0, 1, 1], x))
    assert value.dtype == "float32" and value.size == 1


@keras.saving.register_keras_serializable("tests")
@dataclasses.dataclass(eq=False)
class Hinge(PairLoss):  # the example of PairLoss
    margin: float = 0.5

    def pair_loss(self, cosines, positive, negative):
        pull = dml.ops.mean_over(1.0 - cosines, positive)
        return pull + dml.ops.mean_over(keras.ops.relu(cosines - self.margin), negative)


def test_a_loss_of_ones_own_is_one_method():
    x = np.array([[1, 0], [0.6, 0.8], [0.8, 0.6]], "float32")
    # Positives: a cosine of 0.6. Negatives, both ways: 0.8 and 0.96, less 0.5.
    assert float(Hinge()([0, 0, 1], x)) == pytest.approx(0.4 + (0.3 + 0.46) / 2, rel=1e-6)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Hinge(0.7)))
    assert copy.margin == 0.7
    mined = dml.losses.Mined(Hinge(), dml.miners.BatchHardMiner())
    # The hardest negative of images 0, 1 and 2 is 2, 2 and 1, but image 2 has no positive.
    assert float(mined([0, 0, 1], x)) == pytest.approx(0.4 + (0.3 + 0.46) / 2, rel=1e-6)


def test_labels_may_be_a_column():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    labels = np.array([0, 0, 1, 1])
    assert float(Triplet()(labels[:, None], x)) == float(Triplet()(labels, x))


@pytest.mark.parametrize("start, step", [(100_000_001, 1), (2**32, 2**32), (-(2**40), 1)])
@pytest.mark.parametrize("kind", [list, np.array, "column", "tensor", "float64"])
def test_labels_of_any_size_stay_distinct(start, step, kind):
    if kind == "tensor" and keras.backend.backend() == "jax" and abs(start) >= 2**31:
        pytest.skip("JAX has no such integers")
    kinds = {
        "column": lambda labels: np.array(labels)[:, None],
        "tensor": lambda labels: keras.ops.convert_to_tensor(np.array(labels)),
        "float64": lambda labels: np.array(labels, "float64"),
    }
    given = kinds.get(kind, kind)
    a, b, c, d = (start + i * step for i in range(4))
    # All are sqrt(2) apart: negatives are beyond the margin of 1, positives cost 2.
    assert float(Contrastive()(given([a, b, c, d]), np.eye(4))) == 0
    assert float(Contrastive()(given([a, b, a, c]), np.eye(4))) == pytest.approx(2, rel=1e-5)


def test_labels_that_name_classes_are_in_32_bits():
    cosines = np.array([[0.5, 0.2], [0.1, 0.3]])
    for loss in (ProxyAnchor(), MultipleLosses([ProxyAnchor(), Contrastive()])):
        with pytest.raises(ArrayError, match="labels must be in 32 bits; got 4294967296"):
            loss([0, 2**32], cosines)
    if keras.backend.backend() != "jax":  # which has no such integers
        labels = keras.ops.convert_to_tensor(np.array([0, 2**32]))
        expected = float(ProxyAnchor()([0, 2], cosines))  # of which there is no proxy
        assert float(ProxyAnchor()(labels, cosines)) == expected


def test_samples_of_any_size_stay_distinct():
    x = np.eye(4, dtype="float32")
    x[1, :2] = [0.6, 0.8]
    labels, samples = np.array([0, 0, 1, 1]), 2**30 + np.array([1, 2, 3, 4])
    found = Contrastive()({"labels": labels, "samples": samples}, x)
    assert float(found) == pytest.approx(float(Contrastive()(labels, x)))


def test_memberships_may_be_of_any_type():
    cosines, labels = np.array([[0.5, 0.2, 0.1], [0.1, 0.3, 0.2]]), np.array([0, 2])
    expected = float(ProxyAnchor()(labels, cosines))
    for dtype in ("int64", "float64", "float16", "uint8"):
        found = float(ProxyAnchor()(np.eye(3, dtype=dtype)[labels], cosines))
        assert found == pytest.approx(expected, rel=1e-6)


def test_a_loss_without_a_formula_says_so():
    with pytest.raises(NotImplementedError):
        MetricLoss().batch_loss(np.zeros(2), np.zeros((2, 2)))


def test_options_are_checked_when_the_loss_is_made():
    with pytest.raises(TypeError, match="margn"):
        ProxyAnchor(margn=0.2)
    with pytest.raises(KeyError, match="Did you mean 'proxy_anchor'"):
        LOSSES["proxy_ancor"]


def test_one_hot_labels_of_a_batch_as_large_as_the_classes_are_no_relation():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    labels = np.array([0, 0, 3, 3])
    expected = float(Triplet()(labels, x))
    assert float(Triplet()(np.eye(4)[labels], x)) == pytest.approx(expected, rel=1e-6)
    relation = (labels[:, None] == labels).astype("float32")
    assert float(Triplet()(relation, x)) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match=r"got \(4, 5\): of one-hot labels, pass np.argmax"):
        Triplet()(np.eye(5)[labels], x)


def test_weights_of_single_images_are_refused():
    with pytest.raises(ValueError, match="no weights of single ones"):
        Triplet()([0, 0, 1, 1], np.eye(4), sample_weight=np.ones(4))

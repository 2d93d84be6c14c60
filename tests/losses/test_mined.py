"""A pair loss with a miner."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.losses import Contrastive, Instance, Mined, ProxyAnchor, Triplet
from dml.miners import MINERS, BatchHardMiner, MultiSimilarityMiner, PairMarginMiner
from dml.ops import pair_masks
from tests.backend import value_and_grad

LABELS = np.array([0, 0, 1, 1, 2, 2])


def unit_rows():
    x = np.random.default_rng(0).normal(size=(6, 4))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")


def number(x):
    return float(ops.convert_to_numpy(x).squeeze())


def test_sees_the_pairs_that_the_miner_keeps():
    x = unit_rows()
    kept = BatchHardMiner()(ops.array(LABELS), ops.array(x @ x.T))
    loss = Contrastive()
    expected = number(loss.pair_loss(loss.compare(ops.array(x), ops.array(x)), *kept))
    assert number(Mined(loss, BatchHardMiner())(LABELS, x)) == pytest.approx(expected)


def test_a_miner_that_keeps_all_changes_nothing():
    everything = MultiSimilarityMiner(epsilon=float("inf"))
    x = unit_rows()
    mined = number(Mined(Contrastive(), everything)(LABELS, x))
    assert mined == pytest.approx(number(Contrastive()(LABELS, x)))


@pytest.mark.parametrize("miner", sorted(MINERS))
def test_finite_with_every_miner(miner):
    for loss in (Contrastive(), Triplet(mining="all")):
        value, grad = value_and_grad(
            lambda x, loss=loss: Mined(loss, MINERS[miner]())(LABELS, x), unit_rows()
        )
        assert np.isfinite(value) and np.isfinite(grad).all()


def test_share_of_pairs_that_are_kept():
    x = ops.array(unit_rows())
    none = Mined(Contrastive(), PairMarginMiner(-1.0, 1.0))
    assert number(none.active_share(LABELS, x)) == 0
    kept = sum(ops.convert_to_numpy(m).sum() for m in pair_masks(ops.array(LABELS)))
    assert kept == 30


@pytest.mark.parametrize(
    "loss, reason",
    [(ProxyAnchor(), "compares images with proxies"), (Instance(), "reads embeddings")],
)
def test_refuses_a_loss_without_pairs_with_a_reason(loss, reason):
    with pytest.raises(ValueError, match=reason):
        Mined(loss, BatchHardMiner())


def test_saves_and_loads():
    loss = Mined(Contrastive(negative_margin=0.7), PairMarginMiner(0.5, 0.1))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.miner == loss.miner and copy.loss.negative_margin == 0.7
    assert number(copy(LABELS, unit_rows())) == number(loss(LABELS, unit_rows()))

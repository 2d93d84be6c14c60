"""A pair loss with a miner."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from dml.errors import OptionError
from dml.losses import (
    Contrastive,
    Instance,
    Mined,
    ProxyAnchor,
    Triplet,
    reduced,
)
from dml.miners import MINERS, BatchHardMiner, MultiSimilarityMiner, PairMarginMiner
from dml.ops import pair_masks
from dml.reductions import PerAnchor
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences

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


def contrastive(x, positive, negative):
    """Returns the default contrastive loss of the pairs of two masks of weights."""
    total = 0.0
    for mask, margin in ((positive, 0.0), (negative, 1.0)):
        off = {
            (a, j): abs(margin - np.linalg.norm(x[a] - x[j]))
            for a, j in np.argwhere(mask)
            if margin == 0 or np.linalg.norm(x[a] - x[j]) < margin
        }
        weight = sum(mask[pair] for pair in off)
        total += sum(mask[pair] * v**2 for pair, v in off.items()) / weight if weight else 0.0
    return total


def triplet(x, positive, negative):
    """Returns the default triplet loss of all triplets of the pairs of two masks of weights."""
    total = weights = 0.0
    for a in range(len(x)):
        for p, n in itertools.product(np.flatnonzero(positive[a]), np.flatnonzero(negative[a])):
            hinge = ((x[a] - x[p]) ** 2).sum() - ((x[a] - x[n]) ** 2).sum() + 0.2
            if hinge > 0:
                weight = positive[a, p] * negative[a, n]
                total, weights = total + weight * hinge, weights + weight
    return total / weights if weights else 0.0


@pytest.mark.parametrize("miner", sorted(MINERS))
@pytest.mark.parametrize(
    "loss, expected", [(Contrastive(), contrastive), (Triplet(mining="all"), triplet)]
)
def test_every_miner_weights_the_pairs(loss, expected, miner):
    x = unit_rows().astype("float64")
    known = {"dim": x.shape[1]} if MINERS[miner].wants else {}
    kept = MINERS[miner]()(ops.array(LABELS), ops.cast(x @ x.T, "float32"), **known)
    kept = [ops.convert_to_numpy(mask).astype("float64") for mask in kept]
    value, grad = value_and_grad(lambda x: Mined(loss, MINERS[miner]())(LABELS, x), x)
    assert value == pytest.approx(expected(x, *kept), rel=1e-5, abs=1e-7)
    difference = finite_differences(lambda x: expected(x, *kept), x)
    np.testing.assert_allclose(grad, difference, rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize("loss", [Triplet(), reduced(Triplet(), PerAnchor())])
def test_refuses_a_loss_that_would_select_once_more(loss):
    with pytest.raises(OptionError, match="mining must be 'all' or 'hard' with a miner"):
        Mined(loss, BatchHardMiner())


def test_the_hardest_pairs_have_the_hardest_triplets():
    loss, x = Triplet(mining="hard"), unit_rows()
    value = number(Mined(loss, BatchHardMiner())(LABELS, x))
    assert value == pytest.approx(number(loss(LABELS, x))) and value > 0


def test_saves_and_loads():
    loss = Mined(Contrastive(negative_margin=0.7), PairMarginMiner(0.5, 0.1))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.miner == loss.miner and copy.loss.negative_margin == 0.7
    assert number(copy(LABELS, unit_rows())) == number(loss(LABELS, unit_rows()))

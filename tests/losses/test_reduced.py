"""Losses anchor by anchor."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from dml.losses import (
    LOSSES,
    AdaptedTriplet,
    ArcFace,
    CrossBatchMemory,
    Histogram,
    LiftedStructure,
    Mined,
    MultiSimilarity,
    NTXent,
    ProxyAnchor,
    SupCon,
    reduced,
)
from dml.miners import BatchHardMiner
from dml.ops import pair_masks
from dml.reductions import ClassWeighted, NonZero, PerAnchor
from dml.training.learner import Learner
from tests.backend import value_and_grad
from tests.losses.test_contract import batch, number

PAIRS = [n for n in sorted(LOSSES) if LOSSES[n]().has_pairs() and not LOSSES[n].both_ends]
IMAGES = [n for n in sorted(LOSSES) if LOSSES[n].averages_images]
QUICK = ["arcface", "contrastive", "triplet"]


def each(names):
    return [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", each(PAIRS))
def test_a_pair_loss_is_taken_anchor_by_anchor(name):
    loss = LOSSES[name]()
    labels, x = batch(loss, "unbalanced")
    x = ops.cast(x, "float32")
    compared, masks = loss.compare(x, x), pair_masks(ops.array(labels))
    alone = [
        number(loss.pair_loss(compared[a : a + 1], *(mask[a : a + 1] for mask in masks)))
        for a in range(len(labels))
    ]
    found = number(reduced(loss, PerAnchor())(labels, x))
    assert found == pytest.approx(np.mean(alone), rel=1e-4, abs=1e-6)
    sizes = np.bincount(labels)[labels]
    found = number(reduced(loss, ClassWeighted())(labels, x))
    assert found == pytest.approx(np.average(alone, weights=1 / sizes), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", each(IMAGES))
def test_a_mean_over_images_stays_what_it_is(name):
    loss = LOSSES[name]()
    labels, x = batch(loss, "unbalanced")
    value, grad = value_and_grad(lambda x: reduced(loss, PerAnchor())(labels, x), x)
    plain, plain_grad = value_and_grad(lambda x: loss(labels, x), x)
    assert value == pytest.approx(plain, rel=1e-4)
    np.testing.assert_allclose(grad, plain_grad, rtol=1e-3, atol=1e-5)


def test_classes_count_alike():
    labels, x = batch(ArcFace(), "unbalanced")
    alone = [number(ArcFace()(labels[i : i + 1], x[i : i + 1])) for i in range(len(labels))]
    by_class = [np.mean(np.array(alone)[labels == c]) for c in np.unique(labels)]
    found = number(reduced(ArcFace(), ClassWeighted())(labels, x.astype("float32")))
    assert found == pytest.approx(np.mean(by_class), rel=1e-5)


def test_miners_and_memories_take_reduced_pairs():
    labels, x = batch(SupCon())
    loss = reduced(SupCon(), NonZero())
    assert np.isfinite(number(Mined(loss, BatchHardMiner())(labels, x.astype("float32"))))
    assert CrossBatchMemory(loss, size=8).head(None, 5).size == 8


def unbalanced():
    """Returns labels of a class of five and one of two, and their vectors."""
    labels, x = np.array([0, 0, 0, 0, 0, 1, 1]), np.random.default_rng(4).normal(size=(7, 3))
    return labels, x / np.linalg.norm(x, axis=1, keepdims=True)


def mean_of_classes(values, labels):
    return np.mean([np.mean(values[labels == c]) for c in np.unique(labels)])


def test_a_miner_leaves_classes_their_sizes():
    labels, x = unbalanced()
    s, same = x @ x.T, labels[:, None] == labels
    hardest = np.where(same & ~np.eye(7, dtype=bool), s, np.inf).min(axis=1)
    values = np.log(1 + np.exp((np.where(same, -np.inf, s).max(axis=1) - hardest) / 0.1))
    for reduction, expected in (
        (ClassWeighted(), mean_of_classes(values, labels)),
        (PerAnchor(), np.mean(values)),
    ):
        loss = Mined(reduced(NTXent(temperature=0.1), reduction), BatchHardMiner())
        assert number(loss(labels, x)) == pytest.approx(expected, rel=1e-5)


def test_a_memory_leaves_classes_their_sizes():
    labels, x = unbalanced()
    known, memory = np.array([0, 1, 1, 2]), np.eye(4)[:, :3]
    s, same = x @ memory.T / 0.5, labels[:, None] == known
    rivals = np.where(same, 0, np.exp(s)).sum(axis=1, keepdims=True)
    pairs = np.where(same, np.log(1 + rivals / np.exp(s)), 0)
    values = pairs.sum(axis=1) / same.sum(axis=1)
    inner = reduced(NTXent(temperature=0.5), ClassWeighted())
    loss = CrossBatchMemory(inner, size=4, start=0)
    given = {
        "embeddings": x,
        "memory": memory,
        "memory_labels": known,
        "labelled": np.ones(4, bool),
        "twins": np.zeros((7, 4), bool),
        "steps": np.array(1),
    }
    expected = number(inner(labels, x)) + mean_of_classes(values, labels)
    assert number(loss(labels, given)) == pytest.approx(expected, rel=1e-5)


def test_classes_without_a_proxy_have_their_sizes():
    labels, x = batch(ArcFace(), "unbalanced")
    labels = np.where(labels == 0, 20, labels)  # five images of a class without a proxy
    alone = np.array([number(ArcFace()(labels[i : i + 1], x[i : i + 1])) for i in range(8)])
    found = number(reduced(ArcFace(), ClassWeighted())(labels, x))
    assert found == pytest.approx(mean_of_classes(alone, labels), rel=1e-5)


@pytest.mark.parametrize("loss", [SupCon(temperature=0.3), ArcFace(scale=8.0)])
def test_saves_and_loads(loss):
    labels, x = batch(loss)
    whole = reduced(loss, ClassWeighted())
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(whole))
    assert dataclasses.asdict(copy.loss) == dataclasses.asdict(loss)
    assert number(copy(labels, x)) == number(whole(labels, x))


@pytest.mark.parametrize("loss", [MultiSimilarity(), ArcFace()])
def test_trains_compiled(loss):
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    network.add(keras.layers.UnitNormalization())
    learner = Learner(network, reduced(loss, ClassWeighted()), classes=3)
    learner.compile("adam")
    x, labels = np.random.default_rng(0).normal(size=(12, 4)), np.repeat(np.arange(3), 4)
    history = learner.fit(x.astype("float32"), labels, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    "loss, reason",
    [
        (ProxyAnchor(), "is of the whole batch"),
        (AdaptedTriplet(), "is of the whole batch"),
        (LiftedStructure(), "uses both images of a pair"),
    ],
)
def test_refuses_with_the_reason(loss, reason):
    with pytest.raises(ValueError, match=reason):
        reduced(loss, PerAnchor())


def test_a_memory_refuses_what_looks_at_both_ends():
    with pytest.raises(ValueError, match="LiftedStructure uses the pairs of both images"):
        CrossBatchMemory(LiftedStructure())
    assert CrossBatchMemory(Histogram()).loss.bins

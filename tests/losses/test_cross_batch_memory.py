"""A pair loss with the embeddings of earlier batches."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.heads import MemoryHead
from dml.losses import LOSSES, Contrastive, CrossBatchMemory, MultiSimilarity, ProxyAnchor
from dml.ops import Targets, relation_masks
from tests.backend import value_and_grad

LABELS = np.array([0, 0, 1, 1])


def unit_rows(rows=4, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, 3))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")


def given(x, memory, memory_labels, steps=1, twins=None, labelled=None):
    return {
        "embeddings": ops.cast(x, "float32"),
        "memory": ops.cast(memory, "float32"),
        "memory_labels": ops.array(memory_labels),
        "labelled": ops.array(np.asarray(memory_labels) >= 0 if labelled is None else labelled),
        "steps": ops.array(steps),
        "twins": ops.array(np.zeros((4, 6), bool) if twins is None else twins),
    }


def number(x):
    return float(ops.convert_to_numpy(x).squeeze())


@pytest.mark.parametrize("base", [Contrastive(), MultiSimilarity()])
def test_adds_the_pairs_with_what_is_remembered(base):
    x, memory = unit_rows(), unit_rows(6, seed=1)
    remembered = np.array([0, 1, 2, 0, -1, -1])  # two empty places
    loss = CrossBatchMemory(base, size=6, start=0, weight=0.5)
    same, filled = LABELS[:, None] == remembered, remembered[None, :] >= 0
    compared = base.compare(ops.array(x), ops.array(memory))
    expected = number(base(LABELS, x)) + 0.5 * number(
        base.pair_loss(compared, ops.array(same), ops.array(~same & filled))
    )
    assert number(loss(LABELS, given(x, memory, remembered))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("steps, used", [(2, 0), (3, 1), (4, 1)])
def test_weight_and_start_by_hand(weight, steps, used):
    # The batch: positives sqrt(2) apart cost 2, negatives as far nothing. The memory, of the first
    # image as one of class 1: its positives, images 2 and 3, cost 2, its negative image 0, at a
    # distance of 0, costs 1, and image 1 nothing.
    loss = CrossBatchMemory(Contrastive(), size=6, start=3, weight=weight)
    x, memory = np.eye(4), np.zeros((6, 4))
    memory[0, 0] = 1
    value = number(loss(LABELS, given(x, memory, [1, -1, -1, -1, -1, -1], steps=steps)))
    assert value == pytest.approx(2 + used * weight * 3, rel=1e-5)


def test_labels_below_0_are_labels():
    x, head = np.eye(4, dtype="float32"), MemoryHead(6, 4)
    loss = CrossBatchMemory(Contrastive(), size=6, start=0)
    labels = ops.array([-1, -1, 1, 1])

    def step(rows, labels):
        return number(loss(labels, head(ops.cast(rows, "float32"), labels, training=True)))

    # Positives, sqrt(2) apart, cost 2, and an empty memory nothing, whatever the labels.
    assert step(x, labels) == pytest.approx(2, rel=1e-5)
    # Each meets itself and the other of its class: positives at 0 and sqrt(2), of which the mean is
    # over those above 0.
    assert step(x, labels) == pytest.approx(2 + 2, rel=1e-5)
    # Other classes: the negatives at a distance of 0 cost 1.
    assert step(x, ops.array([-7, -7, -8, -8])) == pytest.approx(2 + 1, rel=1e-5)


@pytest.mark.parametrize(
    "name", [n for n in sorted(LOSSES) if LOSSES[n]().has_pairs() and not LOSSES[n].both_ends]
)
def test_a_memory_of_nothing_adds_nothing(name):
    base = LOSSES[name]()
    x, known = unit_rows(), np.full(6, 0)
    loss = CrossBatchMemory(base, size=6, start=0)
    nothing = given(x, np.zeros((6, 3)), known, labelled=np.zeros(6, bool))
    assert number(loss(LABELS, nothing)) == pytest.approx(number(base(LABELS, x)), rel=1e-6)


def test_twins_are_no_pairs():
    x, memory = unit_rows(), unit_rows(6, seed=1)
    known = np.array([0, 1, 2, 0, 1, 1])
    twins = np.zeros((4, 6), bool)
    twins[0, 0] = twins[2, 1] = True
    base, loss = Contrastive(), CrossBatchMemory(Contrastive(), size=6, start=0)
    same = LABELS[:, None] == known
    compared = base.compare(ops.array(x), ops.array(memory))
    alone = ops.array(
        np.array([[0, np.nan, 0, 0], [np.nan, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0.0]])
    )
    expected = number(base(alone, x)) + number(
        base.pair_loss(compared, ops.array(same & ~twins), ops.array(~same))
    )
    targets = {"labels": LABELS, "samples": np.array([0, 0, 2, 3])}
    found = loss(targets, given(x, memory, known, twins=twins))
    assert number(found) == pytest.approx(expected, rel=1e-5)


def test_a_relation_reaches_into_the_memory():
    x, memory = unit_rows(), unit_rows(6, seed=1)
    known = np.array([0, 1, 2, 0, 1, -1])
    twins = np.zeros((4, 6), bool)
    twins[0, 0] = True
    relation = np.where(known < 0, np.nan, LABELS[:, None] == known).astype("float32")
    within = ops.cast(LABELS[:, None] == LABELS, "float32")
    loss = CrossBatchMemory(Contrastive(), size=6, start=0)
    by_relation = {
        **given(x, memory, np.full(6, -1), twins=twins),
        "memory_relation": ops.array(relation),
    }
    expected = number(loss(LABELS, given(x, memory, known, twins=twins)))
    assert number(loss(within, by_relation)) == pytest.approx(expected, rel=1e-5)
    by_relation["memory_relation"] = ops.array(0.5 * relation)
    # Positives that are so in part are negatives in part, too, as their loss says.
    halved = number(loss(within, by_relation)) - number(Contrastive()(LABELS, x))
    compared = Contrastive().compare(ops.array(x), ops.array(memory))
    masks = relation_masks(ops.array(np.where(twins, np.nan, 0.5 * relation)))
    assert halved == pytest.approx(number(Contrastive().pair_loss(compared, *masks)), rel=1e-4)


def test_an_empty_memory_and_one_before_its_start_add_nothing():
    x, memory = unit_rows(), unit_rows(6, seed=1)
    alone = number(Contrastive()(LABELS, x))
    loss = CrossBatchMemory(Contrastive(), size=6, start=2)
    known = np.array([0, 1, 2, 0, 1, 1])
    assert number(loss(LABELS, given(x, memory, known))) == pytest.approx(alone)
    at_its_start = number(loss(LABELS, given(x, memory, known, steps=2)))
    assert at_its_start > alone + 0.01  # pairs with two batches that are remembered
    loss = CrossBatchMemory(Contrastive(), size=6, start=0)
    assert number(loss(LABELS, given(x, memory, np.full(6, -1)))) == pytest.approx(alone)


def test_no_gradient_reaches_the_memory():
    loss = CrossBatchMemory(Contrastive(), size=6, start=0)
    known = np.array([0, 1, 2, 0, 1, 1])
    _, grad = value_and_grad(
        lambda memory: loss.value(Targets(ops.array(LABELS)), given(unit_rows(), memory, known)),
        unit_rows(6, seed=1),
    )
    assert (grad == 0).all()


def test_names_its_head_saves_and_loads():
    loss = CrossBatchMemory(Contrastive(negative_margin=0.7), size=6, start=3, weight=0.5)
    assert isinstance(loss.head(None, 3), MemoryHead)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.loss.negative_margin == 0.7 and (copy.size, copy.start, copy.weight) == (6, 3, 0.5)


def test_refuses_what_compares_no_pairs():
    with pytest.raises(ValueError, match="compares images with proxies"):
        CrossBatchMemory(ProxyAnchor())
    with pytest.raises(ValueError, match="start must be an integer"):
        CrossBatchMemory(Contrastive(), start=1.5)
    with pytest.raises(ValueError, match="size must be at least 1; got 0"):
        CrossBatchMemory(Contrastive(), size=0)

"""A loss that wraps another one forwards to it."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.errors import OptionError
from dml.losses import (
    ArcFace,
    Center,
    Contrastive,
    CrossBatchMemory,
    Margin,
    Matryoshka,
    Mined,
    MultipleLosses,
    NTXent,
    ProxyAnchor,
    SelfSupervised,
    SoftTriple,
    Wrapper,
    reduced,
)
from dml.losses.magface import MagFace
from dml.miners import BatchHardMiner
from dml.ops import Targets
from dml.reductions import NonZero, PerAnchor

FORWARDED = ("proxies_per_class", "proxy_head", "views", "reads_length", "averages_images")
FORWARDED += ("is_softmax_of_cosines",)
QUESTIONS = ("takes_memberships", "takes_relation", "reads_classes", "needs_head")


@pytest.mark.parametrize("loss", [Contrastive(), ArcFace(), MagFace(), SoftTriple()])
def test_forwards_what_it_does_not_change(loss):
    wrapped = Wrapper(loss)
    assert [getattr(wrapped, n) for n in FORWARDED] == [getattr(loss, n) for n in FORWARDED]
    assert [getattr(wrapped, n)() for n in QUESTIONS] == [getattr(loss, n)() for n in QUESTIONS]
    assert wrapped.has_active_share() == loss.has_active_share()
    assert type(wrapped.head(3, 4)) is type(loss.head(3, 4))


@pytest.mark.parametrize(
    "loss, reads",
    [
        (Contrastive(), False),
        (ArcFace(), True),
        (CrossBatchMemory(Contrastive(), 8), True),
        (MultipleLosses([NTXent(), Contrastive()]), False),
        (MultipleLosses([NTXent(), ArcFace()]), True),
    ],
)
def test_labels_name_classes_where_any_loss_reads_them(loss, reads):
    assert loss.reads_classes() is reads


def test_forwards_the_penalty_of_proxies():
    loss = SoftTriple(proxies_per_class=2)
    head = loss.head(3, 4)
    head.build((None, 4))
    found = float(ops.convert_to_numpy(reduced(loss, PerAnchor()).penalty(head)))
    assert found == float(ops.convert_to_numpy(loss.penalty(head))) > 0


def test_reduced_pairs_forward_the_share_of_active_pairs():
    labels, x = np.array([0, 0, 1, 1]), ops.cast(np.eye(4), "float32")
    # All are sqrt(2) apart: the 4 positive pairs pull, the 8 negative ones are beyond 1.
    for loss in (Contrastive(), reduced(Contrastive(), PerAnchor())):
        assert float(ops.convert_to_numpy(loss.active_share(labels, x))) == pytest.approx(4 / 12)


@pytest.mark.parametrize(
    "loss, labels",
    [
        (MultipleLosses([ProxyAnchor(), Center()]), (True, False)),
        (MultipleLosses([NTXent(), Contrastive()]), (False, True)),
        (MultipleLosses([ProxyAnchor(), Contrastive()]), (False, False)),
        (Matryoshka(ArcFace(), [4]), (True, False)),
        (CrossBatchMemory(Contrastive(), 8), (False, True)),
        (SelfSupervised(Mined(NTXent(), BatchHardMiner())), (False, True)),
    ],
)
def test_labels_are_what_every_loss_takes(loss, labels):
    assert (loss.takes_memberships(), loss.takes_relation()) == labels


def test_pairs_of_one_image_are_left_out_inside_a_sum():
    labels, x = np.array([0, 0, 1, 1]), np.eye(4, dtype="float32")
    x[1, :2] = [0.6, 0.8]  # would pull, at a squared distance of 0.8
    x = ops.array(x)
    targets = Targets(ops.array(labels), ops.array([7, 7, 8, 9]))
    both = MultipleLosses([Contrastive(), NTXent()])
    parts = [loss.value(targets, x) for loss in both.parts]
    expected = sum(float(ops.convert_to_numpy(part)) for part in parts)
    assert float(ops.convert_to_numpy(both.value(targets, [x, x]))) == pytest.approx(expected)
    # One positive pair is left, sqrt(2) apart, both ways: a mean of 2; negatives are beyond 1.
    assert float(ops.convert_to_numpy(parts[0])) == pytest.approx(2.0, rel=1e-5)


def test_wrappers_of_wrappers_are_saved():
    loss = MultipleLosses([CrossBatchMemory(reduced(Contrastive(), PerAnchor()), 8), Center()])
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.parts[0].loss.loss.negative_margin == 1.0 and copy.parts[0].size == 8
    assert copy.parts[0].loss.reducer == PerAnchor()


def reduce(loss):
    return reduced(loss, PerAnchor())


def mine(loss):
    return Mined(loss, BatchHardMiner())


def remember(loss):
    return CrossBatchMemory(loss, 8)


def nest(loss):
    return Matryoshka(loss, [2, 4])


def add(loss):
    return MultipleLosses([loss, loss])


@pytest.mark.parametrize(
    "outer, inner, message",
    [
        (reduce, mine, r"Mined goes around .*: Mined\(reduced\(loss, reduction\), miner\)"),
        (reduce, remember, r": CrossBatchMemory\(reduced\(loss, reduction\), size\)"),
        (reduce, SelfSupervised, r": SelfSupervised\(reduced\(loss, reduction\)\)"),
        (reduce, nest, r": Matryoshka\(reduced\(loss, reduction\), dims\)"),
        (reduce, add, r": MultipleLosses\(\[reduced\(loss, reduction\)\]\)"),
        (reduce, lambda loss: reduced(loss, NonZero()), "has a reduction already"),
        (mine, SelfSupervised, r": SelfSupervised\(Mined\(loss, miner\)\)"),
        (mine, nest, r": Matryoshka\(Mined\(loss, miner\), dims\)"),
        (mine, add, r": MultipleLosses\(\[Mined\(loss, miner\)\]\)"),
        (mine, mine, "has a miner already"),
        (mine, remember, "can't be combined with a miner, which selects a batch's own pairs"),
        (remember, mine, "can't be combined with a miner, which selects a batch's own pairs"),
        (remember, remember, "has a memory already"),
        (remember, SelfSupervised, "remembers the classes of earlier batches, and without labels"),
        (remember, nest, r": Matryoshka\(CrossBatchMemory\(loss, size\), dims\)"),
        (SelfSupervised, remember, "remembers the classes of earlier batches, and without labels"),
        (SelfSupervised, nest, r": Matryoshka\(SelfSupervised\(loss\), dims\)"),
        (SelfSupervised, add, r": MultipleLosses\(\[SelfSupervised\(loss\)\]\)"),
        (SelfSupervised, SelfSupervised, "has two views already"),
    ],
)
def test_wrappers_in_another_order_are_refused_with_the_order_that_works(outer, inner, message):
    with pytest.raises(OptionError, match=message):
        outer(inner(NTXent()))
    if "goes around" in message or message.startswith(":"):
        labels, x = np.array([0, 0, 1, 1]), np.eye(4, dtype="float32")
        loss = inner(outer(NTXent()))
        head = loss.head(None, 4)
        if head is not None:
            head.build((None, 4))
            x = head(ops.array(x), ops.array(labels))
        assert np.isfinite(float(ops.convert_to_numpy(loss(labels, x))))


def test_an_image_loss_is_reduced_once():
    with pytest.raises(OptionError, match="has a reduction already"):
        reduce(reduce(ArcFace()))


def test_a_loss_with_a_layer_of_its_own_has_no_pairs_to_mine():
    with pytest.raises(OptionError, match="Margin reads more than embeddings, from a layer of its"):
        mine(Margin())


@pytest.mark.parametrize(
    "loss, why",
    [
        (Margin(), r"a boundary for each class: .* Margin\(per_class=False\)"),
        (MultipleLosses([Contrastive(), Margin()]), "Margin has a boundary for each class"),
        (ProxyAnchor(), "ProxyAnchor compares images with proxies: pass classes"),
        (Matryoshka(ProxyAnchor(), [2]), "ProxyAnchor compares images with proxies"),
        (reduced(ArcFace(), PerAnchor()), "ArcFace compares images with proxies"),
    ],
)
def test_why_a_loss_takes_no_relation(loss, why):
    assert not loss.takes_relation()
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(loss.why_classes())

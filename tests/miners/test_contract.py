"""The contract of every miner in the registry."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from dml.miners import MINERS

BATCHES = {
    "balanced": [0, 0, 1, 1, 2, 2],
    "no_positive_pair": [0, 1, 2, 3, 4, 5],
    "one_class": [0] * 6,
    "one_image": [0],
}


@pytest.fixture(params=sorted(MINERS))
def name(request):
    return request.param


def known(name):
    """Returns what a miner wants to know of the embeddings, by name."""
    return {"dim": 4} if MINERS[name].wants else {}


def masks(name, kind, seed=0):
    """Returns the labels and the masks that the miner makes of a random batch."""
    labels = np.array(BATCHES[kind])
    x = np.random.default_rng(seed).normal(size=(len(labels), 4)).astype("float32")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kept = MINERS[name]()(ops.array(labels), ops.array(x @ x.T), **known(name))
    return labels, [ops.convert_to_numpy(mask) for mask in kept]


@pytest.mark.parametrize("kind", BATCHES)
def test_keeps_positives_and_negatives_apart_and_no_self_pair(name, kind):
    labels, (positive, negative) = masks(name, kind)
    for mask in (positive, negative):
        assert mask.dtype == bool or (mask.dtype == np.float32 and (mask >= 0).all())
        assert mask.max() <= 1
    positive, negative = positive > 0, negative > 0
    same = labels[:, None] == labels[None, :]
    assert not (positive & ~same).any() and not (negative & same).any()
    assert not positive.diagonal().any()


def test_a_relation_of_zeros_and_ones_does_as_labels_do(name):
    labels, by_labels = masks(name, "balanced")
    relation = (labels[:, None] == labels[None, :]).astype("float32")
    x = np.random.default_rng(0).normal(size=(len(labels), 4)).astype("float32")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kept = MINERS[name]()(ops.array(relation), ops.array(x @ x.T), **known(name))
    for mask, expected in zip(kept, by_labels, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(mask), expected, atol=1e-5)


def test_finite_at_identical_and_opposite_embeddings(name):
    labels = np.array(BATCHES["balanced"])
    for similarities in (np.ones((6, 6)), -np.ones((6, 6)), np.zeros((6, 6))):
        similarities = ops.cast(similarities, "float32")
        kept = MINERS[name]()(ops.array(labels), similarities, **known(name))
        for mask in kept:
            assert np.isfinite(ops.convert_to_numpy(mask).astype("float32")).all()


def test_keeps_something_of_an_ordinary_batch(name):
    kept = [masks(name, "balanced", seed)[1] for seed in range(5)]
    assert any(positive.any() for positive, _ in kept)
    assert any(negative.any() for _, negative in kept)


def test_has_a_docstring_that_names_every_option(name):
    for field in dataclasses.fields(MINERS[name]):
        assert f"{field.name}:" in MINERS[name].__doc__, f"{name}: document {field.name!r}"

"""What every miner must do, over the registry."""

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


def masks(name, kind):
    """Returns the labels and the masks that the miner makes of a random batch."""
    labels = np.array(BATCHES[kind])
    x = np.random.default_rng(0).normal(size=(len(labels), 4)).astype("float32")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    kept = MINERS[name]()(ops.array(labels), ops.array(x @ x.T))
    return labels, [ops.convert_to_numpy(mask) for mask in kept]


@pytest.mark.parametrize("kind", BATCHES)
def test_keeps_positives_and_negatives_apart_and_no_self_pair(name, kind):
    labels, (positive, negative) = masks(name, kind)
    assert positive.dtype == negative.dtype == bool
    same = labels[:, None] == labels[None, :]
    assert not (positive & ~same).any() and not (negative & same).any()
    assert not positive.diagonal().any()


def test_keeps_something_of_an_ordinary_batch(name):
    _, (positive, negative) = masks(name, "balanced")
    assert positive.any() and negative.any()


def test_has_a_docstring_that_names_every_option(name):
    for field in dataclasses.fields(MINERS[name]):
        assert f"{field.name}:" in MINERS[name].__doc__, f"{name}: document {field.name!r}"

"""A batch in parts trains like the whole one, and recomputing the parts is deterministic."""

import keras
import numpy as np
import pytest

from dml.losses import MultiSimilarity
from dml.training._chunks import embed_in_chunks
from dml.training.learner import Learner
from tests.training.test_learner import stripes


def trained_in_chunks(count, layers):
    """Returns the losses and the numbers of a small network after two steps."""
    keras.utils.set_random_seed(0)
    images, labels = stripes(24)
    network = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Rescaling(1 / 255), *layers()]
    )
    network.add(keras.layers.GlobalAveragePooling2D())
    network.add(keras.layers.UnitNormalization())
    learner = Learner(network, MultiSimilarity(), chunks=count)
    learner.compile(keras.optimizers.SGD(0.1))
    loss = learner.fit(images, labels, batch_size=24, epochs=2, shuffle=False, verbose=0)
    values = [keras.ops.convert_to_numpy(v) for v in network.variables]
    return loss.history["loss"], [v for v in values if v.dtype.kind == "f"]


def test_a_batch_in_chunks_trains_as_the_whole_one():
    def layers():
        return [keras.layers.Conv2D(8, 3), keras.layers.ReLU(), keras.layers.Conv2D(8, 3)]

    whole, in_chunks = (trained_in_chunks(count, layers) for count in (1, 4))
    assert in_chunks[0] == pytest.approx(whole[0], rel=1e-4)
    for a, b in zip(whole[1], in_chunks[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_chunks_are_computed_again_with_the_same_random_numbers_and_statistics(monkeypatch):
    def layers():
        return [
            keras.layers.Conv2D(8, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Conv2D(8, 3),
        ]

    def kept(network, images, count):  # the same parts, nothing computed twice
        parts = keras.ops.split(images, count)
        return keras.ops.concatenate([network(part, training=True) for part in parts])

    again = trained_in_chunks(3, layers)
    monkeypatch.setattr("dml.training.learner.embed_in_chunks", kept)
    once = trained_in_chunks(3, layers)
    assert again[0] == pytest.approx(once[0], rel=1e-5)
    for a, b in zip(again[1], once[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_frozen_weights_in_chunks():
    def layers():
        return [
            keras.layers.Conv2D(8, 3, trainable=False),
            keras.layers.BatchNormalization(trainable=False),
            keras.layers.Conv2D(8, 3),
        ]

    whole, in_chunks = (trained_in_chunks(count, layers) for count in (1, 4))
    assert in_chunks[0] == pytest.approx(whole[0], rel=1e-4)
    for a, b in zip(whole[1], in_chunks[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_chunks_in_half_precision(precision):
    exact, _ = trained_in_chunks(3, lambda: [keras.layers.Conv2D(8, 3)])
    keras.config.set_dtype_policy(precision)
    try:
        losses, _ = trained_in_chunks(3, lambda: [keras.layers.Conv2D(8, 3)])
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(losses, exact, rtol=0.05)


def test_parts_that_do_not_fit_are_named():
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="chunks must divide the batch; got 5 images in 2"):
        embed_in_chunks(network, np.zeros((5, 4, 4, 3)), 2)

"""A batch in parts trains as the whole one, and its parts are computed twice alike."""

import keras
import numpy as np
import pytest

from dml import chunks
from dml.learner import Learner
from dml.losses import MultiSimilarity
from tests.backend import value_and_grad
from tests.test_learner import stripes


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

    again = trained_in_chunks(3, layers)
    monkeypatch.setattr(chunks, "recomputed", lambda forward: forward)
    kept = trained_in_chunks(3, layers)
    assert again[0] == pytest.approx(kept[0], rel=1e-5)
    for a, b in zip(again[1], kept[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX traces all parts at once")
def test_each_part_is_computed_twice():
    calls = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            calls.append(len(x.shape))
            return x

    x = np.ones((6, 4, 4, 3), "float32")
    network = keras.Sequential([keras.Input((4, 4, 3)), Counted(), keras.layers.Conv2D(2, 3)])
    network.add(keras.layers.GlobalAveragePooling2D())
    network(x[:1])
    calls.clear()
    value_and_grad(lambda x: keras.ops.sum(chunks.embed_in_chunks(network, x, 3)), x)
    assert len(calls) == 6

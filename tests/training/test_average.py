"""The average of the weights, by a loop in NumPy, through training and saving."""

import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.backbones._freezing import changing_weights
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.losses import ProxyAnchor
from dml.training._average import WeightAverage
from dml.training.learner import Learner

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype="uint8")
LABELS = np.arange(8) % 4


def encoder():
    keras.utils.set_random_seed(0)
    return build_encoder(Conv4(input_size=16, resize_side=16, filters=4), EmbeddingOptions(dim=4))


def learner(**options):
    made = Learner(encoder(), ProxyAnchor(), classes=4, **options)
    made.compile()
    return made


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


class Recorder(keras.callbacks.Callback):
    """Records the weights after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":  # whose state is elsewhere during an epoch
            self.model.jax_state_sync()
        self.weights.append(values(changing_weights(self.model.encoder)))


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_is_the_average_of_a_loop(decay):
    model, recorder = learner(average_decay=decay), Recorder()
    expected = values(changing_weights(model.encoder))
    model.fit(IMAGES, LABELS, batch_size=4, epochs=3, verbose=0, callbacks=[recorder])
    assert len(recorder.weights) == 6
    for t, weights in enumerate(recorder.weights, start=1):
        kept = min(decay, (1 + t) / (10 + t))
        expected = [kept * a + (1 - kept) * w for a, w in zip(expected, weights, strict=True)]
    for found, value in zip(values(model.average.averages), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6)
    paths = [w.path for w in changing_weights(model.encoder)]
    assert sum("moving_variance" in path for path in paths) == 4  # of the four layers
    before = values(model.encoder.weights)
    with model.averaged():
        for found, value in zip(values(changing_weights(model.encoder)), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6)
    for found, value in zip(values(model.encoder.weights), before, strict=True):
        np.testing.assert_array_equal(found, value)
    model.adopt_average()
    for found, value in zip(values(changing_weights(model.encoder)), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6)


def test_the_training_itself_is_unchanged():
    models = [learner(), learner(average_decay=0.9)]
    for model in models:
        model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0, shuffle=False)
    plain, averaged = (values(model.encoder.weights) for model in models)
    for a, b in zip(plain, averaged, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    with models[0].averaged():  # there is none
        pass


def test_weights_that_stay_keep_their_average_to_the_bit():
    model = encoder()
    average = WeightAverage(model, 0.37)
    average.start()
    before = values(average.averages)
    for a, b in zip(before, values(changing_weights(model)), strict=True):
        np.testing.assert_array_equal(a, b)
    for _ in range(5):
        average.update()
    for a, b in zip(before, values(average.averages), strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_weights_are_not_averaged():
    model = learner(train_blocks=1, average_decay=0.9)
    paths = [w.path for w in changing_weights(model.encoder)]
    # A kernel, gamma, beta, mean and variance of the last block, and the embedding layer.
    assert len(paths) == 5 + 2


def test_is_saved_with_the_learner(tmp_path):
    model = learner(average_decay=0.5)
    model.fit(IMAGES, LABELS, verbose=0)
    model.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    for a, b in zip(values(model.average.averages), values(loaded.average.averages), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(loaded.average.steps.numpy()) == 1


def test_a_decay_out_of_range_is_refused():
    with pytest.raises(ValueError, match="average_decay"):
        learner(average_decay=1.0)

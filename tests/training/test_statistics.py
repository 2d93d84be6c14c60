"""Statistics of batch normalisation for given weights, against those by NumPy."""

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from dml.backbones import Conv4
from dml.backbones._freezing import freeze
from dml.encoding.encoder import build_encoder
from dml.images import ImageError
from dml.training._statistics import StatisticsEstimator, moving_normalisations, plain_batches


@pytest.fixture
def network():
    """Two normalisations with a dense layer between them."""
    inputs = keras.Input((3,))
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name="first")(inputs)
    x = layers.Dense(2, name="dense")(x)
    return keras.Model(inputs, layers.BatchNormalization(momentum=0.8, name="second")(x))


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    return [rng.normal(loc=n, scale=1 + n, size=(8, 3)).astype("float32") for n in range(3)]


def statistics(layer):
    return [keras.ops.convert_to_numpy(v) for v in (layer.moving_mean, layer.moving_variance)]


def averages(batches):
    """Returns the averages of the batches' means and variances, (C,) each."""
    return np.mean([b.mean(axis=0) for b in batches], 0), np.mean(
        [b.var(axis=0) for b in batches], 0
    )


def test_they_are_the_averages_of_the_batches_means_and_variances(network, batches):
    kernel, bias = (keras.ops.convert_to_numpy(v) for v in network.get_layer("dense").weights)
    normalised = [(b - b.mean(0)) / np.sqrt(b.var(0) + 1e-3) for b in batches]
    estimator = StatisticsEstimator(network)
    for _ in range(2):  # it forgets what it has estimated before
        estimator.estimate(batches)
        for name, inputs in (
            ("first", batches),
            ("second", [n @ kernel + bias for n in normalised]),
        ):
            found = statistics(network.get_layer(name))
            for value, expected in zip(found, averages(inputs), strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    assert [network.get_layer(n).momentum for n in ("first", "second")] == [0.9, 0.8]


def test_nothing_else_changes(network, batches):
    freeze(network, network.get_layer("second").weights)
    moved = statistics(network.get_layer("first"))
    others = [w for w in network.weights if "first/moving" not in w.path]
    before = [np.array(keras.ops.convert_to_numpy(w)) for w in others]
    StatisticsEstimator(network).estimate(batches)
    assert len(others) == len(network.weights) - 2
    for weight, expected in zip(others, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), expected)
    assert not np.array_equal(statistics(network.get_layer("first"))[0], moved[0])


@pytest.mark.parametrize(
    "batch_norm, count, whole", [("train", 4, 4), ("frozen", 0, 4), ("fixed", 0, 0)]
)
def test_statistics_that_no_training_changes_are_left_alone(batch_norm, count, whole):
    encoder = build_encoder(Conv4(input_size=16, resize_side=16, filters=4, batch_norm=batch_norm))
    assert len(moving_normalisations(encoder)) == count
    assert len(moving_normalisations(encoder, whole=True)) == whole


def test_batches_are_full_and_hold_each_image_once(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(7)]
    for n, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((16, 16, 3), n, "uint8"))
    paths[2].write_bytes(b"no image")
    encoder = build_encoder(Conv4(input_size=16, resize_side=16, filters=4))
    names = list(map(str, paths))
    found = list(plain_batches(encoder, names, 3, threads=1, skip=True))
    assert [batch.shape for batch in found] == [(3, 16, 16, 3)] * 2
    assert [image[0, 0, 0] for batch in found for image in batch] == [0, 1, 3, 4, 5, 6]
    with pytest.raises(ImageError, match="2"):
        list(plain_batches(encoder, names, 3, threads=1, skip=False))
    (few,) = plain_batches(encoder, names[:2], 3, threads=1, skip=False)
    assert len(few) == 2  # better than none

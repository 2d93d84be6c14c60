"""The layers of an encoder: preparation, pooling and unit length."""

import keras
import numpy as np

from dml.encoding._layers import GeneralisedMean, Prepare, UnitLength
from tests.encoding.test_encoder import embed, images


def test_generalised_mean_goes_from_average_to_maximum():
    x = np.abs(np.random.default_rng(0).normal(size=(2, 3, 3, 4))).astype("float32") + 0.1
    layer = GeneralisedMean()
    layer.build(x.shape)
    layer.exponent.assign(1.0)
    np.testing.assert_allclose(embed(layer, x), x.mean(axis=(1, 2)), rtol=1e-4)
    layer.exponent.assign(200.0)
    np.testing.assert_allclose(embed(layer, x), x.max(axis=(1, 2)), rtol=0.02)


def test_a_zero_vector_stays_zero():
    assert not embed(UnitLength(), np.zeros((1, 3), "float32")).any()


def test_preparation_keeps_images_of_the_right_size_and_cuts_the_centre():
    x = images(2, 36, 36)
    np.testing.assert_array_equal(embed(Prepare(36, 32), x), x[:, 2:34, 2:34])


def test_preparation_keeps_the_aspect_ratio():
    x = np.zeros((1, 40, 80, 3), "uint8")
    x[:, :, 20:60] = 200  # the centre square
    assert (embed(Prepare(20, 16), x) == 200).all()


def test_stretching_shows_the_ends_of_a_long_image():
    image = np.zeros((1, 20, 60, 3), "uint8")
    image[:, :, :15] = 250  # at the left end, which a middle square leaves out
    embed = keras.ops.convert_to_numpy
    assert embed(Prepare(20, 20)(image)).max() == 0
    stretched = embed(Prepare(20, 20, "stretch")(image))
    assert stretched.shape == (1, 20, 20, 3) and (stretched[0, :, :4] > 200).all()

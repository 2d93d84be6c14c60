"""The range of the colour layers."""

import keras
import numpy as np
import pytest

from dml.augmentations._colour import colour_layers

GREY = np.full((2000, 2, 2, 3), 128, np.uint8)


def applied(**options):
    images = GREY
    for layer in colour_layers(seed=0, **options):
        images = layer(images, training=True)
    return keras.ops.convert_to_numpy(images)


def test_brightness_goes_both_ways_up_to_its_share():
    shift = applied(brightness=0.1)[:, 0, 0, 0] - 128
    assert shift.min() == pytest.approx(-25.5, abs=0.5)
    assert shift.max() == pytest.approx(25.5, abs=0.5)


@pytest.mark.parametrize("option", ["contrast", "saturation", "hue"])
def test_an_even_grey_has_nothing_else_to_change(option):
    assert applied(**{option: 0.3}) == pytest.approx(128, abs=0.01)


def test_contrast_goes_both_ways():
    images = np.tile(np.array([100, 150], np.uint8)[None, :, None, None], (2000, 1, 2, 3))
    for layer in colour_layers(contrast=0.2, seed=0):
        images = layer(images, training=True)
    images = keras.ops.convert_to_numpy(images)
    span = images[:, 1, 0, 0] - images[:, 0, 0, 0]
    assert span.min() == pytest.approx(40, abs=0.2) and span.max() == pytest.approx(60, abs=0.2)


def test_hue_turns_red_by_at_most_its_share():
    images = np.tile(np.array([255, 0, 0], np.uint8), (2000, 1, 1, 1))
    for layer in colour_layers(hue=0.1, seed=0):
        images = layer(images, training=True)
    red, green, blue = keras.ops.convert_to_numpy(images)[:, 0, 0].T
    assert red == pytest.approx(255, abs=0.1)
    # A tenth of the circle is 0.6 of the way from red to yellow, or to magenta.
    assert green.max() == pytest.approx(153, abs=2) and blue.max() == pytest.approx(153, abs=2)


def test_saturation_is_divided_and_multiplied_by_up_to_the_same():
    images = np.tile(np.array([200, 180, 160], np.uint8), (2000, 1, 1, 1))  # saturation 0.2
    for layer in colour_layers(saturation=0.5, seed=0):
        images = layer(images, training=True)
    images = keras.ops.convert_to_numpy(images)[:, 0, 0]
    found = 1 - images.min(axis=1) / images.max(axis=1)
    assert found.min() == pytest.approx(0.2 / 3, abs=0.002)
    assert found.max() == pytest.approx(0.2 * 3, abs=0.005)


def test_erases_the_asked_share_of_images():
    images = np.zeros((500, 32, 32, 3), np.uint8)
    for layer in colour_layers(erase=0.3, erased_area=0.25, seed=0):
        images = layer(images, training=True)
    erased = (keras.ops.convert_to_numpy(images) == 127.5).mean(axis=(1, 2, 3))
    assert (erased > 0).mean() == pytest.approx(0.3, abs=0.08)
    assert erased.max() <= 0.3

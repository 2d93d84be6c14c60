"""The contract of every augmentation in the registry."""

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest

from dml.augmentations import AUGMENTATIONS


@pytest.fixture(params=sorted(AUGMENTATIONS))
def name(request):
    return request.param


@pytest.fixture
def augmentation(name):
    return AUGMENTATIONS[name]()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def applied(layers, images, training=True):
    for layer in layers:
        images = layer(images, training=training)
    return keras.ops.convert_to_numpy(images)


@pytest.mark.parametrize("shape", [(40, 60, 3), (60, 40, 3), (32, 32, 3), (3, 200, 3), (1, 1, 3)])
def test_crops_images_of_any_shape_to_the_square(augmentation, shape):
    image = noise(*shape)
    for seed in range(5):
        crop = augmentation.crop(image, 32, np.random.default_rng(seed))
        assert crop.shape == (32, 32, 3) and crop.dtype == np.uint8
    np.testing.assert_array_equal(image, noise(*shape))  # left as it was


def test_a_crop_depends_on_its_generator_alone(augmentation):
    crops = [augmentation.crop(noise(50, 60, 3), 32, np.random.default_rng(s)) for s in (7, 8, 7)]
    np.testing.assert_array_equal(crops[0], crops[2])


def test_an_even_image_stays_even(augmentation):
    image = np.full((50, 70, 3), (10, 100, 200), np.uint8)
    for seed in range(5):
        assert (augmentation.crop(image, 32, np.random.default_rng(seed)) == image[0, 0]).all()


def test_decodes_no_less_than_the_square_needs(augmentation):
    assert all(augmentation.decode_side(size) >= size for size in (1, 28, 128, 224))


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_layers_keep_shape_and_range_and_work_in_float32(augmentation, kind):
    layers = augmentation.layers(seed=3)
    images = np.concatenate(
        [noise(6, 16, 16, 3), np.zeros((1, 16, 16, 3)), [noise(16, 16, 3) | 252]]
    )
    images = images.astype(kind)
    result = applied(layers, images)
    assert result.shape == images.shape
    assert result.min() >= 0 and result.max() <= 255
    if layers:
        assert result.dtype == np.float32
        assert (result[:6] != images[:6]).any(axis=(1, 2, 3)).all()  # each image, not some


def test_layers_change_nothing_outside_training(augmentation):
    images = noise(4, 16, 16, 3)
    np.testing.assert_array_equal(applied(augmentation.layers(), images, training=False), images)


def test_layers_are_the_same_for_the_same_seed(augmentation):
    images = noise(4, 16, 16, 3)
    results = [applied(augmentation.layers(seed=seed), images) for seed in (1, 1)]
    np.testing.assert_array_equal(*results)


def test_half_precision_policies_do_not_coarsen_the_colours(augmentation):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert all(layer.compute_dtype == "float32" for layer in augmentation.layers())
    finally:
        keras.config.set_dtype_policy("float32")


def test_has_a_docstring_that_names_every_option(name):
    for field in dataclasses.fields(AUGMENTATIONS[name]):
        assert f"{field.name}:" in AUGMENTATIONS[name].__doc__, f"{name}: document {field.name!r}"


def test_naming_an_augmentation_loads_no_backend():
    code = "import sys, dml.augmentations, dml.samplers; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

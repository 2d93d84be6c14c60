"""Tests specific to single augmentations."""

import keras
import numpy as np
import pytest

from dml.augmentations import DmlTf, GlyphWarp, RandomCropFlip, Strong


def test_dml_tf_cuts_a_square_of_224_from_a_short_side_of_256():
    image = np.broadcast_to(np.arange(256)[None, :, None], (256, 256, 3)).astype(np.uint8)
    starts = set()
    for seed in range(200):
        row = DmlTf(flip=0).crop(image, 224, np.random.default_rng(seed))[0, :, 0]
        assert (np.diff(row) == 1).all() and len(row) == 224
        starts.add(int(row[0]))
    assert min(starts) <= 1 and max(starts) >= 31


def test_glyphs_are_shifted_a_little_and_not_mirrored():
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:44, 10:22] = 255  # on the left
    for seed in range(20):
        crop = GlyphWarp().crop(image, 64, np.random.default_rng(seed)) / 255
        rows, columns = np.nonzero(crop[..., 0] > 0.5)
        assert 5 < columns.mean() < 28 and 22 < rows.mean() < 42
        assert len(rows) == pytest.approx(24 * 12, rel=0.5)


def test_without_any_change_a_glyph_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    still = GlyphWarp(turn=0, zoom=0, slant=0, shift=0)
    np.testing.assert_array_equal(still.crop(image, 32, np.random.default_rng(0)), image)


@pytest.mark.parametrize("part", [RandomCropFlip, Strong])
def test_stretched_crops_have_the_aspect_of_the_image(part):
    # Each pixel tells its row and column: a crop's corners give its extent in the image.
    image = np.zeros((60, 240, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(60)[:, None] * 4, np.arange(240)[None, :]
    ratios = []
    for seed in range(100):
        stretched = part(min_area=0.3, flip=0, aspect="stretch")
        crop = stretched.crop(image, 32, np.random.default_rng(seed)).astype(float)
        rows = (crop[-1, 0, 0] - crop[0, 0, 0]) / 4
        ratios.append((crop[0, -1, 1] - crop[0, 0, 1]) / rows)
    assert np.median(ratios) == pytest.approx(4, rel=0.15)
    assert min(ratios) < 3.5 and max(ratios) > 4.5


def test_an_option_of_0_leaves_its_layer_out():
    names = [layer.__class__.__name__ for layer in Strong(hue=0, erase=0).layers()]
    assert names == ["Rescaling", "RandomBrightness", "RandomContrast", "RandomSaturation"]
    assert Strong(brightness=0, contrast=0, saturation=0, hue=0, erase=0).layers() == []


def test_dml_tf_changes_contrast_brightness_and_hue_and_erases():
    names = [layer.__class__.__name__ for layer in DmlTf().layers()]
    layers = ["RandomBrightness", "RandomContrast", "RandomHue", "RandomErasing"]
    assert names == ["Rescaling", *layers]


@pytest.mark.parametrize("part", [DmlTf, Strong])
def test_every_option_of_a_colour_layer_changes_what_it_does(part):
    # A gradient of colours: each of the layers has something to change there.
    red, green = np.meshgrid(np.arange(0, 256, 8), np.arange(0, 256, 8))
    image = np.stack([red, green, np.full_like(red, 90)], axis=-1).astype("uint8")
    images = np.repeat(image[None], 8, axis=0)
    options = {"brightness", "contrast", "saturation", "hue", "erase", "cutout"}
    options &= set(part.__dataclass_fields__)
    none = dict.fromkeys(options, 0.0)
    assert part(**none).layers(0) == []
    for option in options:
        changed = images
        for layer in part(**{**none, option: 0.5}).layers(0):
            changed = layer(changed, training=True)
        assert (np.abs(keras.ops.convert_to_numpy(changed) - images) > 5).any(), option


@pytest.mark.parametrize("part", [RandomCropFlip, Strong])
@pytest.mark.parametrize("area", [-1, 0, 1.5])
def test_the_range_of_the_area_leaves_out_0(part, area):
    with pytest.raises(ValueError, match=r"min_area must be in \(0, 1\]; got"):
        part(min_area=area)


@pytest.mark.parametrize(
    "part, options",
    [
        (RandomCropFlip, {"min_area": 0}),
        (RandomCropFlip, {"min_area": 1.5}),
        (RandomCropFlip, {"flip": -0.1}),
        (RandomCropFlip, {"aspect": "wide"}),
        (Strong, {"hue": 0.6}),
        (Strong, {"erase": 2}),
        (Strong, {"saturation": 1}),
        (DmlTf, {"resize": 200}),
        (DmlTf, {"cutout": -1}),
        (GlyphWarp, {"turn": 200}),
        (GlyphWarp, {"zoom": 1}),
    ],
)
def test_refuses_options_out_of_range(part, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        part(**options)

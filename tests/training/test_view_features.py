"""Features are those of evaluation's crops and of views that seed, view and row decide."""

import keras
import numpy as np
import pytest

from dml.augmentations import RandomCropFlip, Strong
from dml.encoding import embed_images, features_of, head_of
from dml.errors import DivergenceError, OptionError
from dml.images import read_image
from dml.reporting import SILENT
from dml.training._view_features import ViewFeatures
from tests.training.features import SIZE, pictures, small_encoder

PAPER = RandomCropFlip(min_area=0.3)


def computed(folder, paths, encoder=None, augmentation=PAPER, views=3, batch_size=8, **options):
    """Returns features (N, 1 + views, C)."""
    options = {"seed": 5, "dtype": "float32", **options}
    source = ViewFeatures(
        encoder or small_encoder(), augmentation, views, batch_size=batch_size, **options
    )
    keys = source.keys([str(path) for path in paths])
    none = np.empty(0, [("key", "S32"), ("values", "f4", (1 + views, source.dimension))])
    return np.concatenate(list(source.parts(paths, keys, none, folder, 2, SILENT)))


def test_plain_features_are_those_that_the_encoder_embeds(tmp_path):
    paths, encoder = pictures(tmp_path).paths, small_encoder()
    plain = computed(tmp_path, paths, encoder, None, views=0)[:, 0]
    vectors = head_of(encoder).predict(plain, verbose=0)
    np.testing.assert_allclose(vectors, embed_images(encoder, paths), atol=1e-6)


def test_views_are_crops_drawn_by_seed_view_and_row(tmp_path):
    paths, encoder = pictures(tmp_path, 5).paths, small_encoder()
    found = computed(tmp_path, paths, encoder, views=2)
    for row, path in enumerate(paths):
        image = read_image(path, PAPER.decode_side(SIZE))
        crops = [PAPER.crop(image, SIZE, np.random.default_rng((5, view, row))) for view in (1, 2)]
        expected = keras.ops.convert_to_numpy(features_of(encoder)(np.stack(crops)))
        np.testing.assert_allclose(found[row, 1:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"views": 1}, {"paths": 4}])
def test_nothing_else_decides_a_view(tmp_path, change):
    paths = pictures(tmp_path, 10).paths
    one = computed(tmp_path / "one", paths)
    rows, views = change.pop("paths", 10), change.get("views", 3)
    other = computed(tmp_path / "other", paths[:rows], **change)
    np.testing.assert_allclose(other, one[:rows, : 1 + views], rtol=1e-4, atol=1e-5)


def test_another_seed_gives_other_views_of_the_same_images(tmp_path):
    paths = pictures(tmp_path, 6).paths
    one, other = (computed(tmp_path / str(seed), paths, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one[:, 0], other[:, 0])
    assert (np.abs(one[:, 1:] - other[:, 1:]).max(axis=2) > 1e-3).all()


def test_colours_are_drawn_anew_for_each_view_and_image_and_can_be_repeated(tmp_path):
    paths = pictures(tmp_path, 6).paths
    colours = Strong(min_area=1.0, flip=0.0, erase=0.0)
    cropped = RandomCropFlip(min_area=1.0, flip=0.0)
    found = computed(tmp_path / "one", paths, augmentation=colours)
    same_crops = computed(tmp_path / "crops", paths, augmentation=cropped)
    change = found[:, 1:] - same_crops[:, 1:]
    assert (np.abs(change).max(axis=2) > 1e-3).all()
    assert len(np.unique(change.round(4).reshape(-1, change.shape[-1]), axis=0)) == 18
    again = computed(tmp_path / "two", paths, augmentation=colours)
    np.testing.assert_allclose(again, found, rtol=1e-5, atol=1e-6)


def test_float16_is_the_rounded_float32(tmp_path):
    paths = pictures(tmp_path, 6).paths
    exact = computed(tmp_path / "32", paths)
    half = computed(tmp_path / "16", paths, dtype="float16")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, exact.astype("float16"))


def test_numbers_that_float16_can_not_hold_are_refused(tmp_path):
    paths, encoder = pictures(tmp_path, 4).paths, small_encoder()
    scales = [
        w for w in encoder.get_layer("network").get_layer("conv4").weights if "gamma" in w.path
    ]
    scales[-1].assign(scales[-1] * 1e6)
    with pytest.raises(OptionError, match=r"dtype float16 holds .*00\.png reach .* use float32"):
        computed(tmp_path, paths, encoder, dtype="float16")
    assert np.abs(computed(tmp_path, paths, encoder)).max() > 65504
    scales[-1].assign(scales[-1] * np.inf)
    with pytest.raises(DivergenceError, match=r"00\.png are not finite"):
        computed(tmp_path / "nan", paths, encoder)


def test_keys_hold_all_that_decides_the_features():
    encoder = small_encoder()

    def keys(encoder=encoder, augmentation=PAPER, views=3, seed=5, dtype="float32", batch_size=8):
        return ViewFeatures(encoder, augmentation, views, seed, dtype, batch_size).keys(["a", "b"])

    first = keys()
    assert (keys(small_encoder()) == first).all() and (keys(batch_size=9) == first).all()
    for change in (
        {"encoder": small_encoder(seed=1)},
        {"augmentation": RandomCropFlip(min_area=0.4)},
        {"augmentation": Strong(min_area=0.3)},
        {"views": 2},
        {"seed": 6},
        {"dtype": "float16"},
    ):
        assert not np.isin(keys(**change), first).any(), change
    assert (keys(batch_size=9, augmentation=Strong()) != keys(augmentation=Strong())).all()
    source = ViewFeatures(encoder, PAPER, 3, 5, "float32", 8)
    assert (source.keys(["a", "c"]) == first).tolist() == [True, False]
    assert not np.isin(source.keys(["b", "a"]), first).any()  # the row decides the views

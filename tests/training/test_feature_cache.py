"""Features are computed once, and again where anything has changed that they depend on."""

import numpy as np
import pytest

from dml._storage.unfinished import measuring
from dml.augmentations import RandomCropFlip
from dml.errors import ArrayError, BusyError, OccupiedError, OptionError
from dml.images import ImageError
from dml.training import FeatureCache, _view_features
from tests.reporters import Lines
from tests.training.features import pictures, small_encoder, write_image

AUGMENTATION = RandomCropFlip(min_area=0.3)
COMPUTED = "computing features"


@pytest.fixture
def items(tmp_path):
    return pictures(tmp_path)


def cached(tmp_path, items, encoder=None, **options):
    """Returns a cache, and how many images were computed for it."""
    lines = Lines()
    options = {"views": 2, "batch_size": 4, "folder": tmp_path / "cache", **options}
    cache = FeatureCache(
        encoder=encoder or small_encoder(),
        paths=items.paths,
        augmentation=AUGMENTATION,
        reporter=lines,
        **options,
    )
    done, total = lines.done.get(COMPUTED, (0, 0))
    assert done == total
    return cache, lines


def count_computed(monkeypatch):
    """Returns a list to which the row of each image that is read is added."""
    rows = []
    read = _view_features.ViewFeatures._crops
    monkeypatch.setattr(
        _view_features.ViewFeatures,
        "_crops",
        lambda self, path, row: rows.append(int(row)) or read(self, path, row),
    )
    return rows


def test_is_computed_once_and_read_by_memory_map(tmp_path, items, monkeypatch):
    first, _ = cached(tmp_path, items)
    assert len(first) == 20 and first.dimension == 8
    assert first.plain.shape == (20, 8) and first.views.shape == (2, 20, 8)
    assert first.plain.dtype == np.float16 and np.abs(first.plain).max() > 0.01
    rows = count_computed(monkeypatch)
    again, lines = cached(tmp_path, items)
    assert not rows and COMPUTED not in lines.done
    np.testing.assert_array_equal(again.plain, first.plain)
    np.testing.assert_array_equal(again.views, first.views)
    assert isinstance(again.plain, np.memmap)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_batches_are_views_or_plain_images(tmp_path, items):
    cache, _ = cached(tmp_path, items)
    batch = cache.batch(np.array([3, 3, 19]), np.array([1, 2, 2]))
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, cache.views[[0, 1, 1], [3, 3, 19]])
    plain, _ = cached(tmp_path, items, views=0, folder=tmp_path / "plain")
    assert plain.views.shape == (0, 20, 8)
    np.testing.assert_array_equal(plain.batch(np.array([7]), np.array([0])), plain.plain[[7]])
    np.testing.assert_array_equal(plain.plain, cache.plain)


def test_only_a_changed_image_is_computed_again(tmp_path, items, monkeypatch):
    before, _ = cached(tmp_path, items)
    write_image(items.paths[6], seed=99)
    rows = count_computed(monkeypatch)
    after, lines = cached(tmp_path, items)
    assert rows == [6] and lines.done[COMPUTED] == (20, 20)
    same = np.arange(20) != 6
    np.testing.assert_array_equal(after.views[:, same], before.views[:, same])
    assert (np.abs(after.plain[6] - before.plain[6]).max() > 1e-3).all()
    fresh, _ = cached(tmp_path, items, folder=tmp_path / "fresh")
    np.testing.assert_allclose(after.views[:, 6], fresh.views[:, 6], rtol=1e-3, atol=1e-4)


def test_known_digests_spare_reading_the_images(tmp_path, items):
    cache, lines = cached(tmp_path, items, digests=list(map(str, range(20))))
    assert "looking for changed images" not in lines.done
    write_image(items.paths[6], seed=99)
    again, lines = cached(tmp_path, items, digests=list(map(str, range(20))))
    assert COMPUTED not in lines.done
    np.testing.assert_array_equal(again.plain, cache.plain)
    with pytest.raises(ArrayError, match="digests must be as many as paths, 20; got 1"):
        cached(tmp_path, items, digests=["a"])


@pytest.mark.parametrize("change", [{"encoder": 1}, {"seed": 1}, {"dtype": "float32"}])
def test_another_network_or_preparation_computes_all(tmp_path, items, monkeypatch, change):
    cached(tmp_path, items)
    if "encoder" in change:
        change = {"encoder": small_encoder(seed=1)}
    rows = count_computed(monkeypatch)
    after, _ = cached(tmp_path, items, **change)
    assert sorted(rows) == list(range(20))
    fresh, _ = cached(tmp_path, items, folder=tmp_path / "fresh", **change)
    np.testing.assert_array_equal(after.views, fresh.views)


def test_continues_where_it_was_killed(tmp_path, items, monkeypatch):
    write, written = _view_features.write_part, []

    def kill(*part):
        write(*part)
        written.append(part)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(_view_features, "write_part", kill)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, items)
    monkeypatch.setattr(_view_features, "write_part", write)
    parts = sorted((tmp_path / "cache/unfinished").glob("*.part"))
    parts[0].write_bytes(parts[0].read_bytes()[:-1])
    rows = count_computed(monkeypatch)
    after, lines = cached(tmp_path, items)
    assert len(rows) == 12  # two of the five parts of 4 images were kept intact
    assert lines.done[COMPUTED] == (20, 20)
    fresh, _ = cached(tmp_path, items, folder=tmp_path / "fresh")
    np.testing.assert_array_equal(after.views, fresh.views)
    np.testing.assert_array_equal(after.plain, fresh.plain)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_damaged_file_is_reported_and_computed_again(tmp_path, items):
    before, _ = cached(tmp_path, items)
    expected = np.array(before.views)
    file = next((tmp_path / "cache").glob("rows-*.bin"))
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.unlink()
    file.write_bytes(data)
    after, lines = cached(tmp_path, items)
    assert len(lines.warnings) == 1 and "SHA-256 does not match; it is computed" in lines[0]
    np.testing.assert_array_equal(after.views, expected)
    _, lines = cached(tmp_path, items)
    assert not lines


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path, items):
    with measuring(tmp_path / "cache/unfinished"), pytest.raises(BusyError, match="is writing it"):
        cached(tmp_path, items)
    before, _ = cached(tmp_path, items)
    with measuring(tmp_path / "cache/unfinished"):
        again, _ = cached(tmp_path, items)
    np.testing.assert_array_equal(again.views, before.views)


def test_an_unreadable_image_is_an_error_that_names_it(tmp_path, items):
    with open(items.paths[5], "rb+") as file:
        file.truncate(200)
    with pytest.raises(ImageError, match=r"05\.jpg"):
        cached(tmp_path, items)
    with pytest.raises(ImageError, match=r"05\.jpg"):
        cached(tmp_path, items, digests=list(map(str, range(20))))


def test_refuses_what_it_can_not_compute(tmp_path, items):
    encoder, folder = small_encoder(), tmp_path / "cache"
    with pytest.raises(OptionError, match="augmentation is missing: 4 views"):
        FeatureCache(folder, encoder, items.paths)
    with pytest.raises(ArrayError, match="there are no images"):
        FeatureCache(folder, encoder, [], views=0)
    for options in ({"views": -1}, {"seed": -1}, {"dtype": "int8"}, {"threads": 0}):
        with pytest.raises(OptionError, match=next(iter(options))):
            FeatureCache(folder, encoder, items.paths, AUGMENTATION, **options)
    with pytest.raises(OptionError, match="encoder must be a model of"):
        FeatureCache(folder, encoder.get_layer("network"), items.paths, views=0)
    assert not folder.exists()
    folder.touch()
    with pytest.raises(OccupiedError, match="cache: is no folder"):
        FeatureCache(folder, encoder, items.paths, views=0)

"""Vectors of images in a file, each once, however often the command was interrupted."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

import dml.encoding._collection as module
from dml._storage.unfinished import measuring
from dml.encoding._collection import embed_sources, embed_to_file
from dml.encoding._engines import LocalEngine
from dml.encoding.embed import embed_images
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError, OccupiedError, OptionError
from tests.bundles import write_bundle, write_images
from tests.datasets.layouts import png, write_parquet
from tests.reporters import Lines


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    write_images(tmp_path / "photos")
    return tmp_path


def test_writes_a_row_for_each_image(here):
    lines = Lines()
    embed_to_file("bundle", ["photos"], "out.parquet", reporter=lines)
    frame = pd.read_parquet("out.parquet")
    assert list(frame.columns) == ["id", "path", "label", "vector"] and len(frame) == 12
    encoder = OnnxEncoder("bundle")
    expected = embed_images(encoder, frame["path"].tolist(), batch_size=5)
    np.testing.assert_allclose(np.stack(frame["vector"]), expected, atol=1e-6)
    assert lines == ["12 vectors of 6 numbers: out.parquet"]
    assert sorted(p.name for p in here.iterdir()) == ["bundle", "out.parquet", "photos"]


def test_a_folder_in_the_files_place_is_refused_before_the_work(here):
    (here / "out.parquet").mkdir()
    with pytest.raises(OccupiedError, match="another --out"):
        embed_to_file("bundle", ["photos"], "out.parquet")
    assert not (here / "out.parquet.unfinished").exists()


def test_a_file_that_is_read_is_not_overwritten(here):
    path = write_parquet(here / "photos.parquet", [png(1), png(2)])
    (here / "list.csv").write_text("path\nphotos.parquet!image!1\n")
    (here / "link.parquet").symlink_to(path)
    pd.DataFrame({"path": ["photos/class 0/0.png"]}).to_parquet("paths.parquet")
    before = path.read_bytes()
    for sources, out in (
        (["photos", "photos.parquet"], here / "photos.parquet"),
        (["photos.parquet"], "link.parquet"),
        (["link.parquet"], "photos.parquet"),
        (["list.csv"], "photos.parquet"),
        (["paths.parquet"], "paths.parquet"),
    ):
        with pytest.raises(OccupiedError, match=r"\.parquet: is read .*; choose another --out"):
            embed_to_file("bundle", sources, out)
    assert path.read_bytes() == before and pd.read_parquet("paths.parquet").columns == ["path"]
    embed_to_file("bundle", ["photos.parquet"], "out.parquet")
    with pytest.raises(OccupiedError, match=r"photos\.parquet: is read"):
        embed_to_file("bundle", ["out.parquet"], "photos.parquet")  # the images of the vectors


def test_lists_unreadable_images_and_continues(here):
    (here / "photos" / "class 1" / "2.png").write_bytes(b"no image")
    lines = Lines()
    embed_to_file("bundle", ["photos"], "out.parquet", reporter=lines)
    assert len(pd.read_parquet("out.parquet")) == 11
    listed = pd.read_csv("out.parquet.unreadable.csv")
    assert listed["id"].tolist() == ["photos/class 1/2.png"]
    assert "left out as unreadable: 1 image, listed in" in lines[1] and "not an image" in lines[2]


@pytest.fixture
def interrupted(here, monkeypatch):
    """An embedding that was stopped after two parts of five images."""
    monkeypatch.setattr(module, "_PART", 5)
    real, calls = LocalEngine.embed_part, []

    def embed_part(self, encoder, paths, advance=None):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(paths)
        return real(self, encoder, paths, advance)

    with monkeypatch.context() as stopped:
        stopped.setattr(LocalEngine, "embed_part", embed_part)
        with pytest.raises(KeyboardInterrupt):
            embed_to_file("bundle", ["photos"], "out.parquet")
    assert not (here / "out.parquet").exists()
    return here


def embedded_now(monkeypatch):
    """Embeds again; returns the images that are read."""
    real, again = LocalEngine.embed_part, []

    def embed_part(self, encoder, paths, advance=None):
        again.extend(paths)
        return real(self, encoder, paths, advance)

    monkeypatch.setattr(LocalEngine, "embed_part", embed_part)
    embed_to_file("bundle", ["photos"], "out.parquet")
    frame = pd.read_parquet("out.parquet")
    assert frame["id"].is_unique
    expected = embed_images(OnnxEncoder("bundle"), frame["path"].tolist())
    np.testing.assert_allclose(np.stack(frame["vector"]), expected, atol=1e-6)
    return again


def replace_image(photos):
    write_images(photos / "new", classes=1, each=1, side=30)
    (photos / "new" / "class 0" / "0.png").replace(photos / "class 0" / "1.png")
    shutil.rmtree(photos / "new")


@pytest.mark.parametrize(
    "change, again",
    [
        (lambda photos: None, ["2/2.png", "2/3.png"]),
        (lambda photos: (photos / "class 0" / "0.png").unlink(), ["2/2.png", "2/3.png"]),
        (replace_image, ["0/1.png", "2/2.png", "2/3.png"]),
        (lambda photos: os.utime(photos / "class 1" / "0.png"), ["1/0.png", "2/2.png", "2/3.png"]),
        (
            lambda photos: shutil.copy(photos / "class 0" / "0.png", photos / "class 0" / "00.png"),
            ["0/00.png", "2/2.png", "2/3.png"],
        ),
    ],
)
def test_only_what_has_changed_is_computed_again(interrupted, monkeypatch, change, again):
    change(interrupted / "photos")
    read = embedded_now(monkeypatch)
    assert [path.removeprefix(f"{interrupted}/photos/class ") for path in read] == again


def test_progress_counts_the_parts_of_an_earlier_attempt(interrupted):
    reporter = Lines()
    embed_to_file("bundle", ["photos"], "out.parquet", reporter=reporter)
    assert reporter.done == {"embedding": (12, 12)}


def test_two_at_once_do_not_share_a_measurement(here):
    with (
        measuring(here / "out.parquet.unfinished"),
        pytest.raises(ValueError, match=rf"unfinished: process {os.getpid()} on .* is writing it"),
    ):
        embed_to_file("bundle", ["photos"], "out.parquet")
    assert not (here / "out.parquet").exists()


def test_a_file_of_vectors_is_taken_as_it_is(here):
    written = embed_to_file("bundle", ["photos"], "out.parquet")
    checked = []
    taken = embed_sources(
        OnnxEncoder("bundle"), ["out.parquet"], here / "unused", check=checked.append
    )
    pd.testing.assert_frame_equal(taken.table, written.table, check_dtype=False)
    np.testing.assert_array_equal(taken.vectors, written.vectors)
    assert not len(taken.unreadable) and len(checked[0]) == 12 and not (here / "unused").exists()


def test_an_older_list_of_unreadable_images_is_removed(here):
    (here / "out.parquet.unreadable.csv").write_text("old")
    embed_to_file("bundle", ["photos"], "out.parquet")
    assert not (here / "out.parquet.unreadable.csv").exists()


def test_says_what_is_wrong(here):
    with pytest.raises(OptionError, match=r"--out must end in \.parquet"):
        embed_to_file("bundle", ["photos"], "out.csv")
    (here / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"bad\.png: none of the images .*: empty file"):
        embed_to_file("bundle", ["bad.png"], "out.parquet")

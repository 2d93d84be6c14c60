"""Vectors of images in a file, each once, however often the command was stopped."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

import dml.commands.embed as module
from dml._storage.unfinished import measuring
from dml.commands.embed import embed, embedded, read_vectors
from dml.encoding.embed import embed_images
from dml.encoding.onnx_encoder import OnnxEncoder
from tests.bundles import write_bundle, write_images


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    write_images(tmp_path / "photos")
    return tmp_path


def test_writes_a_row_for_each_image(here):
    lines = []
    embed("bundle", ["photos"], "out.parquet", report=lines.append)
    frame = pd.read_parquet("out.parquet")
    assert list(frame.columns) == ["id", "path", "label", "vector"] and len(frame) == 12
    encoder = OnnxEncoder("bundle")
    expected = embed_images(encoder, frame["path"].tolist(), batch_size=5)
    np.testing.assert_allclose(np.stack(frame["vector"]), expected, atol=1e-6)
    assert lines == ["12 vectors of 6 numbers: out.parquet"]
    assert sorted(p.name for p in here.iterdir()) == ["bundle", "out.parquet", "photos"]


def test_a_folder_in_the_files_place_is_refused_before_the_work(here):
    (here / "out.parquet").mkdir()
    with pytest.raises(IsADirectoryError, match="another --out"):
        embed("bundle", ["photos"], "out.parquet", report=print)
    assert not (here / "out.parquet.unfinished").exists()


def test_lists_unreadable_images_and_goes_on(here):
    (here / "photos" / "class 1" / "2.png").write_bytes(b"no image")
    lines = []
    embed("bundle", ["photos"], "out.parquet", report=lines.append)
    assert len(pd.read_parquet("out.parquet")) == 11
    listed = pd.read_csv("out.parquet.unreadable.csv")
    assert listed["id"].tolist() == ["photos/class 1/2.png"]
    assert "1 images could not be read" in lines[1] and "not an image" in lines[2]


def test_goes_on_where_it_was_stopped(here, monkeypatch):
    monkeypatch.setattr(module, "PART", 5)
    real, calls = module.embed_part, []

    def stops(encoder, paths, *rest):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(paths)
        return real(encoder, paths, *rest)

    monkeypatch.setattr(module, "embed_part", stops)
    with pytest.raises(KeyboardInterrupt):
        embed("bundle", ["photos"], "out.parquet")
    assert not (here / "out.parquet").exists()
    again = []
    monkeypatch.setattr(
        module, "embed_part", lambda e, paths, *rest: again.append(paths) or real(e, paths, *rest)
    )
    embed("bundle", ["photos"], "out.parquet")
    assert [len(paths) for paths in again] == [2]
    frame = pd.read_parquet("out.parquet")
    assert frame["id"].is_unique and len(frame) == 12
    expected = embed_images(OnnxEncoder("bundle"), frame["path"].tolist())
    np.testing.assert_allclose(np.stack(frame["vector"]), expected, atol=1e-6)


def measured_again(here, monkeypatch, change):
    """Stops an embedding before its last part; returns what is read after a change."""
    monkeypatch.setattr(module, "PART", 5)
    real, calls = module.embed_part, []

    def embeds(encoder, paths, *rest):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(paths)
        return real(encoder, paths, *rest)

    with monkeypatch.context() as stopped:
        stopped.setattr(module, "embed_part", embeds)
        with pytest.raises(KeyboardInterrupt):
            embed("bundle", ["photos"], "out.parquet")
    change(here / "photos")
    again = []
    monkeypatch.setattr(
        module, "embed_part", lambda e, paths, *rest: again.extend(paths) or real(e, paths, *rest)
    )
    embed("bundle", ["photos"], "out.parquet", report=lambda line: None)
    frame = pd.read_parquet("out.parquet")
    expected = embed_images(OnnxEncoder("bundle"), frame["path"].tolist())
    np.testing.assert_allclose(np.stack(frame["vector"]), expected, atol=1e-6)
    return [path.removeprefix(f"{here}/photos/class ") for path in again]


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
def test_only_what_has_changed_is_measured_again(here, monkeypatch, change, again):
    assert measured_again(here, monkeypatch, change) == again


def test_two_at_once_do_not_share_a_measurement(here):
    with (
        measuring(here / "out.parquet.unfinished"),
        pytest.raises(ValueError, match=rf"unfinished: process {os.getpid()} on .* is writing it"),
    ):
        embed("bundle", ["photos"], "out.parquet")
    assert not (here / "out.parquet").exists()


def test_a_file_of_vectors_is_taken_as_it_is(here):
    embed("bundle", ["photos"], "out.parquet", report=lambda line: None)
    encoder = OnnxEncoder("bundle")
    table, vectors, faults = embedded(encoder, ["out.parquet"], here / "unused")
    assert len(table) == len(vectors) == 12 and not len(faults)
    other = OnnxEncoder(write_bundle(here / "other", seed=1))
    with pytest.raises(ValueError, match="vectors are of another encoder"):
        read_vectors("out.parquet", other)
    pd.DataFrame({"path": ["a"]}).to_parquet("plain.parquet")
    assert read_vectors("plain.parquet", encoder) is None


def test_says_what_is_wrong(here):
    with pytest.raises(ValueError, match=r"--out must end in \.parquet"):
        embed("bundle", ["photos"], "out.csv")
    (here / "bad.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the images could be read: .*empty file"):
        embed("bundle", ["bad.png"], "out.parquet")
    assert json.loads((here / "bundle" / "dml.json").read_text())["dimension"] == 6

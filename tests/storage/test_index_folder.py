"""Files of an index are hashed once, and damage is detected."""

import dataclasses
import hashlib

import pytest

from dml._storage.index_folder import FileEntry, HashedFile, IndexFolder, Manifest
from dml._storage.records import read_sealed, write_sealed
from dml.errors import MissingDataError
from tests.storage.durability import Journal


@pytest.fixture
def folder(tmp_path):
    return IndexFolder(tmp_path)


@pytest.fixture
def manifest(folder):
    """The manifest of two vectors of three numbers, which is written."""
    files = {
        "vectors": folder.write("vectors-1.f32", bytes(range(24))).entry,
        "items": folder.write("items-1.parquet", b"items").entry,
    }
    manifest = Manifest(
        number=1,
        kind="hnsw",
        rows=2,
        dimension=3,
        encoder="0" * 64,
        bundle="1" * 64,
        search={"ef_search": 16},
        recall={"target": 0.95, "measured": 1.0, "queries": 0, "seconds_per_query": None},
        versions={"numpy": "2.0"},
        files=files,
    )
    folder.write_manifest(manifest)
    return manifest


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_a_manifest_is_read_as_it_was_written(folder, manifest):
    assert folder.read_manifest() == manifest
    assert read_sealed(folder.manifest, 3, "")["schema"] == 3
    assert manifest.files["items"] == FileEntry("items-1.parquet", 5, sha256(b"items"))


@pytest.mark.parametrize(
    "field, value",
    [
        ("number", -1),
        ("number", 2**53),
        ("number", 1.0),
        ("rows", 3),
        ("kind", None),
        ("dimension", 0),
        ("dimension", True),
        ("encoder", 7),
        ("search", []),
        ("recall", {"target": 0.95}),
        ("recall", {"target": 0.95, "measured": 1.5}),
        ("recall", {"target": 0.95, "measured": float("nan")}),
        ("files", {}),
        ("files", []),
        ("effort", {}),
    ],
)
def test_a_manifest_of_another_form_is_refused(folder, manifest, field, value):
    value = {**manifest.to_json(), field: value}
    write_sealed(folder.manifest, value)
    with pytest.raises(ValueError, match=r"manifest\.json: damaged: .*build the index again"):
        folder.read_manifest()


def test_an_index_of_another_version_is_named_as_such(folder, manifest):
    write_sealed(folder.manifest, {**manifest.to_json(), "schema": 2})
    with pytest.raises(ValueError, match=r"of another version of dml: .*; build the index again"):
        folder.read_manifest()


@pytest.mark.parametrize(
    "name", ["../vectors-1.f32", "vectors-1.f32/", "vectors-.f32", "codes-1.faiss", None]
)
def test_files_have_the_names_of_their_role(manifest, name):
    files = dict(manifest.files)
    files["vectors"] = dataclasses.replace(files["vectors"], name=name)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(manifest, files=files)


def test_appended_bytes_are_hashed_with_those_before_them(folder):
    first = folder.write("vectors-1.f32", b"abc")
    with open(folder.path / "vectors-1.f32", "ab") as file:
        file.write(b"left by an unfinished change")
    second = folder.append(first, b"de")
    assert second.entry == FileEntry("vectors-1.f32", 5, sha256(b"abcde"))
    assert (folder.path / "vectors-1.f32").read_bytes() == b"abcde"
    assert first.hasher.hexdigest() == first.entry.sha256 == sha256(b"abc")


def test_of_a_file_that_has_grown_only_the_new_bytes_are_read(folder):
    first = folder.check(folder.write("vectors-1.f32", b"abc").entry)
    second = folder.append(first, b"de").entry
    (folder.path / "vectors-1.f32").write_bytes(b"xyzde")  # what was hashed is not read again
    assert folder.check(second, first).entry == second
    with pytest.raises(ValueError, match=r"damaged: its SHA-256 is not the one"):
        folder.check(second)
    (folder.path / "vectors-1.f32").write_bytes(b"abcdx")
    with pytest.raises(ValueError, match=r"damaged: its SHA-256 is not the one"):
        folder.check(second, first)


def test_another_file_of_the_same_name_is_read_whole(folder):
    first = folder.write("vectors-1.f32", b"abc")
    other = folder.write("vectors-1.f32", b"uvwxyz").entry
    assert folder.check(other, first).entry == other
    shorter = folder.write("vectors-1.f32", b"u").entry
    assert folder.check(shorter, first).entry == shorter


def test_a_file_that_is_cut_short_or_missing_is_named(folder):
    entry = folder.write("vectors-1.f32", b"abcdef").entry
    (folder.path / entry.name).write_bytes(b"abcd")
    with pytest.raises(ValueError, match=r"vectors-1\.f32: cut short by 2 bytes"):
        folder.check(entry)
    (folder.path / entry.name).unlink()
    for known in (None, HashedFile(entry, hashlib.sha256(b"abcdef"))):
        with pytest.raises(FileNotFoundError):
            folder.check(entry, known)


def test_only_files_of_an_index_are_removed(folder, manifest):
    (folder.path / "vectors-0.f32").touch()
    (folder.path / "codes-7.faiss").symlink_to("nowhere")
    (folder.path / ".writing-abc").touch()
    (folder.path / "notes.txt").touch()
    (folder.path / "items-old").mkdir()
    folder.remove_others(manifest.files.values())
    left = {path.name for path in folder.path.iterdir()}
    assert left == {"manifest.json", "vectors-1.f32", "items-1.parquet", "notes.txt", "items-old"}


def test_a_folder_without_a_manifest_is_not_an_index(folder):
    with pytest.raises(FileNotFoundError, match=r"not an index: manifest\.json is missing"):
        folder.read_manifest()


def test_the_folder_of_a_run_says_where_its_index_is(tmp_path):
    for name in ("recipe.toml", "items.parquet", "manifest.json"):
        (tmp_path / name).touch()
    with pytest.raises(MissingDataError, match=r"a run, not an index; `dml export .*, make one$"):
        IndexFolder(tmp_path).read_manifest()
    (tmp_path / "index").mkdir()
    with pytest.raises(MissingDataError, match=r"a run, not an index; its index is .*/index$"):
        IndexFolder(tmp_path).read_manifest()


def test_the_files_of_an_index_are_written_durably(folder, tmp_path, monkeypatch):
    journal = Journal(monkeypatch)
    file = folder.write("vectors-1.f32", bytes(24))
    journal.require_durable(tmp_path / "vectors-1.f32")
    events = len(journal.events)
    folder.append(file, bytes(12))
    assert journal.is_flushed(tmp_path / "vectors-1.f32", journal.events[events:])


def test_a_manifest_is_written_durably(manifest, folder, monkeypatch):
    journal = Journal(monkeypatch)
    folder.write_manifest(manifest)
    journal.require_durable(folder.manifest)

"""Files and folders are written completely or not at all."""

import errno
import os
import time

import numpy as np
import pytest

from dml._storage.atomic import atomic_path, make_folder, new_folder, put_in_place, write_text
from dml.errors import OccupiedError, StorageError
from tests.storage.durability import Journal


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_with_the_file(tmp_path):
    message = r"log\.txt: No space left on device; the old file, if any, is unchanged"
    with pytest.raises(StorageError, match=message), atomic_path(tmp_path / "log.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [atomic_path, new_folder])
def test_what_can_not_be_created_is_named_as_the_user_named_it(write):
    with (
        pytest.raises(StorageError, match=r"^/proc/page: can't be written: ") as error,
        write("/proc/page"),
    ):
        pass
    assert ".writing" not in str(error.value)


def test_a_folder_in_the_files_place_is_named(tmp_path):
    (tmp_path / "a.parquet").mkdir()
    message = r"a\.parquet: is a folder"
    with pytest.raises(OccupiedError, match=message), atomic_path(tmp_path / "a.parquet"):
        raise AssertionError("nothing is written")
    assert len(list(tmp_path.iterdir())) == 1


def test_the_temporary_name_keeps_the_suffix(tmp_path):
    with atomic_path(tmp_path / "a.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("x")


def test_what_a_killed_process_has_left_of_a_new_folder_is_removed_and_what_is_held_is_not(
    tmp_path,
):
    old = time.time() - 100

    def left(name):
        folder = tmp_path / f".writing-{name}"
        folder.mkdir()
        (folder / "half").touch()
        return folder

    dead, other, young = left("abcdefghbundle"), left("abcdefghothers"), left("12345678bundle")
    for folder in (dead, other):
        os.utime(folder, (old, old))
    with (
        pytest.raises(FileExistsError, match="bundle: already exists"),
        new_folder(tmp_path / "bundle") as at_work,
    ):
        assert not dead.exists() and other.exists() and young.exists()
        (at_work / "encoder.onnx").touch()
        os.utime(at_work, (old, old))
        with new_folder(tmp_path / "bundle") as second:
            assert at_work.exists()
            (second / "first").touch()
    assert os.listdir(tmp_path / "bundle") == ["first"]


@pytest.fixture
def journal(monkeypatch):
    return Journal(monkeypatch)


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(tmp_path, journal):
    for text in ("old", "the new one"):
        write_text(tmp_path / "a.txt", text)
        journal.require_durable(tmp_path / "a.txt")
    with atomic_path(tmp_path / "a.npy") as temporary:
        np.save(temporary, np.zeros(5000))
    journal.require_durable(tmp_path / "a.npy")
    (tmp_path / "part").write_text("all of it")
    put_in_place(tmp_path / "part", tmp_path / "whole")
    journal.require_durable(tmp_path / "whole")


def test_each_file_of_a_new_folder_is_flushed_before_it_is_renamed(tmp_path, journal):
    with new_folder(tmp_path / "bundle") as folder:
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_bytes(bytes(5000))
        (folder / "dml.json").write_text("{}")
    journal.require_durable(tmp_path / "bundle")


def test_the_names_of_new_parents_are_flushed(tmp_path, journal):
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        assert journal.is_flushed(folder, journal.events), folder
    make_folder(tmp_path / "a")  # again

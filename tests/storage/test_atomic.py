"""Files and folders are written whole or not at all."""

import errno
import os
import time

import pytest

from dml._storage.atomic import atomic_path, new_folder, write_text


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_with_the_file(tmp_path):
    message = r"log\.txt: No space left on device; what was there before"
    with pytest.raises(OSError, match=message), atomic_path(tmp_path / "log.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_files_place_is_named(tmp_path):
    (tmp_path / "a.parquet").mkdir()
    message = r"a\.parquet is a folder"
    with pytest.raises(IsADirectoryError, match=message), atomic_path(tmp_path / "a.parquet"):
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
        pytest.raises(FileExistsError, match="bundle is there already"),
        new_folder(tmp_path / "bundle") as at_work,
    ):
        assert not dead.exists() and other.exists() and young.exists()
        (at_work / "encoder.onnx").touch()
        os.utime(at_work, (old, old))
        with new_folder(tmp_path / "bundle") as second:
            assert at_work.exists()
            (second / "first").touch()
    assert os.listdir(tmp_path / "bundle") == ["first"]

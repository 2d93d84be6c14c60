"""Files appear whole or not at all."""

import errno

import pytest

from dml.folders import RunFolder, atomic_path, read_json, write_json, write_text


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


def test_the_temporary_name_keeps_the_suffix(tmp_path):
    with atomic_path(tmp_path / "a.weights.h5") as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("x")


def test_json_survives_the_round_trip_and_damage_is_named(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, 2.5, None]})
    assert read_json(path) == {"a": [1, 2.5, None]}
    path.write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON"):
        read_json(path)


def test_a_run_is_never_overwritten(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    write_text(folder.recipe, "")
    with pytest.raises(ValueError, match="already holds a run"):
        folder.create()


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"recipe\.toml is missing"):
        RunFolder(tmp_path).open()


def test_the_log_is_read_as_written(tmp_path):
    folder = RunFolder(tmp_path).create()
    assert folder.read_log() == []
    folder.append_log({"epoch": 1})
    folder.append_log({"epoch": 2})
    assert folder.read_log() == [{"epoch": 1}, {"epoch": 2}]


def test_a_line_cut_short_is_left_out_and_later_epochs_are_trimmed(tmp_path):
    folder = RunFolder(tmp_path).create()
    for epoch in (1, 2, 3):
        folder.append_log({"epoch": epoch})
    with open(folder.log, "a") as file:
        file.write('{"epoch": 4, "lo')
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3]
    folder.trim_log(2)
    assert folder.log.read_text() == '{"epoch": 1}\n{"epoch": 2}\n'

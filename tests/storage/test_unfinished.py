"""Parts of a measurement that are kept."""

import numpy as np
import pytest

from dml._storage.unfinished import Unfinished, UnfinishedRows, measuring, write_part
from dml.errors import StorageError
from tests.storage.durability import Journal

X = np.arange(6.0).reshape(2, 3)


def kept(folder, arrays=(X,), options=(1,)):
    return Unfinished(folder / "parts", arrays, options)


def test_a_part_is_computed_once(tmp_path):
    first = kept(tmp_path)
    first.part(0, lambda: (X, X.astype("int64")))
    assert not first.was_known
    again = kept(tmp_path)
    found = again.part(0, lambda: pytest.fail("computed twice"))
    assert again.was_known and (found[0] == X).all() and found[1].dtype == "int64"


@pytest.mark.parametrize(
    "change", [{"arrays": (X + 1,)}, {"arrays": (X.reshape(3, 2),)}, {"options": (2,)}]
)
def test_parts_of_another_measurement_are_not_taken(tmp_path, change):
    kept(tmp_path).part(0, lambda: (X,))
    other = kept(tmp_path, **change)
    assert (other.part(0, lambda: (X + 5,))[0] == X + 5).all()


def test_rows_belong_to_their_keys_alone(tmp_path):
    rows = UnfinishedRows(tmp_path)
    rows.keep(["a" * 32, None, "b" * 32], X[[0, 0, 1]])
    rows.keep(["c" * 32], X[:1] + 7)
    found = np.full((4, 3), -1.0)
    known = UnfinishedRows(tmp_path).take(["c" * 32, "x" * 32, "b" * 32, "b" * 32], found)
    assert known.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(found, [X[0] + 7, [-1] * 3, X[1], X[1]])


def test_no_parts_are_kept_behind_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "parts").symlink_to("elsewhere")
    with pytest.raises(ValueError, match="parts: a link"), measuring(tmp_path / "parts"):
        raise AssertionError("measured")
    assert not any((tmp_path / "elsewhere").iterdir())


def test_what_can_not_be_written_is_named_as_the_user_named_it(tmp_path):
    (tmp_path / "file").touch()
    folder, output = tmp_path / "file" / "out.unfinished", tmp_path / "file" / "out"
    expected = r"file/out: can't be written: Not a directory"
    with pytest.raises(StorageError, match=expected), measuring(folder, output):
        raise AssertionError("measured")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_a_damaged_part_is_measured_again(tmp_path, damage):
    kept(tmp_path).part(0, lambda: (X,))
    (file,) = (tmp_path / "parts").glob("*.part")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes({"flip": data, "cut": data[:-9], "empty": b"", "other": b"PK" * 90}[damage])
    again = kept(tmp_path)
    assert (again.part(0, lambda: (X + 5,))[0] == X + 5).all() and not again.was_known
    assert (kept(tmp_path).part(0, lambda: pytest.fail("measured a third time"))[0] == X + 5).all()


def test_a_folder_is_one_measurements_and_goes_with_it(tmp_path):
    folder = tmp_path / "parts"
    with measuring(folder):
        UnfinishedRows(folder).keep(["a" * 32], X[:1])
        with pytest.raises(ValueError, match=r"parts: process \d+ on .* is writing it"):
            measuring(folder).__enter__()
    assert not list(tmp_path.iterdir())


def test_a_measurement_that_fails_leaves_its_parts_if_there_are_any(tmp_path):
    for rows in (0, 1):
        with pytest.raises(KeyboardInterrupt), measuring(tmp_path / "parts"):
            UnfinishedRows(tmp_path / "parts").keep(["a" * 32] * rows, X[:rows])
            raise KeyboardInterrupt
        assert (tmp_path / "parts").exists() == bool(rows)


def test_parts_are_written_durably(tmp_path, monkeypatch):
    journal = Journal(monkeypatch)
    write_part(tmp_path / "a.part", [np.arange(1000)])
    journal.require_durable(tmp_path / "a.part")

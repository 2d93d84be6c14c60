"""Rows under keys are read as they were written, or not at all."""

import json
import random

import numpy as np
import pytest

from dml._storage.keyed_rows import KeyedRows
from dml._storage.records import write_sealed
from dml.errors import DataError, DmlError
from tests.damage import damaged

KEYS = np.array([f"{row:032}" for row in range(5)], "S")
VALUES = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float16")


def written(folder, keys=KEYS, values=VALUES):
    store = KeyedRows(folder, "float16", (2, 3))
    store.write(keys, np.split(values, [2]))
    return store


def test_are_read_as_written(tmp_path):
    rows = written(tmp_path).read()
    np.testing.assert_array_equal(rows["key"], KEYS)
    np.testing.assert_array_equal(rows["values"], VALUES)
    assert rows["values"].dtype == np.float16
    with pytest.raises(ValueError, match="read-only"):
        rows["values"][0] = 0


@pytest.mark.parametrize("dtype, shape", [("float32", (2, 3)), ("float16", (3, 2))])
def test_other_numbers_are_not_there(tmp_path, dtype, shape):
    assert KeyedRows(tmp_path, dtype, shape).read() is None
    written(tmp_path)
    assert KeyedRows(tmp_path, dtype, shape).read() is None


def test_new_rows_take_the_place_of_old_ones(tmp_path):
    store = written(tmp_path)
    old = store.read()
    (tmp_path / ".writing-abcdefghrows-0123456789abcdef.bin").touch()  # left by a killed process
    written(tmp_path, KEYS[::-1], VALUES[::-1])
    np.testing.assert_array_equal(store.read()["values"], VALUES[::-1])
    np.testing.assert_array_equal(old["values"], VALUES)  # who reads them keeps them
    assert len(list(tmp_path.iterdir())) == 2


def test_rows_that_fail_leave_the_old_ones(tmp_path):
    store = written(tmp_path)

    def failing():
        yield VALUES[:2] + 1
        raise OSError("stop")

    with pytest.raises(OSError, match="stop"):
        store.write(KEYS[::-1], failing())
    np.testing.assert_array_equal(store.read()["values"], VALUES)
    assert len(list(tmp_path.iterdir())) == 2


def test_damage_is_found(tmp_path):
    store = written(tmp_path)
    rng = random.Random(0)
    for file in sorted(tmp_path.iterdir()):
        intact = file.read_bytes()
        for _ in range(50):
            file.write_bytes(other := damaged(rng, intact))
            if other != intact:
                with pytest.raises(DmlError, match="computed again"):
                    store.read()
        file.write_bytes(intact)
    assert store.read() is not None


@pytest.mark.parametrize("name", ["../rows-0123456789abcdef.bin", "other.bin"])
def test_no_other_file_is_read(tmp_path, name):
    store = written(tmp_path / "rows")
    next(store.folder.glob("rows-*.bin")).rename(store.folder / name)
    held = json.loads(store.manifest.read_text())
    del held["sha256"]
    write_sealed(store.manifest, {**held, "file": name})
    with pytest.raises(DataError, match="damaged: it names"):
        store.read()


def test_a_missing_file_is_as_if_there_were_none(tmp_path):
    store = written(tmp_path)
    next(tmp_path.glob("rows-*.bin")).unlink()
    assert store.read() is None

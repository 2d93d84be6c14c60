"""Parts of a measurement that are kept."""

import numpy as np
import pytest

from dml.unfinished import Unfinished

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
    again.forget()
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize(
    "change", [{"arrays": (X + 1,)}, {"arrays": (X.reshape(3, 2),)}, {"options": (2,)}]
)
def test_parts_of_another_measurement_are_thrown_away(tmp_path, change):
    kept(tmp_path).part(0, lambda: (X,))
    other = kept(tmp_path, **change)
    assert (other.part(0, lambda: (X + 5,))[0] == X + 5).all()


def test_parts_come_in_any_order(tmp_path):
    parts = kept(tmp_path)
    assert parts.kept(3) is None
    parts.keep(3, (X,))
    np.testing.assert_array_equal(kept(tmp_path).kept(3)[0], X)

"""The files of an evaluation hold what they have to."""

import numpy as np
import pytest

from dml.errors import DataError
from dml.runs._evaluation_files import read_vectors


def test_vectors_of_another_shape_are_refused(tmp_path):
    np.save(tmp_path / "v.npy", np.ones((3, 4), "float32"))
    assert read_vectors(tmp_path / "v.npy", 3).shape == (3, 4)
    with pytest.raises(DataError, match=r"4 float32 vectors belong here; it holds float32 \(3, 4"):
        read_vectors(tmp_path / "v.npy", 4)
    np.save(tmp_path / "v.npy", np.ones((3, 4)))
    with pytest.raises(DataError, match="it holds float64"):
        read_vectors(tmp_path / "v.npy")

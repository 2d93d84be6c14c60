"""Files of images and their vectors."""

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from dml.encoding._vectors_file import read_vectors, write_vectors
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError
from tests.bundles import write_bundle


@pytest.fixture
def encoder(tmp_path):
    return OnnxEncoder(write_bundle(tmp_path / "bundle"))


@pytest.fixture
def written(tmp_path, encoder):
    table = pd.DataFrame({"id": ["a", "b"], "path": ["/a", "/b"], "price": [1.5, None]})
    vectors = np.eye(2, encoder.dimension, dtype="float32")
    write_vectors(tmp_path / "out.parquet", table, vectors, encoder)
    return tmp_path / "out.parquet", table, vectors


def test_what_is_read_was_written(written, encoder):
    path, table, vectors = written
    read_table, read = read_vectors(path, encoder)
    pd.testing.assert_frame_equal(read_table, table, check_dtype=False)
    np.testing.assert_array_equal(read, vectors)


def test_vectors_of_another_encoder_are_refused(written, tmp_path):
    other = OnnxEncoder(write_bundle(tmp_path / "other", seed=1))
    with pytest.raises(DataError, match=r"out\.parquet: its vectors were not computed by"):
        read_vectors(written[0], other)


def test_another_table_is_none_of_vectors(tmp_path, encoder):
    pd.DataFrame({"path": ["a"]}).to_parquet(tmp_path / "plain.parquet")
    assert read_vectors(tmp_path / "plain.parquet", encoder) is None
    assert read_vectors(tmp_path / "missing.parquet", encoder) is None


def test_vectors_that_are_not_of_length_1_are_refused(written, tmp_path, encoder):
    path, table, vectors = written
    write_vectors(path, table, vectors * np.float32([[1], [2]]), encoder)
    with pytest.raises(DataError, match="vector 1 is not of length 1"):
        read_vectors(path, encoder)


def test_a_damaged_file_is_refused(written, encoder):
    path, _, _ = written
    data = bytearray(path.read_bytes())
    place = parquet.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset + 30
    data[place] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"out\.parquet: can't be read as vectors of `dml embed`"):
        read_vectors(path, encoder)

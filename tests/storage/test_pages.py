"""Single pages of Parquet files hold what PyArrow wrote, in every way in which it writes bytes."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml._storage import cells
from dml._storage.cells import read_cell
from dml._storage.pages import (
    OtherEncoding,
    numbers,
    read_chunk,
    read_page_header,
    read_struct,
    read_values,
    read_varint,
)
from dml.errors import DataError

STRUCT = pa.struct({"path": pa.string(), "bytes": pa.binary()})
RNG = np.random.default_rng(0)
# Of many lengths, some equal, some empty, some missing.
VALUES = [RNG.bytes(int(n)) for n in RNG.integers(0, 900, 150)] * 2
VALUES = [None if n % 7 == 3 else value for n, value in enumerate(VALUES)]


def written(path, kind=None, values=VALUES, **options):
    """Writes values in row groups of 120 and pages of 2,000 bytes; returns the path."""
    if kind == STRUCT:  # some structs are missing, of others the bytes
        missing = [None, {"path": "a.png", "bytes": None}]
        values = [{"bytes": v} if v is not None else missing[n % 2] for n, v in enumerate(values)]
    table = pa.table({"n": range(len(values)), "image": pa.array(values, kind or pa.binary())})
    options = {"row_group_size": 120, "data_page_size": 2000, "write_batch_size": 20, **options}
    pq.write_table(table, path, write_page_checksum=True, **options)
    return str(path)


def read(path):
    """Returns the values of a file, page by page, and the number of pages."""
    about, found, pages = pq.read_metadata(path), [], 0
    leaves = [about.schema.column(n).path for n in range(about.num_columns)]
    leaf = next(n for n, name in enumerate(leaves) if name in ("image", "image.bytes"))
    with open(path, "rb") as file:
        for group in range(about.num_row_groups):
            chunk = read_chunk(file, about, group, leaf)
            first = chunk.dictionary and read_values(file, chunk, chunk.dictionary)
            before = len(found)
            for page, start in zip(chunk.pages, chunk.starts, strict=False):
                assert len(found) == before + start
                values = read_values(file, chunk, page, first)
                parts = [values[row] for row in range(page.values)]
                found += [None if part is None else bytes(part) for part in parts]
            pages += len(chunk.pages)
    return found, pages


OPTIONS = [
    {"compression": packing, "data_page_version": version, "use_dictionary": dictionary}
    for packing, version, dictionary in itertools.product(
        ("none", "snappy", "gzip", "zstd", "brotli"), ("1.0", "2.0"), (True, False)
    )
]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), STRUCT], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_every_value_is_what_was_written(tmp_path, kind, options):
    found, pages = read(written(tmp_path / "a.parquet", kind, **options))
    assert found == VALUES and pages > 2


def test_a_dictionary_that_became_too_large(tmp_path):
    path = written(tmp_path / "a.parquet", dictionary_pagesize_limit=20_000)
    with open(path, "rb") as file:
        chunk = read_chunk(file, pq.read_metadata(path), 0, 1)
    assert chunk.dictionary and len({page.encoding for page in chunk.pages}) == 2
    assert read(path)[0] == VALUES


def test_values_that_are_all_there_or_all_missing(tmp_path):
    for values in ([b"a", b"bc", b""], [None] * 5):
        assert read(written(tmp_path / "a.parquet", values=values))[0] == values
    schema = pa.schema([pa.field("image", pa.binary(), nullable=False)])
    pq.write_table(pa.table({"image": [b"a", b"bc"]}, schema=schema), tmp_path / "b.parquet")
    assert read(str(tmp_path / "b.parquet"))[0] == [b"a", b"bc"]


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": False, "column_encoding": {"image": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"use_dictionary": False, "column_encoding": {"image": "DELTA_BYTE_ARRAY"}},
        {"compression": "lz4"},
    ],
)
def test_other_encodings_are_left_to_pyarrow(tmp_path, options):
    path = written(tmp_path / "a.parquet", **options)
    with pytest.raises(OtherEncoding):
        read(path)
    for row in (299, 0, 121):
        assert read_cell(path, "image", row) == VALUES[row]


def test_a_page_is_read_without_the_others_of_its_row_group(tmp_path, monkeypatch):
    path = written(tmp_path / "a.parquet", row_group_size=300, use_dictionary=False)
    monkeypatch.setattr(cells, "KEPT", kept := cells.Kept(10**9))
    assert read_cell(path, "image", 200) == VALUES[200]
    sizes = [future.result().nbytes for key, future in kept.found.items() if key[-1] != "pages"]
    assert len(sizes) == 1 and sizes[0] < 15_000  # of 120,000 bytes


def test_a_damaged_page_is_named(tmp_path):
    path = written(tmp_path / "a.parquet", compression="none", use_dictionary=False)
    with open(path, "rb") as file:
        chunk = read_chunk(file, pq.read_metadata(path), 0, 1)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[chunk.pages[0].start + 50] ^= 1
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet: damaged: .* its checksum is wrong"):
        read_cell(path, "image", 0)
    assert read_cell(path, "image", 119) == VALUES[119]  # on another page


def test_runs_and_packed_numbers():
    # The example of the format's specification: 0 to 7 in three bits each.
    assert numbers(bytes([3, 0b10001000, 0b11000110, 0b11111010]), 3, 8).tolist() == [*range(8)]
    assert numbers(bytes([8, 5]), 3, 4).tolist() == [5] * 4  # four times 5
    assert numbers(b"", 0, 3).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="a run of no numbers"):
        numbers(bytes([0, 5]), 3, 4)
    with pytest.raises(IndexError):
        numbers(bytes([8, 5]), 3, 5)


def test_numbers_of_a_header():
    assert read_varint(bytes([0xE5, 0x8E, 0x26]), 0) == (624485, 3)  # the usual example of LEB128
    with pytest.raises(ValueError, match="too long"):
        read_varint(b"\xff" * 99, 0)
    # Field 1: -1; field 3: a struct of field 2: true; the end.
    assert read_struct(bytes([0x15, 1, 0x2C, 0x21, 0, 0]), 0) == ({1: -1, 3: {2: True}}, 6)
    with pytest.raises(ValueError, match="damaged"):
        read_struct(b"\x1c" * 1000, 0)  # structs within structs
    with pytest.raises(IndexError):
        read_struct(bytes([0x15]), 0)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (bytes([0x15, 0, 0x15, 2, 0x15, 2, 0x25, 4, 0]), "header of a page is damaged"),
        (bytes([0x15, 0, 0x15, 1, 0x15, 2, 0x2C, 0x15, 2, 0, 0]), "too large"),  # of -1 bytes
        (bytes([0x15, 0, 0x15, 2, 0x15, *b"\xff" * 5, 15, 0x2C, 0x15, 2, 0, 0]), "too large"),
        (bytes([0x15, 0, 0]), "damaged"),
    ],
)
def test_headers_that_can_not_be(tmp_path, header, message):
    (tmp_path / "page").write_bytes(header)
    with open(tmp_path / "page", "rb") as file, pytest.raises(ValueError, match=message):
        read_page_header(file, 0)

"""Images in Parquet and Arrow files are read in any order, by threads, and in bounded memory."""

import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml._storage import cells
from dml._storage.cells import Kept, is_image, read_cell
from dml.images import ImageError, read_image
from tests.datasets.layouts import png, write_parquet

IMAGES = [png(i) for i in range(11)]


def write_arrow(path, table, file=False, **options):
    make = pa.ipc.new_file if file else pa.ipc.new_stream
    with make(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=3)
    return path


@pytest.mark.parametrize("packing", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_cells_of_a_parquet_file(tmp_path, packing, kind):
    table = pa.table({"a": pa.array(IMAGES, kind), "n": range(11)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4, compression=packing)
    for row in np.random.default_rng(0).permutation(11):
        assert read_cell(f"{tmp_path}/a.parquet", "a", int(row)) == IMAGES[row]


@pytest.mark.parametrize("file", [False, True])
def test_cells_of_an_arrow_file(tmp_path, file):
    kind = pa.struct({"path": pa.string(), "bytes": pa.binary()})
    values = [{"path": "x", "bytes": data} for data in IMAGES]
    write_arrow(tmp_path / "a.arrow", pa.table({"image": pa.array(values, kind)}), file)
    for row in (10, 0, 5, 2):
        assert read_cell(f"{tmp_path}/a.arrow", "image", row) == IMAGES[row]
    assert read_image(f"{tmp_path}/a.arrow!image!5").shape == (20, 24, 3)


def test_many_threads_unpack_each_page_once(tmp_path, monkeypatch):
    path = str(write_parquet(tmp_path / "a.parquet", IMAGES, group=3))
    read_values, calls, wrong = cells.read_values, [], []
    monkeypatch.setattr(cells, "read_values", lambda *a: calls.append(a[2]) or read_values(*a))

    def read():
        for row in [*range(11), *reversed(range(11))]:
            if read_cell(path, "image", row) != IMAGES[row]:
                wrong.append(row)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(calls) == len(set(calls)) == 8  # four groups with a dictionary each


def test_a_changed_file_is_read_again(tmp_path):
    for images in (IMAGES, IMAGES[::-1] + IMAGES):
        path = str(write_parquet(tmp_path / "a.parquet", images))
        assert read_cell(path, "image", 0) == images[0]


class Bytes:
    def __init__(self, count):
        self.nbytes = count


def test_what_was_used_longest_ago_is_dropped():
    kept, made = Kept(100), []
    for key in "abacb":
        kept.get(key, lambda key=key: made.append(key) or Bytes(50))
    assert made == ["a", "b", "c", "b"]  # `a` was used after `b` when `c` came
    assert kept.get("large", lambda: Bytes(1000)).nbytes == 1000
    assert list(kept.found) == ["large"]


def test_a_failure_is_not_kept():
    kept = Kept(100)
    with pytest.raises(ValueError, match="no"):
        kept.get("a", lambda: (_ for _ in ()).throw(ValueError("no")))
    assert kept.get("a", lambda: Bytes(1)).nbytes == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("image!11", "has no row 11"),
        ("image!999999999999999", "has no row 9"),
        ("label!0", "has no column of images named 'label'"),
        ("other!0", "has no column of images named 'other'"),
    ],
)
def test_a_cell_that_is_not_there_is_named(tmp_path, place, message):
    table = pa.table({"image": IMAGES, "label": range(11)})
    pq.write_table(table, tmp_path / "a.parquet")
    write_arrow(tmp_path / "a.arrow", table)
    for suffix in ("parquet", "arrow"):
        with pytest.raises(ImageError, match=message) as error:
            read_image(f"{tmp_path}/a.{suffix}!{place}")
        assert error.value.path == f"{tmp_path}/a.{suffix}!{place}"


def test_an_empty_cell_is_no_image(tmp_path):
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    values = pa.array([{"bytes": None, "path": "a.png"}, None, {"bytes": b""}], kind)
    pq.write_table(pa.table({"image": values}), tmp_path / "a.parquet")
    write_arrow(tmp_path / "a.arrow", pa.table({"image": values}))
    for suffix in ("parquet", "arrow"):
        for row in (0, 1):
            with pytest.raises(ImageError, match=f"there is no image in row {row}"):
                read_image(f"{tmp_path}/a.{suffix}!image!{row}")
        with pytest.raises(ImageError, match="empty file"):
            read_image(f"{tmp_path}/a.{suffix}!image!2")


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "MOST_UNPACKED", 10**7)
    monkeypatch.setattr("dml._storage.pages.MOST_UNPACKED", 10**7)
    options = {"compression": "zstd", "use_dictionary": False}
    for encoding in ("PLAIN", "DELTA_LENGTH_BYTE_ARRAY"):
        path = tmp_path / "a.parquet"
        table = pa.table({"image": [bytes(10**6)] * 100})
        pq.write_table(table, path, column_encoding={"image": encoding}, **options)
        assert path.stat().st_size < 10**6
        with pytest.raises(ImageError, match=r"a page is too large|a row group has more than"):
            read_image(f"{path}!image!0")


def test_a_value_that_is_repeated_often_is_kept_once(tmp_path):
    column = pa.DictionaryArray.from_arrays(np.zeros(10**6, "int32"), [b"x" * 10**5])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": column}), path, store_schema=False)
    assert path.stat().st_size < 10**6
    assert read_cell(str(path), "image", 10**6 - 1) == b"x" * 10**5  # of 93 GiB


def test_a_compressed_arrow_file_is_refused(tmp_path):
    table = pa.table({"image": [bytes(10**6)] * 10})
    write_arrow(tmp_path / "a.arrow", table, compression="zstd")
    with pytest.raises(ImageError, match=r"compressed: .* write it uncompressed"):
        read_image(f"{tmp_path}/a.arrow!image!0")


def test_values_outside_of_the_file_are_refused(tmp_path):
    path = write_arrow(tmp_path / "a.arrow", pa.table({"image": [b"abcd" * 8] * 3}))
    offsets = np.array([0, 32, 64, 96], "int32").tobytes()
    assert offsets in path.read_bytes()
    path.write_bytes(
        path.read_bytes().replace(offsets, np.array([0, 32, 2**30, 2**31 - 1], "int32").tobytes())
    )
    with pytest.raises(ImageError, match=r"a\.arrow!image!1: can't be read: damaged"):
        read_image(f"{path}!image!1")


def test_which_columns_may_be_images():
    struct = pa.struct({"path": pa.string(), "bytes": pa.binary()})
    assert is_image(struct) and is_image(pa.binary()) and is_image(pa.large_binary())
    assert not is_image(pa.string()) and not is_image(pa.struct({"path": pa.string()}))

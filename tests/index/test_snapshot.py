"""A snapshot never changes, and reading the next one hashes only new bytes."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from dml._storage.index_folder import IndexFolder
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index import build_index, open_index
from dml.index._snapshot import Snapshot, read_snapshot
from tests.bundles import DIMENSION, write_bundle
from tests.index.clusters import clusters
from tests.index.shops import items

COUNT = 300


@pytest.fixture(params=["flat", "hnsw"])
def index(request, tmp_path):
    encoder = OnnxEncoder(write_bundle(tmp_path / "bundle"))
    vectors = clusters(COUNT, DIMENSION)
    return build_index(tmp_path / "shop", encoder, items(COUNT), vectors, request.param)


def answers(snapshot):
    """Returns what a snapshot answers to some queries."""
    similarities, rows = snapshot.nearest(clusters(20, DIMENSION, seed=3), 10)
    return similarities.tolist(), snapshot.items["id"].to_numpy()[rows].tolist()


@pytest.mark.parametrize("where", [None, "price >= 5"])
def test_of_copies_the_earlier_rows_come_first_whatever_k(tmp_path, where):
    vectors = clusters(COUNT, DIMENSION)
    copies = [7, 40, 41, 90, 120, 200, 250]
    vectors[copies] = vectors[7]
    encoder = OnnxEncoder(write_bundle(tmp_path / "bundle"))
    index = build_index(tmp_path / "shop", encoder, items(COUNT), vectors, "flat")
    whole = index.snapshot.nearest(vectors[7:8], 12, where)[1][0].tolist()
    assert whole[:7] == copies
    for k in range(1, 12):
        assert index.snapshot.nearest(vectors[7:8], k, where)[1][0].tolist() == whole[:k]


def test_a_snapshot_answers_the_same_after_any_change(index):
    before = index.snapshot
    expected = answers(before)
    index.add(items(20, first=COUNT), clusters(20, DIMENSION, seed=3))
    assert answers(before) == expected and len(before.items) == COUNT
    similarities, _ = index.snapshot.nearest(clusters(20, DIMENSION, seed=3), 1)
    np.testing.assert_allclose(similarities, 1, atol=1e-5)  # what was added
    index.remove([f"i{n}" for n in range(COUNT)])  # rebuilds the index
    assert len(index.snapshot.items) == 20 and answers(before) == expected


class Counted:
    """Stands for `hashlib.sha256`, and counts the bytes that it is given."""

    def __init__(self, monkeypatch):
        self.bytes = 0
        self.make = hashlib.sha256
        monkeypatch.setattr("dml._storage.index_folder.hashlib", SimpleNamespace(sha256=self))

    def __call__(self, data=b""):
        return CountedHasher(self, self.make(), data)


class CountedHasher:
    def __init__(self, counted, hasher, data=b""):
        self.counted, self.hasher = counted, hasher
        self.hexdigest = hasher.hexdigest
        self.update(data)

    def update(self, data):
        self.counted.bytes += memoryview(data).nbytes
        self.hasher.update(data)

    def copy(self):
        return CountedHasher(self.counted, self.hasher.copy())


def test_vectors_are_hashed_once(tmp_path, monkeypatch):
    encoder = OnnxEncoder(write_bundle(tmp_path / "bundle"))
    counted = Counted(monkeypatch)
    table = items(COUNT)[["id", "path", "label"]]
    folder = IndexFolder(tmp_path / "shop")
    build_index(folder.path, encoder, table, clusters(COUNT, DIMENSION), "flat")
    row = 4 * DIMENSION  # bytes
    assert counted.bytes == COUNT * row + 2 * items_bytes(folder)  # written and read
    other = read_snapshot(folder)
    counted.bytes = 0
    open_index(folder.path).add(table.head(1).assign(id="x"), clusters(1, DIMENSION))
    opening = COUNT * row + items_bytes(other)
    assert counted.bytes == opening + row + 2 * items_bytes(folder)
    counted.bytes = 0
    assert len(read_snapshot(folder, other.files).items) == COUNT + 1
    assert counted.bytes == row + items_bytes(folder)


def items_bytes(index):
    """Returns the bytes of the file of items, of a snapshot or of a folder as it is now."""
    manifest = index.read_manifest() if isinstance(index, IndexFolder) else index.manifest
    return manifest.files["items"].bytes


def test_a_search_during_a_change_answers_as_before_it(index, monkeypatch):
    queries = clusters(20, DIMENSION, seed=3)
    expected = index.search(queries, 5)
    write, seen = IndexFolder.write_manifest, []

    def write_and_search(folder, manifest):
        seen.append(index.search(queries, 5))
        write(folder, manifest)
        seen.append(index.search(queries, 5))

    monkeypatch.setattr(IndexFolder, "write_manifest", write_and_search)
    index.add(items(20, first=COUNT), queries)
    assert seen == [expected, expected]
    assert [near[0].item["id"] for near in index.search(queries, 1)] == [
        f"i{COUNT + n}" for n in range(20)
    ]


@pytest.mark.parametrize("count", [1, 4, 5, 30])
@pytest.mark.parametrize("where", [None, "price >= 50"])
def test_what_is_left_is_compared_exactly_for_few_and_many_queries(tmp_path, count, where):
    vectors, queries = clusters(COUNT, DIMENSION), clusters(count, DIMENSION, seed=3)
    encoder = OnnxEncoder(write_bundle(tmp_path / "bundle"))
    index = build_index(tmp_path / "shop", encoder, items(COUNT), vectors, "flat")
    gone = [3, 60, 61, 299]
    index.remove([f"i{n}" for n in gone])
    left = np.setdiff1d(np.arange(50 if where else 0, COUNT), gone)
    exact = left[np.argsort(-queries @ vectors[left].T, axis=1)[:, :10]]
    similarities, rows = index.snapshot.nearest(queries, 10, where)
    np.testing.assert_array_equal(rows, exact)
    expected = np.take_along_axis(queries @ vectors.T, exact, 1)
    np.testing.assert_allclose(similarities, expected, atol=1e-6)


def test_binary_codes_are_searched_after_a_removal(tmp_path, monkeypatch):
    monkeypatch.setattr("dml.index._snapshot.LARGEST_EXACT", 10)
    vectors, queries = clusters(COUNT, DIMENSION), clusters(30, DIMENSION, seed=3)
    encoder = OnnxEncoder(write_bundle(tmp_path / "bundle"))
    index = build_index(tmp_path / "shop", encoder, items(COUNT), vectors, "binary")
    gone = {f"i{n}" for n in range(0, COUNT, 10)}
    index.remove(gone)
    left = np.array([n for n in range(COUNT) if n % 10])
    exact = left[np.argsort(-queries @ clusters(COUNT, DIMENSION)[left].T, axis=1)[:, :5]]
    compared = []
    whole = Snapshot._exact
    monkeypatch.setattr(
        Snapshot, "_exact", lambda *arguments: compared.append(1) or whole(*arguments)
    )
    found = [[near.item["id"] for near in one] for one in index.search(queries, 5)]
    assert not compared and all(len(near) == 5 and not gone & {*near} for near in found)
    shared = [len({f"i{n}" for n in a} & {*b}) for a, b in zip(exact, found, strict=True)]
    assert np.mean(shared) / 5 > 0.85
    nearest = index.search(queries[:1], 40)[
        0
    ]  # where most of the nearest are gone, all are compared
    index.remove([near.item["id"] for near in nearest[:35]])
    near = [one.item["id"] for one in index.search(queries[:1], 2)[0]]
    assert near == [one.item["id"] for one in nearest[35:37]] and compared

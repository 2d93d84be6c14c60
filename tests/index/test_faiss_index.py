"""An index finds, changes, and is never half of anything."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dml.index import FaissIndex
from dml.index.kinds import KINDS
from dml.onnx_encoder import OnnxEncoder
from tests.bundles import DIMENSION, write_bundle
from tests.index.clusters import clusters

COUNT = 1500


def items(count, first=0):
    numbers = range(first, first + count)
    return pd.DataFrame(
        {
            "id": [f"i{n}" for n in numbers],
            "path": [f"/nowhere/{n}.png" for n in numbers],
            "label": [f"c{n % 7}" for n in numbers],
            "price": list(numbers),
        }
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return OnnxEncoder(write_bundle(tmp_path_factory.mktemp("bundle") / "bundle"))


@pytest.fixture(scope="module", params=KINDS)
def built(request, encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / request.param
    FaissIndex.build(path, encoder, items(COUNT), clusters(COUNT, DIMENSION), request.param, 0.9)
    return path


@pytest.fixture
def path(built, tmp_path):
    shutil.copytree(built, tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def flat(encoder, tmp_path):
    return FaissIndex.build(tmp_path / "flat", encoder, items(50), clusters(50, DIMENSION))


def test_finds_itself_first_and_similarities_are_exact(path):
    index = FaissIndex(path)
    queries = clusters(COUNT, DIMENSION)[:100]
    similarities, rows = index.search(queries, 10)
    assert rows.shape == (100, 10) and (np.diff(similarities, axis=1) <= 0).all()
    assert (rows[:, 0] == np.arange(100)).mean() > 0.95
    expected = np.einsum("qd,qkd->qk", queries, index.vectors[rows])
    np.testing.assert_allclose(similarities, expected, atol=1e-5)


def test_a_filter_holds_for_every_result(path):
    index = FaissIndex(path)
    queries = clusters(5, DIMENSION, seed=3)
    _, rows = index.search(queries, 20, 'label in ["c1", "c2"] and price < 900')
    assert rows.shape == (5, 20)
    found = index.items.iloc[rows.ravel()]
    assert set(found["label"]) == {"c1", "c2"} and found["price"].max() < 900
    _, few = index.search(queries, 20, "price < 3")
    assert np.sort(few, axis=1).tolist() == [[0, 1, 2]] * 5
    assert index.search(queries, 5, "price < 0")[1].shape == (5, 0)


def test_wide_filters_go_through_the_codes(path, monkeypatch):
    monkeypatch.setattr("dml.index.faiss_index.EXACT", 10)
    index = FaissIndex(path)
    _, rows = index.search(clusters(20, DIMENSION, seed=3), 10, "price < 1200")
    assert rows.shape == (20, 10) and rows.max() < 1200 and rows.min() >= 0


def test_added_items_are_found_and_replaced_ones_are_not(path):
    index = FaissIndex(path)
    fresh = clusters(20, DIMENSION, seed=5)
    assert index.add(items(20, first=COUNT - 10), fresh) == (10, 10)
    for opened in (index, FaissIndex(path)):
        assert len(opened) == COUNT + 10
        similarities, rows = opened.search(fresh, 3)
        assert opened.items["id"][rows[0, 0]] == f"i{COUNT - 10}"
        assert (similarities[:, 0] > 0.999).mean() > 0.9
        opened.verify()


def test_removed_items_are_found_no_more(path):
    index = FaissIndex(path)
    index.remove([f"i{n}" for n in range(0, 100)])
    _, rows = FaissIndex(path).search(clusters(COUNT, DIMENSION)[:100], 10)
    assert rows.min() >= 100 and len(FaissIndex(path)) == COUNT - 100
    index.remove([f"i{n}" for n in range(100, 500)])  # more than a quarter: built anew
    index = FaissIndex(path)
    assert len(index) == len(index.items) == COUNT - 500
    _, rows = index.search(clusters(COUNT, DIMENSION)[600:650], 1)
    assert (index.items["id"][rows[:, 0]] == [f"i{n}" for n in range(600, 650)]).mean() > 0.9


def test_everything_can_be_removed_and_come_back(flat):
    flat.remove(flat.items["id"].tolist())
    assert len(flat) == 0 and flat.search(clusters(2, DIMENSION), 3)[1].shape == (2, 0)
    flat.add(items(5), clusters(5, DIMENSION))
    assert len(flat) == 5 and flat.search(clusters(2, DIMENSION), 3)[1].shape == (2, 3)


def test_wrong_use_is_named(flat, encoder, tmp_path):
    with pytest.raises(KeyError, match="has no item 'i499'; did you mean 'i49'"):
        flat.remove(["i499"])
    with pytest.raises(ValueError, match="k must be at least 1"):
        flat.search(clusters(1, DIMENSION), 0)
    with pytest.raises(ValueError, match=r"queries must be \(Q, 6\)"):
        flat.search(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="finite"):
        flat.search(np.full((1, DIMENSION), np.nan))
    with pytest.raises(FileExistsError, match="is there already"):
        FaissIndex.build(flat.folder.path, encoder, items(5), clusters(5, DIMENSION))
    with pytest.raises(ValueError, match="kind must be one of auto, flat"):
        FaissIndex.build(tmp_path / "x", encoder, items(5), clusters(5, DIMENSION), "annoy")
    with pytest.raises(FileNotFoundError, match="is no index"):
        FaissIndex(tmp_path)
    other = OnnxEncoder(write_bundle(tmp_path / "other", seed=1))
    with pytest.raises(ValueError, match="built with another encoder"):
        flat.check_encoder(other)


def test_two_writers_at_once_are_refused(flat):
    with (
        flat.changing(),
        pytest.raises(ValueError, match="another process is changing"),
        FaissIndex(flat.folder.path).changing(),
    ):
        pass


def test_a_writer_takes_up_what_another_has_written(flat):
    late = FaissIndex(flat.folder.path)
    flat.remove(["i3"])
    late.remove(["i4"])
    assert len(FaissIndex(flat.folder.path)) == 48


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 9))
def test_a_flipped_bit_is_always_found(path, place, bit, which):
    index = FaissIndex(path)
    names = [entry["name"] for entry in index.files.values()] + ["manifest.json"]
    file = path / names[which % len(names)]
    data = bytearray(file.read_bytes())
    spot = int(place * len(data))
    data[spot] ^= 1 << bit
    whole = file.read_bytes()
    file.write_bytes(data)
    try:
        with pytest.raises(ValueError, match=r"damaged|not valid JSON|not of this version"):
            FaissIndex(path)
    finally:
        file.write_bytes(whole)
    assert len(FaissIndex(path)) == len(index)


def test_a_file_cut_short_or_missing_is_named(flat):
    file = flat.folder.path / flat.files["vectors"]["name"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="cut short by 10 bytes"):
        FaissIndex(flat.folder.path)
    file.unlink()
    with pytest.raises(ValueError, match="is missing: the index is damaged"):
        FaissIndex(flat.folder.path)


def test_a_full_disk_leaves_the_old_index(flat, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        flat.add(items(5, first=100), clusters(5, DIMENSION))
    monkeypatch.undo()
    index = FaissIndex(flat.folder.path)
    index.verify()
    assert len(index) == 50
    index.add(items(5, first=100), clusters(5, DIMENSION))
    assert len(FaissIndex(flat.folder.path)) == 55


KILLED = """
import sys
sys.path[:0] = sys.argv[3:]
from tests.index.test_faiss_index import *
index = FaissIndex(sys.argv[1])
print("ready", flush=True)
while True:
    first = 10_000 + 1000 * index.manifest["number"]
    index.add(items(40, first=first), clusters(40, DIMENSION, seed=first))
    index.remove([f"i{first}"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_killed_at_any_moment_the_index_is_the_old_or_the_new(kind, encoder, tmp_path):
    path = tmp_path / "index"
    FaissIndex.build(path, encoder, items(200), clusters(200, DIMENSION), kind)
    rng = np.random.default_rng(0)
    before = 200
    for _ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), "", *sys.path], stdout=subprocess.PIPE
        )
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.15))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        index = FaissIndex(path)
        index.verify()
        numbers = np.array([int(name[1:]) for name in index.row_of])
        assert len(index) >= before and (numbers < 200).sum() == 200
        _, sizes = np.unique(numbers[numbers >= 200] // 1000, return_counts=True)
        assert set(sizes) <= {39, 40}  # what was added came whole, removed or not yet
        before = len(index)
    assert before > 200

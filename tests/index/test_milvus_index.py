"""Tests specific to Milvus: addresses, fields, errors; test_interface has the rest."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("milvus_lite", reason="needs dml[milvus]")

from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index._milvus_client import connect
from dml.index._milvus_index import MilvusIndex, building_prefix
from tests.bundles import DIMENSION, write_bundle
from tests.index.clusters import clusters
from tests.index.shops import items


@pytest.fixture
def encoder(tmp_path):
    return OnnxEncoder(write_bundle(tmp_path / "bundle"))


def test_a_collection_of_somebody_else_is_left_alone(tmp_path):
    client = connect(str(tmp_path / "shop.db"))
    client.create_collection("dml", dimension=4)
    with pytest.raises(ValueError, match="this collection is not written by dml"):
        MilvusIndex.open(tmp_path / "shop.db")


def test_the_encoder_is_kept_elsewhere(encoder, tmp_path):
    location = tmp_path / "shop.db"
    index = MilvusIndex.build(location, encoder, items(20), clusters(20, DIMENSION))
    with pytest.raises(ValueError, match=r"bundle is needed to search .*: Milvus keeps no encoder"):
        index.encoder()
    assert index.encoder(tmp_path / "bundle").sha256 == encoder.sha256


@pytest.mark.parametrize("name", ["two words", "grün", "1st"])
def test_fields_that_milvus_can_not_have(name, encoder, tmp_path):
    table = items(5).assign(**{name: 1})
    with pytest.raises(ValueError, match=f"column '{name}': Milvus has no field of this name"):
        MilvusIndex.build(tmp_path / "shop.db", encoder, table, clusters(5, DIMENSION))
    MilvusIndex.build(tmp_path / "shop.db", encoder, items(5), clusters(5, DIMENSION))


def test_what_does_not_fit_is_refused(encoder, tmp_path):
    index = MilvusIndex.build(tmp_path / "shop.db", encoder, items(5), clusters(5, DIMENSION))
    vectors = clusters(2, DIMENSION, seed=1)
    with pytest.raises(ValueError, match="no field 'colour'; it has id, path"):
        index.add(items(2).assign(colour="red"), vectors)
    with pytest.raises(
        ValueError,
        match=r"column 'price' of .*shop\.db holds whole numbers; got numbers, such as 1\.5",
    ):
        index.add(items(2).assign(price=[1.5, 2]), vectors)
    with pytest.raises(ValueError, match=r"id .* is longer than 4,096 bytes"):
        index.add(items(2).assign(id=["a", "é" * 2049]), vectors)
    with pytest.raises(ValueError, match="an id in Milvus has no quotes"):
        index.add(items(1).assign(id='seven "inches"'), vectors[:1])
    assert index.add(items(1).assign(id="größe '7'"), vectors[:1]) == (1, 0)
    index.remove(["größe '7'"])
    assert index.add(items(2, first=7).drop(columns="label"), vectors) == (2, 0)
    assert index.item("i8")["label"] is None and len(index) == 7


def test_a_build_that_was_killed_leaves_no_index_and_is_no_hindrance(encoder, tmp_path):
    location = tmp_path / "shop.db"
    ended = subprocess.Popen(["true"])
    ended.wait()
    client = connect(str(location))
    client.create_collection(f"{building_prefix('dml')}{ended.pid}", dimension=4)
    with pytest.raises(FileNotFoundError, match="not an index"):
        MilvusIndex.open(location)
    index = MilvusIndex.build(location, encoder, items(20), clusters(20, DIMENSION))
    assert index.collection.client.list_collections() == ["dml"]


def test_a_build_leaves_that_of_another_process_alone(encoder, tmp_path):
    location = tmp_path / "shop.db"
    other = f"{building_prefix('dml')}{os.getppid()}"
    connect(str(location)).create_collection(other, dimension=4)
    index = MilvusIndex.build(location, encoder, items(20), clusters(20, DIMENSION))
    assert set(index.collection.client.list_collections()) == {"dml", other}


def test_a_build_that_fails_leaves_nothing(encoder, tmp_path, monkeypatch):
    def fails(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dml.index._milvus_index.measure", fails)
    with pytest.raises(OSError, match="No space left"):
        MilvusIndex.build(tmp_path / "shop.db", encoder, items(20), clusters(20, DIMENSION))
    assert connect(str(tmp_path / "shop.db")).list_collections() == []


# Builds or opens an index, checks it, prints its ids, and adds to it for ever.
KILLED = """
import json, os, sys
sys.path[:0] = sys.argv[3:]
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index._milvus_index import MilvusIndex
from tests.bundles import DIMENSION
from tests.index.clusters import clusters
from tests.index.shops import items
if not os.path.exists(sys.argv[1]):
    bundle = OnnxEncoder(sys.argv[2])
    MilvusIndex.build(sys.argv[1], bundle, items(200), clusters(200, DIMENSION))
index = MilvusIndex.open(sys.argv[1])
index.verify()
print(json.dumps(index.ids(None)), flush=True)
first = len(index)
while True:
    index.add(items(40, first=first), clusters(40, DIMENSION, seed=first))
    print("added", flush=True)
    first += 40
"""


@pytest.mark.slow
def test_killed_at_any_moment_each_batch_is_whole_or_not_there(encoder, tmp_path):
    arguments = [str(tmp_path / "shop.db"), str(tmp_path / "bundle"), "", *sys.path]
    rng = np.random.default_rng(0)
    least = 200
    for trial in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE
        )
        numbers = sorted(int(id[1:]) for id in json.loads(writer.stdout.readline()))
        assert numbers == list(range(len(numbers))) and (len(numbers) - 200) % 40 == 0
        assert len(numbers) >= least
        added = trial % 2
        assert not added or writer.stdout.readline() == b"added\n"
        least = len(numbers) + 40 * added
        time.sleep(rng.uniform(0.0, 0.3))  # at a moment that chance chooses
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()


@pytest.mark.parametrize("kind", ["auto", "hnsw"])
def test_copies_of_the_nearest_are_as_good(kind, encoder, tmp_path):
    # Each of 40 vectors 20 times: which 10 of the 20 copies are listed is chance.
    vectors = np.repeat(clusters(40, DIMENSION), 20, axis=0)
    index = MilvusIndex.build(tmp_path / "shop.db", encoder, items(800), vectors, kind)
    assert index.info().recall.queries == 200 and index.info().recall.measured >= 0.99


def test_a_rebuilt_collection_is_noticed(encoder, tmp_path):
    location = tmp_path / "shop.db"
    index = MilvusIndex.build(location, encoder, items(8), clusters(8, DIMENSION))
    index.add(items(9), clusters(9, DIMENSION))
    assert index.reload_if_changed() is None
    index.collection.client.drop_collection(index.collection.name)
    with pytest.raises(OSError, match="Milvus reports"):
        index.reload_if_changed()
    other = OnnxEncoder(write_bundle(tmp_path / "other", seed=1))
    MilvusIndex.build(location, other, items(8), clusters(8, DIMENSION))
    assert index.reload_if_changed().encoder_sha256 == other.sha256

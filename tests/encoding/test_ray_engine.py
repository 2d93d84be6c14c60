"""A Ray cluster embeds like this machine, every row once, even if workers die."""

import itertools

import numpy as np
import pandas as pd
import pytest

import dml.encoding._collection as collection
from dml.cli import main
from dml.encoding._collection import embed_to_file
from dml.encoding._ray_engine import RayEngine
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError
from tests.bundles import write_bundle, write_images
from tests.clusters import started_cluster
from tests.reporters import Lines

pytest.importorskip("ray", reason="needs dml[ray]")
pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A bundle and 60 images, large enough that a part takes a while, 4 to a part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(collection, "_PART", 4)
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    write_bundle(tmp_path / "bundle")
    write_images(tmp_path / "photos", classes=6, each=10, side=900)
    (tmp_path / "photos" / "class 2" / "3.png").write_bytes(b"\x89PNG\r\n")
    assert main(["embed", "bundle", "photos", "--out", "local.parquet"]) == 0
    return tmp_path


@pytest.fixture
def cluster(monkeypatch):
    """A head that works nothing and two workers of one processor each."""
    made, workers = started_cluster()
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made, workers
    made.shutdown()


def rows_of(name):
    frame = pd.read_parquet(name)
    return frame.drop(columns="vector"), np.stack(frame["vector"])


def assert_the_same(a, b):
    (items, vectors), (other_items, other_vectors) = rows_of(a), rows_of(b)
    pd.testing.assert_frame_equal(items, other_items)
    np.testing.assert_allclose(vectors, other_vectors, atol=1e-6)
    assert not items["id"].duplicated().any()


def test_every_row_comes_once_when_a_worker_is_killed(here, cluster, monkeypatch):
    cluster, workers = cluster
    kept = collection.UnfinishedRows.keep
    seen = []

    def keep(self, keys, rows):
        kept(self, keys, rows)
        seen.append(keys)
        if len(seen) == 3:
            cluster.remove_node(workers[0], allow_graceful=False)  # SIGKILL

    monkeypatch.setattr(collection.UnfinishedRows, "keep", keep)
    # Its workers have one processor each.
    lines = Lines()
    embed_to_file("bundle", ["photos"], "ray.parquet", RayEngine(threads=1), lines)
    assert len(seen) == 15 and len(set(itertools.chain(*seen))) == 59
    assert_the_same("ray.parquet", "local.parquet")
    assert "left out as unreadable: 1 image, listed in" in "\n".join(lines)
    lists = [(here / f"{name}.parquet.unreadable.csv").read_text() for name in ("ray", "local")]
    assert lists[0] == lists[1] and "3.png" in lists[0]
    assert not (here / "ray.parquet.unfinished").exists()


def test_errors_in_a_worker_are_reported(here, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    encoder = OnnxEncoder("bundle")
    (here / "bundle").rename(here / "moved")
    with pytest.raises(DataError, match="bundle"):
        list(RayEngine(threads=1).embed(encoder, {0: ["photos/class 0/0.png"]}, len))


def test_one_engine_continues_where_the_other_stopped(here, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    kept, taken = collection.UnfinishedRows.keep, []

    def stopped(self, keys, rows):
        kept(self, keys, rows)
        taken.append(len(rows))
        if len(taken) == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(collection.UnfinishedRows, "keep", stopped)
    assert main(["embed", "bundle", "photos", "--out", "both.parquet"]) == 130
    assert len(list(here.glob("both.parquet.unfinished/*.part"))) == 10
    assert main(["embed", "bundle", "photos", "--out", "both.parquet", "--engine", "ray"]) == 0
    assert len(taken) == 16  # what could not be read is tried again
    assert_the_same("both.parquet", "local.parquet")

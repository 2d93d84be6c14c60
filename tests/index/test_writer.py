"""A writer turns one state of an index into the next; test_faiss_index has the rest."""

import numpy as np
import pytest

from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index import Recall, SearchParameters, build_index, open_index
from dml.index._writer import IndexWriter
from tests.bundles import DIMENSION, write_bundle
from tests.index.clusters import clusters
from tests.index.shops import items

COUNT = 1200


@pytest.fixture
def encoder(tmp_path):
    return OnnxEncoder(write_bundle(tmp_path / "bundle"))


def test_held_out_rows_are_the_last(encoder, tmp_path):
    vectors = clusters(COUNT, DIMENSION)
    original = vectors.copy()
    snapshot = build_index(tmp_path / "shop", encoder, items(COUNT), vectors, "hnsw").snapshot
    assert snapshot.recall.queries == 256  # held out of 1200
    ids = snapshot.items["id"].tolist()
    assert sorted(ids) == sorted(f"i{n}" for n in range(COUNT)) and ids != sorted(ids)
    for row in (0, 700, COUNT - 256, COUNT - 1):
        np.testing.assert_array_equal(snapshot.vectors[row], original[int(ids[row][1:])])
    np.testing.assert_array_equal(snapshot.vectors, vectors)


def test_too_few_vectors_for_ivf_pq_become_a_flat_index(encoder, tmp_path):
    vectors = clusters(COUNT, DIMENSION)
    index = build_index(tmp_path / "shop", encoder, items(COUNT), vectors, "ivf_pq", 0.8)
    index.remove([f"i{n}" for n in range(400)])
    info = open_index(tmp_path / "shop").info()
    assert info.kind == "flat" and info.items == 800 and info.removed == 0
    assert info.search_parameters == SearchParameters() and info.recall == Recall(0.8)


@pytest.mark.parametrize("kind", ["hnsw", "int8", "binary"])
@pytest.mark.parametrize("first", [0, 1, 3, 5])
def test_an_emptied_index_gets_its_codes_again(kind, first, encoder, tmp_path):
    index = build_index(tmp_path / "shop", encoder, items(60), clusters(60, DIMENSION), kind)
    index.remove([f"i{n}" for n in range(60)])
    assert index.snapshot.codes is None and "recall@10 not measured" in str(index.info())
    if first:
        index.add(items(first), clusters(first, DIMENSION))
    index.add(items(1000, first=100), clusters(1000, DIMENSION, seed=1))
    snapshot = open_index(tmp_path / "shop").snapshot
    assert snapshot.manifest.kind == kind and snapshot.codes.ntotal == 1000 + first
    assert snapshot.recall.queries == (1000 + first) // 4  # measured among the rows of now
    near = index.search(clusters(1000, DIMENSION, seed=1)[:50], 1)
    assert np.mean([one[0].item["id"] == f"i{100 + n}" for n, one in enumerate(near)]) > 0.9


def test_codes_are_kept_where_the_index_grows_little(encoder, tmp_path):
    index = build_index(tmp_path / "shop", encoder, items(400), clusters(400, DIMENSION), "hnsw")
    index.add(items(400, first=400), clusters(400, DIMENSION, seed=1))  # twice the rows
    assert index.snapshot.recall.queries == 100
    index.add(items(20, first=800), clusters(20, DIMENSION, seed=2))
    assert index.snapshot.recall.queries == 205 and index.snapshot.codes.ntotal == 820


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq"])
def test_codes_are_learned_again_however_large_an_index_is(kind, encoder, tmp_path):
    index = build_index(tmp_path / "shop", encoder, items(1100), clusters(1100, DIMENSION), kind)
    index.add(items(1100, first=1100), clusters(1100, DIMENSION, seed=1))
    assert index.snapshot.recall.rows == 1100  # twice as many since
    index.add(items(20, first=2200), clusters(20, DIMENSION, seed=2))
    recall = open_index(tmp_path / "shop").info().recall
    assert recall.rows == 2220 and recall.queries == 256
    exact = np.argsort(-clusters(50, DIMENSION, seed=3) @ index.snapshot.vectors.T, axis=1)[:, :10]
    found = index.snapshot.nearest(clusters(50, DIMENSION, seed=3))[1]
    assert np.mean([len({*a} & {*b}) / 10 for a, b in zip(exact, found, strict=True)]) > 0.9


def test_a_quarter_of_removed_rows_is_kept(encoder, tmp_path):
    index = build_index(tmp_path / "shop", encoder, items(100), clusters(100, DIMENSION), "flat")
    writer = IndexWriter(index.folder)
    kept = writer.remove(index.snapshot, [f"i{n}" for n in range(25)])
    assert len(kept.items) == 100 and len(kept.row_of) == 75
    assert kept.manifest.number == 2 and kept.manifest.files["vectors"].name == "vectors-1.f32"
    compact = writer.remove(kept, ["i25"])
    assert len(compact.items) == len(compact.row_of) == 74
    assert compact.manifest.number == 3 and compact.manifest.rows == 74
    assert [path.name for path in index.folder.path.glob("vectors-*")] == ["vectors-3.f32"]

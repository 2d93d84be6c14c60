"""Kinds of FAISS indexes, and how far each must look to reach a wanted recall."""

import time
from dataclasses import dataclass

import numpy as np

KINDS = ("flat", "hnsw", "ivf_pq", "int8", "binary")
RECALL_AT = 10
SAMPLES = 256  # rows searched with, to measure recall
LARGEST_FLAT = 200_000  # rows that are searched one by one within tens of milliseconds
LARGEST_HNSW = 5_000_000  # rows whose graph and vectors fit into memory
LEAST_TRAINED = 1024  # rows that IVF-PQ can learn its codes from


@dataclass(frozen=True)
class Effort:
    """How far a search looks.

    Args:
        breadth: Candidates kept in a walk (`hnsw`), or cells visited (`ivf_pq`); 0 elsewhere.
        oversample: Candidates for each wanted neighbour that are compared exactly.
    """

    breadth: int = 0
    oversample: int = 1


EFFORTS = {
    "hnsw": [Effort(b, 1) for b in (16, 32, 64, 128, 256, 512, 1024)],
    "ivf_pq": [
        Effort(4, 8),
        Effort(8, 8),
        Effort(16, 16),
        Effort(32, 16),
        Effort(64, 32),
        Effort(128, 64),
        Effort(512, 64),
    ],
    "int8": [Effort(0, o) for o in (1, 2, 4)],
    "binary": [Effort(0, o) for o in (2, 4, 8, 16, 32, 64, 128, 256)],
}


def kind_for(count):
    """Returns the kind for so many rows."""
    if count <= LARGEST_FLAT:
        return "flat"
    return "hnsw" if count <= LARGEST_HNSW else "ivf_pq"


def build_codes(kind, vectors):
    """Returns a FAISS index of unit vectors (N, D), or None for `flat`, which needs none.

    Raises:
        ValueError: There are too few rows for the kind.
    """
    import faiss

    count, dimension = vectors.shape
    product = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return None
    if kind == "hnsw":
        codes = faiss.IndexHNSWFlat(dimension, 32, product)
        codes.hnsw.efConstruction = 80
    elif kind == "int8":
        codes = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, product)
    elif kind == "binary":
        bits = 8 * -(-max(dimension, 256) // 8)
        codes = faiss.IndexLSH(dimension, bits, True, True)
    else:
        if count < LEAST_TRAINED:
            raise ValueError(f"ivf_pq needs at least {LEAST_TRAINED:,} images; got {count:,}")
        cells = max(1, min(int(4 * count**0.5), count // 39))
        parts = max(p for p in range(1, max(dimension // 8, 1) + 1) if dimension % p == 0)
        # np: not polysemous, which takes most of a minute to learn and is not used here.
        codes = faiss.index_factory(dimension, f"IVF{cells},PQ{parts}x8np", product)
        codes.cp.min_points_per_centroid = codes.pq.cp.min_points_per_centroid = 1  # no warnings
    generator = np.random.default_rng(0)
    if not codes.is_trained:
        most = 256 * getattr(codes, "nlist", 256)
        rows = slice(None) if count <= most else np.sort(generator.choice(count, most, False))
        codes.train(np.ascontiguousarray(vectors[rows]))
    codes.add(vectors)
    return codes


def candidates(kind, codes, queries, count, effort, keep=None):
    """Returns the rows (Q, count) that are near by the codes, -1 where there are fewer.

    Args:
        kind: One of `KINDS`, not `flat`.
        codes: As `build_codes` returns it.
        queries: Float32 (Q, D).
        count: Candidates for each query.
        effort: An `Effort`.
        keep: Booleans (N,): rows that may be found; None for all. Not for `binary`.
    """
    import faiss

    chosen = {}
    if keep is not None:
        bits = np.packbits(keep, bitorder="little")
        chosen["sel"] = faiss.IDSelectorBitmap(bits)
    if kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(efSearch=max(effort.breadth, count), **chosen)
    elif kind == "ivf_pq":
        parameters = faiss.SearchParametersIVF(nprobe=effort.breadth, **chosen)
    else:
        parameters = faiss.SearchParameters(**chosen) if chosen else None
    return codes.search(queries, min(count, codes.ntotal), params=parameters)[1]


def rescored(vectors, queries, rows, k):
    """Returns the similarities and rows (Q, k) of the nearest among candidates, exactly.

    Args:
        vectors: Float32 (N, D).
        queries: Float32 (Q, D).
        rows: Integers (Q, L), -1 for none.
        k: At most L.
    """
    similarities = np.empty(rows.shape, "float32")
    for query, found in enumerate(rows):
        similarities[query] = vectors[np.maximum(found, 0)] @ queries[query]
    similarities[rows < 0] = -np.inf
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarities, order, 1), np.take_along_axis(rows, order, 1)


def tuned(kind, codes, vectors, target):
    """Returns the least effort that reaches a recall, and what was measured of it.

    Rows of the index are searched for, themselves left out, and compared with exact search.

    Args:
        kind: One of `KINDS`.
        codes: As `build_codes` returns it.
        vectors: Float32 (N, D).
        target: Wanted recall at 10, in (0, 1].

    Returns:
        An `Effort`, and a dictionary of `target`, `measured`, `queries`, `seconds_per_query`.
    """
    import faiss

    count = len(vectors)
    if kind == "flat" or count < 2:
        return Effort(), {"target": target, "measured": 1.0, "queries": 0}
    rows = np.sort(np.random.default_rng(0).choice(count, min(SAMPLES, count), replace=False))
    queries = np.ascontiguousarray(vectors[rows])
    k = min(RECALL_AT, count - 1)
    _, exact = faiss.knn(queries, vectors, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    exact = [set(found[found != row][:k]) for found, row in zip(exact, rows, strict=True)]
    for effort in EFFORTS[kind]:
        started = time.perf_counter()
        found = candidates(kind, codes, queries, (k + 1) * effort.oversample, effort)
        _, found = rescored(vectors, queries, found, k + 1)
        seconds = (time.perf_counter() - started) / len(rows)
        hits = [len(e & set(f.tolist())) for e, f in zip(exact, found, strict=True)]
        recall = sum(hits) / (k * len(rows))
        if recall >= target:
            break
    return effort, {
        "target": target,
        "measured": recall,
        "queries": len(rows),
        "seconds_per_query": seconds,
    }

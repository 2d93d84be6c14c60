"""Kinds of FAISS indexes, and how far each must look to reach a wanted recall."""

import time
from dataclasses import dataclass

import numpy as np

KINDS = ("flat", "hnsw", "ivf_pq", "int8", "binary")
RECALL_AT = 10
SAMPLES = 256  # rows kept out of the codes and searched with, to measure recall
LARGEST_FLAT = 200_000  # rows that are searched one by one within tens of milliseconds
LARGEST_HNSW = 5_000_000  # rows whose graph and vectors fit into memory
PRODUCT = 2000  # numbers of queries, for each thread, from which on one product is faster
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


def check_kind(kind, count):
    """Raises ValueError where there are too few rows for a kind."""
    if kind == "ivf_pq" and count < LEAST_TRAINED:
        raise ValueError(f"ivf_pq needs at least {LEAST_TRAINED:,} images; got {count:,}")


def build_codes(kind, vectors):
    """Returns a FAISS index of unit vectors (N, D), of any kind but `flat`."""
    import faiss

    count, dimension = vectors.shape
    product = faiss.METRIC_INNER_PRODUCT
    if kind == "hnsw":
        codes = faiss.IndexHNSWFlat(dimension, 32, product)
        codes.hnsw.efConstruction = 80
    elif kind == "int8":
        codes = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, product)
    elif kind == "binary":
        bits = 8 * -(-max(dimension, 256) // 8)
        codes = faiss.IndexLSH(dimension, bits, True, True)
    else:
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


def read_codes(path, kind, shape):
    """Returns the FAISS index in a file.

    Args:
        path: The file.
        kind: One of `KINDS`, not `flat`.
        shape: Of the vectors.

    Raises:
        ValueError: The file is damaged, or of another kind or shape.
    """
    import faiss

    classes = {
        "hnsw": faiss.IndexHNSWFlat,
        "int8": faiss.IndexScalarQuantizer,
        "binary": faiss.IndexLSH,
        "ivf_pq": faiss.IndexIVFPQ,
    }
    try:
        codes = faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise ValueError(f"{path}: damaged: {str(error).splitlines()[-1]}") from None
    if type(codes) is not classes.get(kind) or (codes.ntotal, codes.d) != tuple(shape):
        raise ValueError(f"{path}: damaged: not the codes of {shape[0]:,} vectors of kind {kind}")
    return codes


def coded_search(kind, codes, vectors, queries, k, effort, keep=None):
    """Returns exact similarities and rows (Q, k) of the nearest that the codes lead to.

    Args:
        kind: One of `KINDS`, not `flat`.
        codes: As `build_codes` returns it.
        vectors: Float32 (N, D).
        queries: Float32 (Q, D).
        k: At most N.
        effort: An `Effort`.
        keep: As `candidates` takes it.
    """
    wanted = min(k * effort.oversample, len(vectors))
    similarities, rows = candidates(kind, codes, queries, wanted, effort, keep)
    if kind == "hnsw":  # it compares whole vectors
        return similarities[:, :k], rows[:, :k]
    return rescored(vectors, queries, rows, k)


def candidates(kind, codes, queries, count, effort, keep=None):
    """Returns what is near by the codes: similarities of the codes and rows, both (Q, count).

    Rows are -1 where there are fewer.

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
    return codes.search(queries, min(count, codes.ntotal), params=parameters)


def compared(vectors, queries, k):
    """Returns the similarities and rows (Q, k) of the nearest, by comparing with each.

    Args:
        vectors: Float32 (N, D), contiguous.
        queries: Float32 (Q, D), contiguous.
        k: At most N.
    """
    import faiss

    # FAISS 1.15 takes a matrix product from 128,000 numbers of queries on, which was found best on
    # many processors. On few, queries that are compared one by one take up to eight times as long.
    enough = PRODUCT * faiss.omp_get_max_threads()
    faiss.cvar.distance_compute_blas_threshold = min(
        faiss.cvar.distance_compute_blas_threshold, enough
    )
    return faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)


def rescored(vectors, queries, rows, k):
    """Returns the similarities and rows (Q, k) of the nearest among candidates, exactly.

    Args:
        vectors: Float32 (N, D), contiguous.
        queries: Float32 (Q, D), contiguous.
        rows: Int64 (Q, L); -1 for none, behind all others.
        k: At most L.
    """
    import faiss

    rows = np.ascontiguousarray(rows)
    similarities = np.empty((len(queries), k), "float32")
    nearest = np.empty((len(queries), k), "int64")
    arrays = (queries, vectors, rows, similarities, nearest)
    x, y, subset, best, places = map(faiss.swig_ptr, arrays)
    sizes = (queries.shape[1], len(queries), len(vectors), rows.shape[1], k)
    faiss.knn_inner_products_by_idx(x, y, subset, *sizes, best, places, rows.shape[1])
    return similarities, nearest


def held_out(count):
    """Returns how many of so many rows a recall is measured with."""
    return min(SAMPLES, count // 4)


def tuned(efforts, search, vectors, queries, target):
    """Returns the least effort that reaches a recall, and what was measured of it.

    Args:
        efforts: `Effort`s, from the least on.
        search: From queries (Q, D), k and an `Effort` to rows (Q, k) of `vectors`.
        vectors: Float32 (N, D), what is searched.
        queries: Float32 (Q, D), none of them in it.
        target: Wanted recall at 10, in (0, 1].

    Returns:
        An `Effort`, and a dictionary of `target`, `measured`, `queries`, `seconds_per_query`.
    """
    k = min(RECALL_AT, len(vectors))
    if not k or not len(queries):
        return efforts[0], untuned(target)
    _, exact = compared(vectors, queries, k)
    for effort in efforts:
        started = time.perf_counter()
        found = search(queries, k, effort)
        seconds = (time.perf_counter() - started) / len(queries)
        hits = [len(np.intersect1d(e, f)) for e, f in zip(exact, found, strict=True)]
        recall = sum(hits) / exact.size
        if recall >= target:
            break
    return effort, {
        "target": target,
        "measured": recall,
        "queries": len(queries),
        "seconds_per_query": seconds,
    }


def untuned(target):
    """Returns what is measured where every search is exact."""
    return {"target": target, "measured": 1.0, "queries": 0}

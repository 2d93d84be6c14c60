"""Search by each kind of index beside bare FAISS: recall, time, memory.

    python benchmarks/index.py --vectors runs/mine/evaluation/NAME/vectors.npy
    python benchmarks/index.py --synthetic 1000000 --dimension 128

Each kind is built and searched in a process of its own, so that its memory is its own. Bare FAISS
searches the same codes as far, without exact re-scoring; recall@10 is against exact search.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

QUERIES = 1000
K = 10


def synthetic(count, dimension, seed=0, classes=10_000):
    """Returns unit vectors (count, dimension) in clusters, made in parts."""
    centres = np.random.default_rng(99).normal(size=(classes, dimension)).astype("float32")
    rng = np.random.default_rng(seed)
    result = np.empty((count, dimension), "float32")
    for start in range(0, count, 50_000):
        part = result[start : start + 50_000]
        part[:] = centres[rng.integers(classes, size=len(part))]
        part += 0.6 * rng.normal(size=part.shape).astype("float32")
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return result


def load(options):
    """Returns vectors to index and queries that are not among them."""
    if options.vectors:
        vectors = np.load(options.vectors)
        chosen = np.zeros(len(vectors), bool)
        rows = np.random.default_rng(0).choice(len(vectors), QUERIES, replace=False)
        chosen[rows] = True
        return vectors[~chosen], vectors[chosen]
    return (
        synthetic(options.synthetic, options.dimension),
        synthetic(QUERIES, options.dimension, seed=1),
    )


def recall(found, exact):
    return np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, exact, strict=True)])


def measure(options, kind):
    """Builds and searches one kind; prints a line."""
    import faiss
    import pandas as pd

    from dml.index import FaissIndex
    from dml.index.kinds import candidates

    vectors, queries = load(options)
    _, exact = faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
    ids = [str(n) for n in range(len(vectors))]
    items = pd.DataFrame({"id": ids, "path": ids, "label": None})
    with tempfile.TemporaryDirectory() as folder:
        encoder = empty_bundle(Path(folder) / "bundle")
        started = time.perf_counter()
        index = FaissIndex.build(Path(folder) / "index", encoder, items, vectors, kind, 0.95)
        built = time.perf_counter() - started
        facts = index.info()
        seconds, found = timed(lambda: index.search(queries, K)[1])
        if index.codes is None:
            bare = lambda: faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)[1]  # noqa: E731
        else:
            bare = lambda: candidates(kind, index.codes, queries, K, index.effort)  # noqa: E731
        bare_seconds, bare_found = timed(bare)
        wide, _ = timed(
            lambda: (
                candidates(kind, index.codes, queries, K * index.effort.oversample, index.effort)
                if index.codes is not None
                else bare()
            )
        )
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        effort = f"{index.effort.breadth}/{index.effort.oversample}"
        print(
            f"{kind:8} {effort:>8} {built:8.1f} {facts['bytes'] / 2**20:8.0f} {memory:8.0f} "
            f"{recall(found, exact):8.3f} {recall(bare_found, exact):8.3f} "
            f"{len(queries) / seconds:9.0f} {len(queries) / wide:9.0f} "
            f"{len(queries) / bare_seconds:9.0f}",
            flush=True,
        )


def timed(work):
    """Returns the least seconds of three runs, and the result."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - started)
    return min(times), result


def empty_bundle(path):
    """Returns what `FaissIndex.build` asks of an encoder."""

    class Encoder:
        sha256 = "0" * 64

    path.mkdir()
    Encoder.path = path
    return Encoder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", help="a .npy of unit vectors")
    parser.add_argument("--synthetic", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--kinds", default="flat,hnsw,ivf_pq,int8,binary")
    options = parser.parse_args()
    print(f"{QUERIES:,} queries at once, K = {K}; MiB; queries a second")
    print(
        f"{'kind':8} {'effort':>8} {'build s':>8} {'disk':>8} {'peak':>8} {'recall':>8} "
        f"{'bare':>8} {'q/s':>9} {'same L':>9} {'bare q/s':>9}"
    )
    for kind in options.kinds.split(","):
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(options, kind))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{kind} failed")


if __name__ == "__main__":
    main()

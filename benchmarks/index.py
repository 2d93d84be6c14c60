"""Search by each kind of index compared with bare FAISS: recall, time, memory.

    python benchmarks/index.py --vectors runs/mine/evaluation/NAME/vectors.npy
    python benchmarks/index.py --synthetic 1000000 --dimension 128

Each kind is built and searched in a process of its own, so that its memory is its own. Bare FAISS
searches the same codes with the same parameters and refines the result by `IndexRefine`, over a
copy of the vectors in memory. Recall@10 is against exact search; the last column is its time
divided by ours.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from dml._storage.bundle import Bundle

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

    from dml.index._faiss_index import FaissIndex
    from dml.index._kinds import CODED_KINDS

    vectors, queries = load(options)
    _, exact = faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
    ids = [str(n) for n in range(len(vectors))]
    items = pd.DataFrame({"id": ids, "path": ids, "label": None})
    with tempfile.TemporaryDirectory() as folder:
        encoder = empty_bundle(Path(folder) / "bundle", vectors.shape[1])
        started = time.perf_counter()
        index = FaissIndex.build(Path(folder) / "index", encoder, items, vectors, kind, 0.95)
        built = time.perf_counter() - started
        info = index.info()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        if kind != "flat":
            CODED_KINDS[kind].build(vectors)
        bare_built = time.perf_counter() - started
        bare = bare_search(kind, index, vectors, queries)
        (seconds, found), (bare_seconds, bare_found) = timed(
            lambda: index.snapshot.nearest(queries, K)[1], lambda: bare()[1]
        )
        found, bare_found = (
            index.snapshot.items["id"].to_numpy()[rows].astype(int) for rows in (found, bare_found)
        )
        parameters = str(info.search_parameters) or "exact"
        print(
            f"{kind:8} {parameters:26} {built:8.1f} {bare_built:8.1f} "
            f"{info.bytes / 2**20:8.0f} {memory:8.0f} "
            f"{recall(found, exact):8.3f} {recall(bare_found, exact):8.3f} "
            f"{len(queries) / seconds:9.0f} {len(queries) / bare_seconds:9.0f} "
            f"{bare_seconds / seconds:6.2f}",
            flush=True,
        )


def bare_search(kind, index, vectors, queries):
    """Returns FAISS's own search that looks as far: the codes, refined by the vectors."""
    import faiss

    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(np.array(index.snapshot.vectors))
    if index.snapshot.codes is None:
        return lambda: flat.search(queries, K)
    parameters = index.snapshot.parameters
    if kind == "hnsw":
        walk = faiss.SearchParametersHNSW(efSearch=max(parameters.ef_search, K))
        return lambda: index.snapshot.codes.search(queries, K, params=walk)
    index.snapshot.codes.metric_type = faiss.METRIC_INNER_PRODUCT  # IndexLSH calls its own L2
    refined = faiss.IndexRefine(index.snapshot.codes, flat)
    options = {"k_factor": parameters.refine_factor}
    if kind == "ivf_pq":
        options["base_index_params"] = faiss.SearchParametersIVF(nprobe=parameters.nprobe)
    refining = faiss.IndexRefineSearchParameters(**options)
    return lambda: (refined.search(queries, K, params=refining), flat)[0]  # flat stays alive


def timed(*works):
    """Returns the least seconds of five runs of each, in turn, and the results."""
    times, results = [[] for _ in works], [None] * len(works)
    for _ in range(5):
        for place, work in enumerate(works):
            started = time.perf_counter()
            results[place] = work()
            times[place].append(time.perf_counter() - started)
    return [(min(some), result) for some, result in zip(times, results, strict=True)]


def empty_bundle(path, dimension):
    """Returns what `FaissIndex.build` asks of an encoder."""
    path.mkdir()
    bundle = Bundle(path)
    bundle.describe({})
    return SimpleNamespace(sha256="0" * 64, bundle=bundle, dimension=dimension)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", help="a .npy of unit vectors")
    parser.add_argument("--synthetic", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--kinds", default="flat,hnsw,ivf_pq,int8,binary")
    options = parser.parse_args()
    print(f"{QUERIES:,} queries at once, K = {K}; MiB; queries a second")
    print(
        f"{'kind':8} {'search parameters':26} {'build s':>8} {'bare s':>8} {'disk':>8} {'peak':>8} "
        f"{'recall':>8} {'bare':>8} {'q/s':>9} {'bare q/s':>9} {'ratio':>6}"
    )
    for kind in options.kinds.split(","):
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(options, kind))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{kind} failed")


if __name__ == "__main__":
    main()

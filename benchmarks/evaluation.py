"""Exact evaluation at the size of Stanford Online Products: time and memory.

    python benchmarks/evaluation.py [--rows 60502] [--classes 11316] [--dim 512]

Prints the seconds of faiss' own search of the same depth and of all retrieval figures, and by how
much the figures raised the peak memory above that of the embeddings.
"""

import argparse
import resource
import sys
import time

import numpy as np

KS = (1, 10, 100, 1000)


def planted(rows, classes, dim, spread, seed=0):
    """Returns unit float32 vectors (rows, dim) and labels: noise around a centre per class."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(rows) % classes)
    vectors = generator.standard_normal((classes, dim), dtype="float32")[labels]
    for start in range(0, rows, 4096):
        part = vectors[start : start + 4096]
        part += spread * generator.standard_normal(part.shape, dtype="float32")
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors, labels


def peak_mib():
    """Returns the process's peak memory so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60502)
    parser.add_argument("--classes", type=int, default=11316)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--spread", type=float, default=1.9, help="noise over distance of classes")
    options = parser.parse_args()
    import faiss

    from dml.evaluation import retrieval

    vectors, labels = planted(options.rows, options.classes, options.dim, options.spread)
    faiss.knn(vectors[:10], vectors[:100], 5)  # start its threads
    before, start = peak_mib(), time.perf_counter()
    found = retrieval(vectors, labels, ks=KS)
    seconds, growth = time.perf_counter() - start, peak_mib() - before
    start = time.perf_counter()
    figures = found.figures()
    intervals = time.perf_counter() - start
    start = time.perf_counter()
    depth = min(max(KS) + 1, options.rows)
    for row in range(0, options.rows, 4096):
        faiss.knn(vectors[row : row + 4096], vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)
    bare = time.perf_counter() - start
    print("  ".join(f"{name} {100 * figure['value']:.1f}" for name, figure in figures.items()))
    print(f"retrieval {seconds:.1f} s, {growth:.0f} MiB above the embeddings; ", end="")
    print(f"intervals {intervals:.1f} s; bare faiss search of {depth} neighbours {bare:.1f} s")


if __name__ == "__main__":
    main()

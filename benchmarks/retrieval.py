"""Exact retrieval metrics: time and memory, compared with the search alone.

    python benchmarks/retrieval.py [--size cub|sop|1m] [--json FILE]

Embeddings are noise around a centre for each class. Prints the seconds that all metrics take, those
of faiss' own search of the same depth, the growth of the peak memory above that of the embeddings,
and the same of verification over all pairs, which is compared with scikit-learn's curve of all
pairs of some rows. Of `1m`, a part of the queries searches the whole gallery, and the time of all
of them is extrapolated; `--all` searches with all of them, with a progress bar, and continues an
interrupted search (`--unfinished FOLDER`).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from memory import memory_mib, restart_peak

# rows, classes, dimensions, queries (0: all, searching each other), K of recall
SIZES = {
    "cub": (5924, 100, 512, 0, (1, 2, 4, 8)),
    "sop": (60502, 11316, 512, 0, (1, 10, 100, 1000)),
    "1m": (1_000_000, 50_000, 128, 8192, (1, 10, 100)),
}
SPREAD = 1.9  # noise over the distance of classes


def planted(rows, classes, dim, seed=0):
    """Returns unit float32 vectors (rows, dim) and labels: noise around a centre per class."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(rows) % classes)
    centres = np.random.default_rng(2**32).standard_normal((classes, dim), dtype="float32")
    vectors = centres[labels]
    for start in range(0, rows, 4096):
        part = vectors[start : start + 4096]
        part += SPREAD * generator.standard_normal(part.shape, dtype="float32")
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors, labels


def against_all_pairs(vectors, labels, rows=2000):
    """Returns how far error rates are from those of a sorted list of all pairs of some rows."""
    from sklearn.metrics import roc_auc_score, roc_curve

    from dml.evaluation import verification

    vectors, labels = vectors[:rows].astype("float64"), labels[:rows]
    pair = np.triu_indices(rows, 1)
    same = labels[pair[0]] == labels[pair[1]]
    similarities = (vectors @ vectors.T)[pair]
    fars, tars, _ = roc_curve(same, similarities, drop_intermediate=False)
    found = verification(vectors, labels)
    wanted = [tars[np.searchsorted(fars, far, side="right") - 1] for far in (0.1, 0.01, 0.001)]
    rates = [found.at_far(far)[0] for far in (0.1, 0.01, 0.001)]
    return max(
        abs(found.auc - roc_auc_score(same, similarities)), *np.abs(np.subtract(rates, wanted))
    )


def progress(total):
    """Returns what to call with the number of queries done, which shows them in the terminal."""
    from rich.progress import Progress, TimeRemainingColumn

    bar = Progress(*Progress.get_default_columns()[:3], TimeRemainingColumn())
    task = bar.add_task("queries", total=total)
    bar.start()
    return lambda count: bar.update(task, advance=count, refresh=True)


def measured(function):
    """Returns what a function returns, its seconds and the growth of memory in MiB."""
    restart_peak()
    before, start = memory_mib("VmRSS"), time.perf_counter()
    result = function()
    return result, time.perf_counter() - start, memory_mib("VmHWM") - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="sop")
    parser.add_argument("--json", type=Path, help="a file for the results as one JSON object")
    parser.add_argument("--all", action="store_true", help="of 1m, all queries")
    parser.add_argument("--unfinished", type=Path, help="a folder for finished parts")
    options = parser.parse_args()
    import faiss

    from dml.evaluation import retrieval, verification

    rows, classes, dim, queries, ks = SIZES[options.size]
    vectors, labels = planted(rows, classes, dim)
    queries = 0 if options.all else queries
    searching, wanted = (vectors, labels) if not queries else planted(queries, classes, dim, seed=1)
    gallery = {"gallery": vectors, "gallery_labels": labels} if queries else {}
    faiss.knn(vectors[:10], vectors[:100], 5)  # start its threads
    if options.all:
        gallery["advance"] = progress(rows)
    found, seconds, peak = measured(
        lambda: retrieval(searching, wanted, ks=ks, unfinished=options.unfinished, **gallery)
    )
    depth = min(max(ks) + 1, rows)

    def search():
        for row in range(0, len(searching), 4096):
            part = searching[row : row + 4096]
            faiss.knn(part, vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)

    _, bare, _ = measured(search)
    metrics = {name: float(values.mean()) for name, values in found.per_query.items()}
    print("  ".join(f"{name} {100 * value:.1f}" for name, value in metrics.items()))
    print(f"{len(searching):,} queries in {rows:,} x {dim}: {seconds:.1f} s, ", end="")
    print(f"{peak:.0f} MiB; bare faiss search of {depth} neighbours {bare:.1f} s")
    result = {"size": options.size, "seconds": seconds, "faiss_seconds": bare, "peak_mib": peak}
    if queries:
        whole = seconds * rows / queries
        print(f"all {rows:,} queries would take {whole / 3600:.1f} hours")
    elif not options.all:
        pairs, seconds, peak = measured(lambda: verification(vectors, labels))
        count = pairs.genuine + pairs.impostors
        print(f"verification of {count:,} pairs: {seconds:.1f} s, {peak:.0f} MiB; ", end="")
        print("  ".join(f"{name} {100 * value:.2f}" for name, value in pairs.metrics().items()))
        furthest = against_all_pairs(vectors, labels)
        print(f"furthest from the list of all pairs of 2,000: {furthest:.1e}")
        result.update(verification_seconds=seconds, verification_mib=peak)
    if options.json:
        options.json.write_text(json.dumps({**result, **metrics}) + "\n")


if __name__ == "__main__":
    main()

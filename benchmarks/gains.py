"""Gains of query expansion and re-ranking on an evaluation's vectors, and few-shot accuracies.

    python benchmarks/gains.py runs/NAME/evaluation/DATASET

Prints Recall@1 and the mean average precision of all images searching each other, plain and with
the gallery augmented; of every second image searching the others, plain, with queries expanded and
ranked by k-reciprocal neighbours; and few-shot accuracies of 5 and 20 ways.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from dml.evaluation import augment_gallery, expand_queries, few_shot, k_reciprocal, retrieval

NEIGHBOURS = 5


def line(name, recall, average):
    print(f"{name:34} R@1 {100 * recall:5.1f}   MAP {100 * average:5.1f}")


def by_distance(distances, labels, gallery_labels):
    """Returns Recall@1 and mean average precision of distances (Q, G)."""
    right = gallery_labels[np.argsort(distances, axis=1)] == labels[:, None]
    places = np.arange(1, right.shape[1] + 1)
    precision = np.cumsum(right, axis=1) / places
    counted = right.any(axis=1)
    average = (precision * right).sum(axis=1)[counted] / right.sum(axis=1)[counted]
    return right[counted, 0].mean(), average.mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evaluation", type=Path)
    folder = parser.parse_args().evaluation
    vectors = np.load(folder / "vectors.npy")
    labels = pd.read_parquet(folder / "items.parquet")["class"].to_numpy()

    def measured(name, queries, wanted, gallery=None, gallery_labels=None):
        found = retrieval(
            queries,
            wanted,
            gallery=gallery,
            gallery_labels=gallery_labels,
            extra_metrics=["full_map"],
        )
        line(name, found.recall[1], found.per_query["MAP"].mean())

    measured("all, plain", vectors, labels)
    measured("all, gallery augmented (DBA)", augment_gallery(vectors, NEIGHBOURS), labels)
    queries, gallery, wanted, known = vectors[::2], vectors[1::2], labels[::2], labels[1::2]
    measured("halves, plain", queries, wanted, gallery, known)
    expanded = expand_queries(queries, gallery, NEIGHBOURS)
    measured("halves, queries expanded", expanded, wanted, gallery, known)
    line("halves, k-reciprocal", *by_distance(k_reciprocal(queries, gallery), wanted, known))
    for ways in (5, 20):
        for shots in (1, 5):
            found = few_shot(vectors, labels, ways, shots)
            print(
                f"{ways}-way {shots}-shot {100 * found.accuracy:.1f} "
                f"+- {100 * found.half_width:.1f} (95 %, over episodes of these classes only)"
            )


if __name__ == "__main__":
    main()

"""A small evaluation to report on, made by hand."""

import numpy as np

from dml.report import Metric, ReportData


def unit(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def search(vectors, labels, gallery=None, gallery_labels=None, k=10):
    """Returns the nearest rows (Q, k) and the rank of each query's first positive, by loops."""
    itself = gallery is None
    gallery, gallery_labels = (vectors, labels) if itself else (gallery, gallery_labels)
    neighbours, ranks = [], []
    for row, vector in enumerate(vectors):
        order = [g for g in np.argsort(-gallery @ vector) if not (itself and g == row)]
        right = [rank for rank, g in enumerate(order, 1) if gallery_labels[g] == labels[row]]
        neighbours.append(order[:k])
        ranks.append(right[0] if right else 0)
    return np.array(neighbours, int).reshape(len(vectors), -1), np.array(ranks, int)


def colour(row):
    """Returns an image that differs from row to row."""
    return np.full((20, 30, 3), (37 * row) % 256, np.uint8)


def example(classes=4, samples=5, spread=0.7, gallery=False, **changes):
    """Returns a `ReportData` in which some queries are wrong; `changes` replace its fields."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), samples)
    centres = rng.normal(size=(classes, 6))
    vectors = unit(centres[labels] + spread * rng.normal(size=(len(labels), 6)))
    others = {}
    if gallery:
        rows = rng.permutation(len(labels))
        others["gallery_vectors"] = unit(vectors[rows] + 0.1 * rng.normal(size=vectors.shape))
        others["gallery_labels"] = labels[rows]
        found = search(vectors, labels, others["gallery_vectors"], labels[rows])
        others["gallery_thumbnail"] = lambda row: 255 - colour(row)
    else:
        found = search(vectors, labels)
    fields = {
        "title": "proxy_anchor on birds",
        "dataset": "birds",
        "protocol": "query-gallery" if gallery else "zero-shot",
        "metrics": [
            Metric("Recall@1", 0.734, (0.701, 0.766), 0.45, (0.42, 0.48)),
            Metric("NMI", 0.612, None, 0.7),
        ],
        "counts": {"queries": 1234, "classes": classes},
        "vectors": vectors,
        "labels": labels,
        "class_names": [f"bird {c}" for c in range(classes)],
        "neighbours": found[0],
        "first_positive": found[1],
        "thumbnail": colour,
        "history": [
            {"epoch": e, "loss": 3.0 / e, "val_recall_at_1": v, "positive_similarity": 0.5}
            for e, v in enumerate([0.3, 0.6, 0.5], 1)
        ],
        "recipe": '[loss]\nname = "proxy_anchor"\n',
        "versions": {"backend": "tensorflow", "packages": {"keras": "3.16.0"}},
        "seeds": {"training": 7},
    }
    return ReportData(**{**fields, **others, **changes})

"""Selection of the queries and pairs that a report shows, and their statistics."""

from dataclasses import dataclass

import numpy as np

from dml.report.data import ReportData


@dataclass(frozen=True, eq=False)
class SimilarityHistograms:
    """How many positive and negative pairs have a similarity within each bin.

    Args:
        edges: Edges of the bins (B + 1,).
        positive: Counts (B,) of pairs of one class.
        negative: Counts (B,) of pairs of different classes.
        positive_mean: Mean similarity of the positive pairs; nan without any.
        negative_mean: Mean similarity of the negative pairs.
    """

    edges: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    positive_mean: float
    negative_mean: float


def drawn_queries(
    labels: np.ndarray, first_positive: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Returns up to `count` query rows, at random, from as many classes as possible.

    Queries without a positive can't be right and are left out.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(np.asarray(first_positive) > 0))
    turn = _occurrence(np.asarray(labels)[rows])
    return rows[np.argsort(turn, kind="stable")][:count]


def _occurrence(labels):
    """Returns, for each entry, how many earlier entries carry the same label."""
    order = np.argsort(labels, kind="stable")
    _, start, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    turn = np.empty(len(labels), int)
    turn[order] = np.arange(len(labels)) - np.repeat(start, sizes)
    return turn


def worst_queries(first_positive: np.ndarray, count: int) -> np.ndarray:
    """Returns up to `count` wrong query rows, ordered by falling rank of the first positive."""
    first_positive = np.asarray(first_positive)
    rows = np.argsort(-first_positive, kind="stable")[:count]
    return rows[first_positive[rows] > 1]


def nearest_positive(data: ReportData, row: int) -> int | None:
    """Returns the row of a query's own class that is most similar to it, of those it may find."""
    right = data.are_right(row, np.arange(len(data.searched_labels)))
    candidates = np.flatnonzero(right & ~data.is_left_out(row))
    if not len(candidates):
        return None
    return int(candidates[np.argmax(data.searched_vectors[candidates] @ data.vectors[row])])


def similarity_histograms(
    data: ReportData, bins: int = 100, queries: int = 1000
) -> SimilarityHistograms:
    """Counts the cosine similarities of positive and negative pairs.

    Each of up to `queries` queries, drawn at random, is paired with the whole gallery, in blocks:
    memory does not grow with the number of pairs.
    """
    edges = np.linspace(-1, 1, bins + 1)
    total = len(data.labels)
    rows = np.random.default_rng(data.seed).permutation(total)[:queries]
    counts, sums = np.zeros((2, bins), np.int64), np.zeros(2)
    for block in np.array_split(rows, max(1, len(rows) // 50)):
        similarity = np.clip(data.vectors[block] @ data.searched_vectors.T, -1, 1)
        same = data.are_right(block[:, None], np.arange(len(data.searched_labels)))
        valid = np.ones_like(same)
        if data.gallery_vectors is None:
            valid[np.arange(len(block)), block] = False
        for kind, pairs in enumerate((same & valid, ~same)):
            values = similarity[pairs]
            counts[kind] += np.histogram(values, edges)[0]
            sums[kind] += values.sum(dtype=np.float64)
    sizes = counts.sum(axis=1)
    means = [s / n if n else float("nan") for s, n in zip(sums, sizes, strict=True)]
    return SimilarityHistograms(edges, counts[0], counts[1], *means)


def principal_plane(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Projects vectors (N, D) on their two widest principal axes.

    Returns:
        Points (N, 2), and the share of the variance, in [0, 1], that the plane keeps.
    """
    centred = np.asarray(vectors, np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1, 1)
    points = np.zeros((len(centred), 2))
    points[:, : axes.shape[1]] = centred @ axes
    total = variances.sum()
    return points, float(variances[::-1][:2].sum() / total) if total > 0 else 0.0

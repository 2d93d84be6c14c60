"""What embeddings tell about the labels and images that they were made of."""

from dataclasses import dataclass

import numpy as np

from dml.errors import ArrayError
from dml.evaluation._arrays import checked_embeddings, checked_labels, codes
from dml.evaluation._neighbours import nearest_others


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """What a person should look at, worst first. Rows are those of the embeddings.

    Args:
        mislabelled: List of (row, suggested label, agreement): images most of whose nearest, by
            similarity, are of one other class, and the share of these.
        duplicates: List of (row, row, similarity): pairs so similar that they may be one image.
        confused: List of (label, label, share): classes of which this share of the images has its
            nearest neighbour in the other, both ways together.
        never_found: Labels of classes none of whose images has its nearest within the class.
    """

    mislabelled: list
    duplicates: list
    confused: list
    never_found: list


def find_label_issues(embeddings, labels, neighbours=10, agreement=0.8, duplicate=0.999):
    """Looks for wrong labels, near-duplicates and classes that are mixed up.

    Args:
        embeddings: Numbers (N, D), of any length: of images that the encoder was not trained on,
            or it will have learned their mistakes.
        labels: N labels of any hashable type, in any array-like.
        neighbours: Nearest that vote; positive.
        agreement: Share of the votes from which a label is doubted; in (0, 1].
        duplicate: Cosine similarity from which two images may be one.

    Returns:
        `LabelIssues`.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite, or an option is out of its
            range.
    """
    vectors = checked_embeddings(embeddings, "embeddings")
    labels = checked_labels(labels, len(vectors), "labels")
    (classes,) = codes(labels)
    if neighbours < 1 or not 0 < agreement <= 1:
        raise ValueError(
            f"neighbours must be positive and agreement in (0, 1]; got {neighbours}, {agreement}"
        )
    names = {int(code): label for code, label in zip(classes, labels.tolist(), strict=True)}
    if len(vectors) < 2:
        raise ArrayError("embeddings must have at least two rows")
    similarities, rows = nearest_others(vectors, min(neighbours, len(vectors) - 1))
    mislabelled = doubted(classes, similarities, rows, agreement)
    pairs = [
        (int(i), int(j), float(s))
        for i, near, row in zip(range(len(rows)), similarities, rows, strict=True)
        for s, j in zip(near, row, strict=True)
        if s >= duplicate and i < j
    ]
    return LabelIssues(
        [(row, names[code], share) for row, code, share in mislabelled],
        sorted(pairs, key=lambda pair: -pair[2]),
        [(names[a], names[b], share) for a, b, share in confusions(classes, rows)],
        [names[int(code)] for code in lost(classes, rows)],
    )


def doubted(classes, similarities, rows, agreement):
    """Returns (row, other class, its share of the votes) of doubted labels, most doubted first."""
    votes = np.maximum(similarities, 0)
    found = []
    for row, (near, weights) in enumerate(zip(classes[rows], votes, strict=True)):
        share = np.bincount(near, weights)
        best = int(share.argmax())
        part = share[best] / max(weights.sum(), 1e-12)
        if best != classes[row] and part >= agreement:
            found.append((row, best, min(float(part), 1.0)))
    return sorted(found, key=lambda item: -item[2])


def confusions(classes, rows):
    """Returns (class, class, share) of pairs of classes by how often one's nearest is the other."""
    sizes = np.bincount(classes)
    own, other = classes, classes[rows[:, 0]]
    wrong = own != other
    pairs = np.sort(np.stack([own[wrong], other[wrong]], axis=1), axis=1)
    if not len(pairs):
        return []
    pairs, counts = np.unique(pairs, axis=0, return_counts=True)
    shares = counts / (sizes[pairs[:, 0]] + sizes[pairs[:, 1]])
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -shares))
    return [(int(pairs[i, 0]), int(pairs[i, 1]), float(shares[i])) for i in order]


def lost(classes, rows):
    """Returns the classes of several images none of which has its nearest within the class."""
    sizes = np.bincount(classes)
    hits = np.bincount(classes, classes[rows[:, 0]] == classes)
    return np.flatnonzero((sizes > 1) & (hits == 0))

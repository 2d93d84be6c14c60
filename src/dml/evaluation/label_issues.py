"""Wrong labels, near-duplicates and confused classes, found from embeddings."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml._options import check_integer, check_interval, check_within
from dml.errors import ArrayError
from dml.evaluation._arrays import checked_embeddings, checked_labels, codes
from dml.evaluation._neighbours import TIE, nearest_others, rounding


class Mislabelled(NamedTuple):
    """An image whose label is in doubt.

    Args:
        row: Its row.
        suggestion: The label of most of its nearest neighbours.
        agreement: The share of the votes for that label, in (0, 1].
    """

    row: int
    suggestion: Hashable
    agreement: float


class Duplicate(NamedTuple):
    """Two images so similar that they may be one.

    Args:
        row: The row of one.
        other: The row of the other, above `row`.
        similarity: Their cosine similarity.
    """

    row: int
    other: int
    similarity: float


class Confusion(NamedTuple):
    """Two classes whose images are near each other.

    Args:
        label: The label of one.
        other: The label of the other.
        share: The share of the images of both whose nearest neighbour is in the other class, in (0,
            1].
    """

    label: Hashable
    other: Hashable
    share: float


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """Issues to review, worst first. Rows are those of the embeddings.

    Args:
        mislabelled: Images whose nearest neighbours, weighted by similarity, mostly belong to
            another class.
        duplicates: Pairs of near-duplicates.
        confused: Pairs of classes that are each other's nearest neighbours.
        never_found: Labels of classes in which no image has its nearest neighbour in the class.
    """

    mislabelled: list[Mislabelled]
    duplicates: list[Duplicate]
    confused: list[Confusion]
    never_found: list[Hashable]


def find_label_issues(
    embeddings: ArrayLike,
    labels: Labels,
    neighbours: int = 10,
    agreement: float = 0.8,
    duplicate: float = 0.999,
) -> LabelIssues:
    """Finds labels that are probably wrong, near-duplicates and classes that are confused.

    Args:
        embeddings: Numbers (N, D), of any length: of images that the encoder was not trained on,
            because it would have learned their wrong labels.
        labels: N labels of any hashable type, in any array-like.
        neighbours: Nearest images that vote on the label of each; positive.
        agreement: Share of the votes for another class from which a label is reported; in (0, 1].
        duplicate: Cosine similarity from which two images are reported as near-duplicates, to the
            precision of float32; in [-1, 1]. A pair is found if one is among the nearest
            `neighbours` of the other: of many copies of an image, not every pair is.

    Returns:
        `LabelIssues`.

    Raises:
        ArrayError: An array is of the wrong shape, a row is not finite, or there is one row only.
        OptionError: An option is out of its range.

    Example:
        >>> x = [[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [0.2, 1]]
        >>> found = find_label_issues(x, ["cat", "cat", "dog", "dog", "dog", "dog"], neighbours=2)
        >>> found.mislabelled[0].row, found.mislabelled[0].suggestion
        (2, 'cat')
    """
    vectors = checked_embeddings(embeddings, "embeddings")
    names_of = checked_labels(labels, len(vectors), "labels")
    (classes,) = codes(names_of)
    check_integer(1, neighbours=neighbours)
    check_interval("(0, 1]", agreement=agreement)
    check_within(-1, 1, duplicate=duplicate)
    if len(vectors) < 2:
        raise ArrayError("embeddings must have at least two rows")
    names = {int(code): label for code, label in zip(classes, names_of.tolist(), strict=True)}
    similarities, rows = nearest_others(vectors, min(neighbours, len(vectors) - 1))
    return LabelIssues(
        [
            Mislabelled(row, names[code], share)
            for row, code, share in _doubted(classes, similarities, rows, agreement)
        ],
        _duplicates(similarities, rows, duplicate - TIE - rounding(vectors)),
        [Confusion(names[a], names[b], share) for a, b, share in _confusions(classes, rows)],
        [names[int(code)] for code in _unretrieved(classes, rows)],
    )


def _duplicates(similarities, rows, least):
    """Returns the pairs that the list of one of the two holds, the most similar first."""
    found: dict[tuple[int, int], float] = {}
    for row, place in np.argwhere(similarities >= least).tolist():
        other = int(rows[row, place])
        pair = min(row, other), max(row, other)
        found[pair] = max(float(similarities[row, place]), found.get(pair, -1.0))
    pairs = [Duplicate(*pair, similarity) for pair, similarity in found.items()]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.row, pair.other))


def _doubted(classes, similarities, rows, agreement):
    """Returns (row, other class, its share of the votes) of doubtful labels, worst first."""
    votes = np.maximum(similarities, 0)
    found = []
    for row, (near, weights) in enumerate(zip(classes[rows], votes, strict=True)):
        voted, place = np.unique(near, return_inverse=True)
        share = np.bincount(place, weights)
        best = int(share.argmax())
        part = share[best] / max(weights.sum(), 1e-12)
        if voted[best] != classes[row] and part >= agreement:
            found.append((row, int(voted[best]), min(float(part), 1.0)))
    return sorted(found, key=lambda item: -item[2])


def _confusions(classes, rows):
    """Returns (class, class, share) of pairs of classes near each other, worst first."""
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


def _unretrieved(classes, rows):
    """Returns the classes of several images, none of which has its nearest within the class."""
    sizes = np.bincount(classes)
    hits = np.bincount(classes, classes[rows[:, 0]] == classes)
    return np.flatnonzero((sizes > 1) & (hits == 0))

"""Accuracy of simple classifiers on embeddings: linear and k-nearest-neighbour probes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml._options import is_integer
from dml.errors import ArrayError, OptionError
from dml.evaluation._arrays import checked_embeddings, checked_labels, shared_codes
from dml.evaluation._neighbours import (
    BLOCK,
    SHORTEST,
    TIE,
    nearest,
    rank_positives,
    rounding,
)
from dml.evaluation._relevance import Relevance, SameCode
from dml.evaluation._scores import Scores

_INVERSE_PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # weak, since unit vectors have small entries
_FOLDS = 5
_BLOCK_BYTES = 16 << 20  # of the votes of a block of queries


@dataclass(frozen=True)
class LinearEvaluation:
    """Accuracies on the test images, in [0, 1].

    Args:
        accuracy: Accuracy of the linear classifier.
        nearest_accuracy: Accuracy of the class of the nearest training image; ties count against
            the model.
        inverse_penalty: The inverse of the L2 penalty (C in scikit-learn), chosen by
            cross-validation on the training images.
    """

    accuracy: float
    nearest_accuracy: float
    inverse_penalty: float

    def metrics(self) -> dict[str, dict[str, float]]:
        """Returns {name: {"value": accuracy}}."""
        return {
            "linear accuracy": {"value": self.accuracy},
            "1-NN accuracy": {"value": self.nearest_accuracy},
        }


def linear_evaluation(
    embeddings: ArrayLike, labels: Labels, test_embeddings: ArrayLike, test_labels: Labels
) -> LinearEvaluation:
    """Fits a multinomial logistic regression to unit embeddings and scores it on test images.

    Its L2 penalty is chosen by cross-validation on the training images alone, of the classes that
    have two or more (5 folds, or as many as the smallest of them has images). Classes must be the
    same on both sides: the `seen-class` protocol.

    Args:
        embeddings: Numbers (N, D) to fit on.
        labels: N labels of any hashable type, in any array-like; of at least 2 classes there are
            2 images or more.
        test_embeddings: Numbers (M, D).
        test_labels: M labels.

    Returns:
        A `LinearEvaluation`.

    Raises:
        ArrayError: An array is of the wrong shape, a row is not finite, fewer than 2 classes
            have 2 images, or no class is on both sides.

    Example:
        >>> x = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> labels = ["cat", "cat", "dog", "dog"]
        >>> linear_evaluation(x, labels, x, labels).accuracy
        1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    train, train_codes, test, test_codes = _checked(
        embeddings, labels, test_embeddings, test_labels
    )
    counts = np.bincount(train_codes)
    several = counts[train_codes] > 1
    if (counts > 1).sum() < 2:
        raise ArrayError(
            "linear evaluation needs 2 training images of each of 2 classes; "
            f"got {(counts > 1).sum()} such classes of {(counts > 0).sum()}"
        )
    smallest = int(counts[counts > 1].min())
    folds = StratifiedKFold(min(_FOLDS, smallest), shuffle=True, random_state=0)

    def classifier(c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=500)

    scores = [
        cross_val_score(classifier(c), train[several], train_codes[several], cv=folds).mean()
        for c in _INVERSE_PENALTIES
    ]
    best = _INVERSE_PENALTIES[int(np.argmax(scores))]
    accuracy = classifier(best).fit(train, train_codes).score(test, test_codes)
    ranks = rank_positives(test, train, Relevance(SameCode(test_codes, train_codes)), Scores((1,)))
    return LinearEvaluation(float(accuracy), float((ranks.first == 1).mean()), best)


def knn_evaluation(
    embeddings: ArrayLike,
    labels: Labels,
    test_embeddings: ArrayLike,
    test_labels: Labels,
    ks: Sequence[int] = (1, 5, 20),
) -> dict[int, float]:
    """Classifies test images by the weighted votes of their nearest training images.

    The weight of a vote is the cosine similarity, or 0 where that is negative. Ties count against
    the model: a test image is right if its class alone has the most votes, whichever of the
    training images that are as near as the k-th, to within 1e-6, vote. Classes must be the same on
    both sides: the `seen-class` protocol.

    Args:
        embeddings: Numbers (N, D) of the training images, which vote.
        labels: N labels of any hashable type, in any array-like.
        test_embeddings: Numbers (M, D).
        test_labels: M labels.
        ks: Numbers of nearest images that vote; each in [1, N].

    Returns:
        {k: accuracy, in [0, 1]}.

    Raises:
        ArrayError: An array is of the wrong shape, a row is not finite, or no class is on both
            sides.
        OptionError: One of `ks` is out of its range.

    Example:
        >>> x = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]
        >>> knn_evaluation(x, ["cat", "cat", "dog"], [[1.0, 0.2]], ["cat"], ks=(1, 3))
        {1: 1.0, 3: 1.0}
    """
    train, train_codes, test, test_codes = _checked(
        embeddings, labels, test_embeddings, test_labels
    )
    if not len(ks) or not all(is_integer(k) and 1 <= k <= len(train) for k in ks):
        raise OptionError("ks", f"must be integers in [1, {len(train)}]; got {tuple(ks)}")
    ks = [int(k) for k in ks]
    depth = min(max(max(ks) + 1, SHORTEST), len(train))
    block = int(np.clip(_BLOCK_BYTES // (128 * depth), 1, BLOCK))
    margin = TIE + 2 * rounding(test)
    hits = dict.fromkeys(ks, 0)
    for start in range(0, len(test), block):
        wanted = test_codes[start : start + block]
        similarities, found = nearest(test[start : start + block], train, depth)
        voters = train_codes[found]
        for k in ks:
            right = _wins(similarities, voters, wanted, k, margin)
            # Where more ties may follow. They can't make a wrong answer right.
            cut = right & (similarities[:, -1] >= similarities[:, k - 1] - margin)
            for row in np.flatnonzero(cut & (depth < len(train))):
                every = train @ test[start + row]
                right[row] = _wins_among_all(every, train_codes, wanted[row], k, margin)
            hits[k] += int(right.sum())
    return {k: hits[k] / len(test) for k in ks}


def _wins(similarities, voters, wanted, k, margin):
    """Returns for which queries (Q,) the wanted class wins, whichever of the ties vote.

    The nearest vote that are nearer than the k-th by more than the margin. The other seats are
    taken from the ties: against a rival by as many of the rival's as there are, and by those of the
    wanted class only where no others are left.

    Args:
        similarities: Float32 (Q, L), falling along each row; L at least k.
        voters: Integers (Q, L): the classes.
        wanted: Integers (Q,): the class of each query.
        k: Number of votes; positive.
        margin: Similarities that differ by at most this are ties.
    """
    queries = np.arange(len(wanted))
    last = similarities[:, k - 1 : k]
    sure = similarities > last + margin
    tied = ~sure & (similarities >= last - margin)
    seats, weight = k - sure.sum(axis=1), np.maximum(last[:, 0], 0).astype("float64")
    # The votes and the ties of each class among a query's neighbours.
    classes = int(voters.max()) + 1
    pairs, place = np.unique(queries[:, None] * classes + voters, return_inverse=True)
    query, own = pairs // classes, pairs % classes == wanted[pairs // classes]
    votes = np.bincount(place.ravel(), (np.maximum(similarities, 0) * sure).ravel())
    ties = np.bincount(place.ravel(), tied.ravel())
    mine, my_ties = np.zeros((2, len(queries)))
    mine[query[own]], my_ties[query[own]] = votes[own], ties[own]
    mine += np.maximum(seats - (tied.sum(axis=1) - my_ties), 0) * weight
    best = np.zeros(len(queries))
    rivals = votes + np.minimum(ties, seats[query]) * weight[query]
    np.maximum.at(best, query[~own], rivals[~own])
    return best < mine * (1 - TIE)


def _wins_among_all(similarities, voters, wanted, k, margin):
    """Returns whether one query's class wins, as `_wins`, by its similarities (N,), not sorted."""
    last = np.partition(similarities, -k)[-k]
    near = np.flatnonzero(similarities >= last - margin)
    near = near[np.argsort(-similarities[near])]
    return _wins(similarities[None, near], voters[None, near], wanted[None], k, margin)[0]


def _checked(embeddings, labels, test_embeddings, test_labels):
    """Returns the checked embeddings and label codes of the training and of the test images."""
    train = checked_embeddings(embeddings, "embeddings")
    test = checked_embeddings(test_embeddings, "test_embeddings")
    if train.shape[1] != test.shape[1]:
        raise ArrayError(
            f"embeddings have {train.shape[1]} dimensions, test_embeddings {test.shape[1]}: embed "
            "both with the same model"
        )
    train_codes, test_codes = shared_codes(
        checked_labels(labels, len(train), "labels"),
        checked_labels(test_labels, len(test), "test_labels"),
        "labels",
        "test_labels",
    )
    return train, train_codes, test, test_codes

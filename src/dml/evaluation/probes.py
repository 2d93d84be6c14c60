"""Accuracy of simple classifiers on embeddings: linear and k-nearest-neighbour probes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml.errors import ArrayError, OptionError
from dml.evaluation._arrays import checked_embeddings, checked_labels, shared_codes
from dml.evaluation._neighbours import BLOCK, TIE, nearest, rank_positives
from dml.evaluation._relevance import Relevance, SameCode
from dml.evaluation._scores import Scores

_INVERSE_PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # weak, since unit vectors have small entries
_FOLDS = 5


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

    The weight of a vote is the cosine similarity, or 0 where that is negative. Tied votes count
    against the model. Classes must be the same on both sides: the `seen-class` protocol.

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
    if not ks or min(ks) < 1 or max(ks) > len(train):
        raise OptionError("ks", f"must be in [1, {len(train)}]; got {tuple(ks)}")
    hits = {k: 0 for k in ks}
    for start in range(0, len(test), BLOCK):
        wanted = test_codes[start : start + BLOCK]
        similarities, found = nearest(test[start : start + BLOCK], train, max(ks))
        voters, votes = train_codes[found], np.maximum(similarities, 0).astype("float64")
        for k in ks:
            hits[k] += int((_winners(voters[:, :k], votes[:, :k]) == wanted).sum())
    return {k: hits[k] / len(test) for k in ks}


def _winners(voters, votes):
    """Returns the class (Q,) with the most votes of (Q, k); -1 on a tie, or without any vote."""
    # For each voter, the votes for its class.
    totals = np.einsum("qij,qj->qi", voters[:, :, None] == voters[:, None, :], votes)
    best = totals.max(axis=1, keepdims=True)
    leads = totals >= best * (1 - TIE)
    first = np.take_along_axis(voters, leads.argmax(axis=1)[:, None], axis=1)
    alone = (~leads | (voters == first)).all(axis=1) & (best[:, 0] > 0)
    return np.where(alone, first[:, 0], -1)


def _checked(embeddings, labels, test_embeddings, test_labels):
    """Returns the checked embeddings and label codes of the training and of the test images."""
    train = checked_embeddings(embeddings, "embeddings")
    test = checked_embeddings(test_embeddings, "test_embeddings")
    train_codes, test_codes = shared_codes(
        checked_labels(labels, len(train), "labels"),
        checked_labels(test_labels, len(test), "test_labels"),
        "labels",
        "test_labels",
    )
    return train, train_codes, test, test_codes

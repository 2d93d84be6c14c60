"""How well a simple classifier names images from their embeddings."""

from dataclasses import dataclass

import numpy as np

from dml.evaluation.arrays import checked_embeddings, checked_labels, codes
from dml.evaluation.neighbours import nearest

INVERSE_PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # unit vectors want weak regularisation
FOLDS = 5


@dataclass(frozen=True)
class LinearEvaluation:
    """Accuracies on the test images, in [0, 1].

    Args:
        accuracy: Of the linear classifier.
        nearest_accuracy: Of the class of the nearest training image.
        inverse_penalty: The C that cross-validation on the training images chose.
    """

    accuracy: float
    nearest_accuracy: float
    inverse_penalty: float

    def figures(self):
        """Returns {name: {"value"}}."""
        return {
            "linear accuracy": {"value": self.accuracy},
            "1-NN accuracy": {"value": self.nearest_accuracy},
        }


def linear_evaluation(embeddings, labels, test_embeddings, test_labels):
    """Fits a multinomial logistic regression to unit embeddings and scores it on test images.

    Its L2 penalty is chosen by cross-validation on the training images alone (5 folds, or as many
    as the smallest class has images). Classes must be the same on both sides: the `seen-class`
    protocol.

    Args:
        embeddings: Numbers (N, D) to fit on.
        labels: N labels of any hashable type, of at least 2 classes.
        test_embeddings: Numbers (M, D).
        test_labels: M labels.

    Returns:
        A `LinearEvaluation`.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite, there is one class
            only, or one has a single image.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    train = checked_embeddings(embeddings, "embeddings")
    test = checked_embeddings(test_embeddings, "test_embeddings")
    train_codes, test_codes = codes(
        checked_labels(labels, len(train), "labels"),
        checked_labels(test_labels, len(test), "test_labels"),
    )
    counts = np.bincount(train_codes)
    counts = counts[counts > 0]
    if len(counts) < 2 or counts.min() < 2:
        raise ValueError(
            "linear evaluation needs at least 2 classes and 2 training images of each; "
            f"got {len(counts)} classes, the smallest of {counts.min()}"
        )
    folds = StratifiedKFold(min(FOLDS, int(counts.min())), shuffle=True, random_state=0)

    def classifier(c):
        return LogisticRegression(C=c, max_iter=500)

    scores = [
        cross_val_score(classifier(c), train, train_codes, cv=folds).mean()
        for c in INVERSE_PENALTIES
    ]
    best = INVERSE_PENALTIES[int(np.argmax(scores))]
    accuracy = classifier(best).fit(train, train_codes).score(test, test_codes)
    _, found = nearest(test, train, 1)
    return LinearEvaluation(
        float(accuracy), float((train_codes[found[:, 0]] == test_codes).mean()), best
    )

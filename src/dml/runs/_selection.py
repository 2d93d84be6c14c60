"""Chooses among candidates by their validation scores, and interpolates weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dml._processes import from_first
from dml._text import number_of
from dml.evaluation import retrieval

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the trained weights, next to those before the training
MIDDLE = 0.5


@dataclass(frozen=True, eq=False)
class Scores:
    """Which validation queries find their class at once.

    Args:
        hits: Floats (Q,): 1 where the nearest other image is of the query's class, otherwise 0.
        classes: Integers (Q,): the class of each query; with several labels, `Retrieval.groups`.
    """

    hits: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(
        cls, vectors: np.ndarray, labels: np.ndarray, left_out: np.ndarray | None = None
    ) -> "Scores":
        """Returns the scores of images that search each other.

        Args:
            vectors: Floats (N, D).
            labels: Class codes (N,), or sets of labels.
            left_out: Keys (N,), as `dml.datasets.Items.left_out_keys` gives them.
        """

        def scores():
            result = retrieval(vectors, labels, ks=(1,), exclude=left_out)
            return cls(result.per_query["R@1"], result.groups)

        return from_first(scores)

    @property
    def recall(self) -> float:
        """R@1, in [0, 1]."""
        return float(self.hits.mean())

    def difference(self, other: "Scores") -> tuple[float, float]:
        """Returns how much higher R@1 is than another's, and the standard error of that.

        The error is of paired differences, whose classes are drawn at random (the clustered
        standard error with G / (G - 1), as of the mean in a survey of G clusters).
        """
        gaps = self.hits - other.hits
        mean = gaps.mean()
        codes, members = np.unique(self.classes, return_inverse=True)
        totals = np.bincount(members, gaps - mean)
        count = len(codes)
        if count < 2:
            return float(mean), float("inf")
        variance = count / (count - 1) * np.square(totals).sum() / len(gaps) ** 2
        return float(mean), float(np.sqrt(variance))


class CandidateName(StrEnum):
    """The stage that an encoder comes from, the simplest first."""

    START = "before training"  # the embedding layer as it was initialised
    HEAD = "head"
    FINE_TUNED = "fine-tuned"
    SECOND = "second"  # fine-tuning


@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoder that a training may end with.

    Args:
        name: The stage that it comes from.
        share: Share of the fine-tuned weights, between the ones before and after fine-tuning; None
            for candidates that are not interpolated.
        values: The values of the encoder's variables; empty if no longer needed.
        scores: Its scores on the validation split.
    """

    name: CandidateName
    share: float | None
    values: Sequence[np.ndarray]
    scores: Scores


@dataclass(frozen=True)
class ChosenTraining:
    """What the validation of a training chose, so that it can be repeated.

    Args:
        name: As for a `Candidate`.
        share: Share of the weights of the last fine-tuning.
        first_share: Share of the weights of the first fine-tuning, from which the second starts.
        head_epochs: Epochs of the head stage.
        epochs: Epochs of fine-tuning.
        second_epochs: Epochs of the second fine-tuning.
    """

    name: CandidateName
    share: float = 1.0
    first_share: float = 1.0
    head_epochs: int = 0
    epochs: int = 0
    second_epochs: int = 0

    @property
    def is_fine_tuned(self) -> bool:
        """Whether the weights of the whole encoder were trained."""
        return self.name in (CandidateName.FINE_TUNED, CandidateName.SECOND)

    def __str__(self):
        parts = []
        if self.head_epochs:
            parts.append(f"{number_of(self.head_epochs, 'epoch')} of the head")
        if self.is_fine_tuned:
            parts.append(_way(self.epochs, self.first_share))
        if self.name == CandidateName.SECOND:
            parts.append(_way(self.second_epochs, self.share))
        return ", ".join(parts) or "the frozen network"


def _way(epochs: int, share: float) -> str:
    return f"{number_of(epochs, 'epoch')} and {100 * share:g} % of the way"


def most_accurate(candidates: Sequence[Candidate]) -> Candidate:
    """Returns the interpolated candidate with the highest R@1; of equals the nearest to the middle.

    Args:
        candidates: Those of one training, with their shares.
    """

    def rank(candidate):
        assert candidate.share is not None
        return candidate.scores.recall, -abs(candidate.share - MIDDLE), -candidate.share

    return max(candidates, key=rank)


def simplest_within_error(candidates: Sequence[Candidate]) -> Candidate:
    """Returns the simplest candidate that is within one standard error of the best (Breiman et al.,
    1984, sec. 3.4.3).

    Args:
        candidates: The simplest first.
    """
    best = max(candidates, key=lambda candidate: candidate.scores.recall)

    def is_close(candidate):
        gap, error = best.scores.difference(candidate.scores)
        return candidate is best or gap <= error

    return next(filter(is_close, candidates))

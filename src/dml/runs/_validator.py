"""Measures the encoders of a training on its validation split."""

from typing import Any

import numpy as np

from dml.datasets import Items
from dml.recipe import EvaluationOptions
from dml.reporting import Reporter
from dml.runs._measuring import embed
from dml.runs._selection import Scores


class Validator:
    """Measures encoders on a validation split, whose images search each other.

    Args:
        items: The validation split.
        options: Those of the evaluation.
        threads: Threads that read images; None for one per processor, at most 16.
        reporter: Shows the progress.
    """

    def __init__(
        self, items: Items, options: EvaluationOptions, threads: int | None, reporter: Reporter
    ):
        self.items = items
        self._left_out = items.left_out_keys(options.exclude)
        self._batch_size = options.batch_size
        self._threads = threads
        self._reporter = reporter

    def vectors(self, encoder: Any) -> np.ndarray:
        """Returns an encoder's embeddings (N, D) of the images."""
        paths, title = self.items.paths, "validating"
        return embed(encoder, paths, self._batch_size, self._threads, title, self._reporter)

    def scores(self, vectors: np.ndarray) -> Scores:
        """Returns the scores of the images' vectors (N, D), of any length."""
        return Scores.of(vectors, self.items.search_labels, self._left_out)

    def recall(self, vectors: np.ndarray) -> float:
        """Returns R@1 of the images' vectors (N, D)."""
        return self.scores(vectors).recall

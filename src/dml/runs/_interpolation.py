"""Weights of an encoder between those before and after a fine-tuning."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dml.datasets import Items
from dml.recipe import TrainingOptions
from dml.runs._fitting import Stage

if TYPE_CHECKING:
    from dml.training._statistics import StatisticsEstimator

MOST_STATISTICS_IMAGES = 2_048  # from which statistics of batch normalisation are estimated


class Interpolation:
    """Interpolates the weights of an encoder, as a recipe says.

    Args:
        options: Those of the training.
        batch_size: Images from which statistics are estimated at once.
        encoder: The encoder whose variables take the values; only their paths are read.
        training_items: The training split.
    """

    def __init__(
        self, options: TrainingOptions, batch_size: int, encoder: Any, training_items: Items
    ):
        self._options = options
        self._batch_size = batch_size
        self._encoder = encoder
        self._paths = training_items.paths
        self._estimators: dict[int, StatisticsEstimator] = {}  # one for each encoder, compiled once

    def ends(self, stage: Stage) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the values of the encoder's variables before and after a fine-tuning."""
        from dml.training._checkpoint import Checkpoint, to_numpy

        after = [to_numpy(variable) for variable in stage.kept]
        return self.comparable(Checkpoint(stage.folder).read_start(stage.kept), after), after

    def comparable(
        self, before: Sequence[np.ndarray], after: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Returns the values of an encoder that can be interpolated with those of another.

        They differ for LoRA: the other factor starts at 0, so that between the ends the merged
        kernel is linear in it alone where both ends share this one.
        """
        shared = [v.path.endswith("lora_kernel_a") for v in self._encoder.variables]
        return [a if keep else b for keep, a, b in zip(shared, after, before, strict=True)]

    def between(
        self,
        stage: Stage,
        before: Sequence[np.ndarray],
        after: Sequence[np.ndarray],
        share: float,
    ) -> list[np.ndarray]:
        """Returns the values of the encoder's variables between those before and after.

        Statistics of batch normalisation are estimated for them, if the recipe says so and the
        stage has changed any. The weights of the stage's encoder then change.

        Args:
            stage: The fine-tuning.
            before: Values before it.
            after: Values after it.
            share: The share of `after`, in [0, 1].
        """
        values = interpolated(before, after, share)
        if self._options.interpolate_batch_norm != "estimate" or share in (0.0, 1.0):
            return values
        from dml.training._checkpoint import to_numpy
        from dml.training._statistics import StatisticsEstimator, plain_batches

        encoder = stage.learner.encoder
        if id(encoder) not in self._estimators:
            self._estimators[id(encoder)] = StatisticsEstimator(encoder)
        estimator = self._estimators[id(encoder)]
        if not estimator.layers:
            return values
        options, paths = self._options, self._paths
        drawn = np.random.default_rng(options.seed).permutation(len(paths))
        batches = plain_batches(
            encoder,
            paths[drawn[:MOST_STATISTICS_IMAGES]],
            self._batch_size,
            options.threads,
            skip=options.unreadable == "skip",
        )
        assign(encoder.variables, values)
        estimator.estimate(batches)
        return [to_numpy(variable) for variable in encoder.variables]


def interpolated(
    before: Sequence[np.ndarray], after: Sequence[np.ndarray], share: float
) -> list[np.ndarray]:
    """Returns the values of variables between two states of an encoder.

    Args:
        before: Values before the training.
        after: Values after it. What is not a float, such as a random state, is taken from here.
        share: The share of `after`, in [0, 1].
    """
    return [
        ((1.0 - share) * a.astype("float64") + share * b).astype(b.dtype)
        if np.issubdtype(b.dtype, np.floating)
        else b
        for a, b in zip(before, after, strict=True)
    ]


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Assigns values to variables."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)

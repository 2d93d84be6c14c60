"""The exponential average of a model's weights over the steps of a training."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from dml.backbones._freezing import changing_weights


class WeightAverage(keras.layers.Layer):
    """Averages the weights of a model, its statistics included, over the steps of a training.

    The average starts at the weights before the first step. After step t it moves towards the
    weights by 1 - min(decay, (1 + t) / (10 + t)): at first it follows them closely, so that the
    initial weights are soon forgotten (`tf.train.ExponentialMovingAverage` with `num_updates`).

    Args:
        model: The model whose weights are averaged.
        decay: In (0, 1).
    """

    def __init__(self, model: Any, decay: float):
        super().__init__(trainable=False, dtype="float32", name="average")
        self.decay = decay
        self._averaged = _Unowned(changing_weights(model))
        self.steps = self.add_weight(
            name="steps", initializer="zeros", dtype="int32", trainable=False
        )
        self.averages = [
            self.add_weight(
                name=f"average_{i}",
                shape=w.shape,
                initializer="zeros",
                dtype=w.dtype,
                trainable=False,
            )
            for i, w in enumerate(self._averaged.weights)
        ]
        self.built = True

    def start(self):
        """Sets the average to the weights, unless steps have been taken."""
        if not self._has_steps():
            for average, weight in self.pairs():
                average.assign(_values(weight))

    def update(self):
        """Moves the average towards the weights, after a step."""
        self.steps.assign(self.steps + 1)
        t = ops.cast(self.steps, "float32")
        rate = 1.0 - ops.minimum(self.decay, (1.0 + t) / (10.0 + t))
        for average, weight in self.pairs():
            # Weights that stay keep their average to the bit.
            difference = ops.stop_gradient(weight.value) - average.value
            average.assign(average.value + ops.cast(rate, average.dtype) * difference)

    def adopt(self):
        """Sets the model's weights to their average, if steps have been taken."""
        if self._has_steps():
            for average, weight in self.pairs():
                weight.assign(_values(average))

    @contextlib.contextmanager
    def adopted(self) -> Iterator[None]:
        """Sets the model's weights to their average, and to their own values afterwards."""
        own = [_values(weight) for _, weight in self.pairs()]
        self.adopt()
        try:
            yield
        finally:
            for value, (_, weight) in zip(own, self.pairs(), strict=True):
                weight.assign(value)

    def _has_steps(self):
        return int(ops.convert_to_numpy(self.steps.value)) > 0

    def pairs(self):
        """Returns the pairs of average and weight."""
        return zip(self.averages, self._averaged.weights, strict=True)


class _Unowned:
    """Holds weights that belong to another layer, so that Keras does not track them here."""

    def __init__(self, weights):
        self.weights = weights


def _values(variable):
    """Returns a copy of a variable's values as an array, which shares no memory with it."""
    return np.array(ops.convert_to_numpy(variable.value))

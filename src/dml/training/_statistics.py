"""Statistics of batch normalisation, estimated for given weights (Izmailov et al., UAI 2018)."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from dml._devices import for_all_images
from dml.encoding._interface import preparation_of
from dml.encoding._layers import FrozenStatistics
from dml.encoding._squares import read_squares
from dml.images import ImageError


class StatisticsEstimator:
    """Estimates the statistics of a model's batch normalisation for its present weights.

    The moving means and variances become the averages of those of batches that pass through the
    model as in training, as stochastic weight averaging does it at its end (Izmailov et al., 2018,
    https://arxiv.org/abs/1803.05407, sec. 3.2). All batches count the same. Statistics that a
    training does not change stay as they are.

    Args:
        model: A Keras model.
    """

    def __init__(self, model: Any):
        self.layers = moving_normalisations(model)
        self._in_training = _InTraining(model)

    def estimate(self, batches: Iterable[np.ndarray]) -> None:
        """Sets the statistics to those of batches of the model's input; at least one."""
        statistics = [
            v for layer in self.layers for v in (layer.moving_mean, layer.moving_variance)
        ]
        averages, count = [np.zeros(v.shape) for v in statistics], 0
        with _without_memory(self.layers):
            for count, batch in enumerate(batches, start=1):
                self._in_training.predict_on_batch(batch)
                for average, variable in zip(averages, statistics, strict=True):
                    average += (_values(variable) - average) / count
        assert count, "statistics of no batch"
        for average, variable in zip(averages, statistics, strict=True):
            variable.assign(average.astype("float32"))


def moving_normalisations(model: Any, whole: bool = False) -> list[keras.layers.BatchNormalization]:
    """Returns the layers of a model whose statistics a training changes.

    Args:
        model: A Keras model.
        whole: Whether to count those that are frozen by `backbone.batch_norm` alone, too, which a
            second stage may train.
    """
    frozen = {
        id(inside)
        for layer in model._flatten_layers()
        if isinstance(layer, FrozenStatistics) and not whole
        for inside in layer._flatten_layers()
    }
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and id(layer) not in frozen
    ]


def plain_batches(
    encoder: Any,
    paths: Sequence[str] | np.ndarray,
    batch_size: int,
    threads: int | None,
    skip: bool,
) -> Iterator[np.ndarray]:
    """Yields batches of images as an encoder takes them in evaluation; only full ones, if any are.

    Args:
        encoder: A model of `dml.build_encoder`.
        paths: The paths of the images, in the order of the batches; at least one.
        batch_size: Images in a batch.
        threads: Threads that read images.
        skip: Whether to leave out unreadable images.

    Raises:
        ImageError: An image can't be read.
    """
    batch, is_first = [], True
    for image in read_squares(paths, preparation_of(encoder), threads, ahead=2 * batch_size):
        if isinstance(image, ImageError):
            if skip:
                continue
            raise image
        batch.append(image)
        if len(batch) == batch_size:
            yield np.stack(batch)
            batch, is_first = [], False
    if batch and is_first:
        yield np.stack(batch)


class _InTraining(keras.Model):
    """Runs a model as in training, compiled and without gradients by `predict_on_batch`."""

    def __init__(self, model):
        super().__init__(name="in_training")
        self.model = model

    def call(self, inputs):
        return for_all_images(self.model(inputs, training=True))


@contextlib.contextmanager
def _without_memory(layers) -> Iterator[None]:
    """Lets statistics be those of the last batch alone, inside a `with` block."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _values(variable):
    return keras.ops.convert_to_numpy(variable.value).astype("float64")

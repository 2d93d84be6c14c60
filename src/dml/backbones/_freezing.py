"""Which weights of a model a training changes."""

from collections.abc import Iterable
from typing import Any

import keras


def freeze(model: Any, weights: Iterable[keras.Variable]) -> None:
    """Makes weights of a model constant; their BatchNormalization uses and keeps its statistics.

    Args:
        model: A Keras model.
        weights: Some of its weights. One is enough for its BatchNormalization to be frozen.
    """
    frozen = {id(weight) for weight in weights}
    for layer in model._flatten_layers():
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        if is_norm and not frozen.isdisjoint(map(id, layer.weights)):
            layer.trainable = False
    for weight in model.weights:
        if id(weight) in frozen:
            weight.trainable = False


def changing_weights(model: Any) -> list[keras.Variable]:
    """Returns the weights of a model that a training changes: learned ones and statistics."""
    found = {}
    for layer in model._flatten_layers():
        learned = [w for w in layer._trainable_variables if w.trainable]
        statistics = layer._non_trainable_variables if layer.trainable else []
        found.update((id(w), w) for w in [*learned, *statistics] if "float" in w.dtype)
    return list(found.values())

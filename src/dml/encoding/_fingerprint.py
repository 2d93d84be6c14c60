"""The digest of a Keras model's architecture and weights."""

import hashlib
import json
from typing import Any

import keras
import numpy as np

_NAMES = {"name", "keras_history", "input_layers", "output_layers"}  # where layers are named
_NO_EFFECT = {"trainable", "build_config", "compile_config", "shared_object_id"}  # on the output


def fingerprint(model: Any) -> str:
    """Returns the SHA-256 of what a model computes in inference: its architecture and weights.

    The names of layers, which Keras counts up in each process, and whether they are trainable do
    not count.

    Args:
        model: A Keras model that can be saved.
    """
    names = dict.fromkeys(layer.name for layer in model._flatten_layers())
    numbered = {name: f"layer {number}" for number, name in enumerate(names)}
    config = _renamed(json.loads(model.to_json()), numbered)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for weight in model.weights:
        value = np.asarray(keras.ops.convert_to_numpy(weight.value))
        digest.update(str((str(value.dtype), value.shape)).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _renamed(value, numbered, named=False):
    """Returns a configuration whose layers have numbers for names.

    Args:
        value: A value of JSON.
        numbered: Name -> number.
        named: Whether texts in it are names of layers.
    """
    if isinstance(value, dict):
        return {
            key: _renamed(part, numbered, named or key in _NAMES)
            for key, part in value.items()
            if key not in _NO_EFFECT
        }
    if isinstance(value, list):
        return [_renamed(part, numbered, named) for part in value]
    return numbered.get(value, value) if named and isinstance(value, str) else value

"""Loads a learner that was saved."""

import os
from typing import Any

# These register the layers and the optimizers of saved learners.
import dml.encoding.encoder
import dml.training.optimizers  # noqa: F401
from dml.backbones._weights import load_model
from dml.errors import DataError
from dml.training.learner import Learner


def load_learner(path: str | os.PathLike[str]) -> Learner:
    """Loads a learner that `Learner.save` or `keras.callbacks.ModelCheckpoint` has written.

    It continues with the state of its optimizer, on any backend. Your own losses, layers and
    optimizers must be registered (`keras.saving.register_keras_serializable`) and imported before.

    Args:
        path: The `.keras` file.

    Raises:
        DataError: The file is damaged, or holds no learner, or a class in it is not registered.

    Example:
        >>> encoder = dml.build_encoder(dml.backbones.Conv4(input_size=16, resize_side=16))
        >>> learner = dml.Learner(encoder, dml.losses.ProxyAnchor(), classes=4)
        >>> learner.compile()
        >>> learner.save("learner.keras")
        >>> dml.load_learner("learner.keras").classes
        4
    """
    learner: Any = load_model(path, "a learner", compiled=True)
    if not isinstance(learner, Learner):
        raise DataError(path, "holds no learner; for an encoder: dml.load_encoder")
    return learner

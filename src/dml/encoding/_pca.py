"""An embedding layer that starts as the principal components of the features."""

from typing import Any

import keras
import numpy as np

from dml._processes import from_first
from dml.encoding._stages import embedding_input, embedding_layer
from dml.errors import ArrayError

_SMALLEST = 1e-6  # relative to the largest variance: smaller ones are noise, never magnified


def set_principal_components(encoder: Any, features: np.ndarray, whiten: bool = False) -> None:
    """Sets the weights of an encoder's embedding layer to principal components.

    Without whitening, cosine similarities are those of the features where there are as many
    dimensions as features, and close to them otherwise.

    Args:
        encoder: A model of `dml.build_encoder` with an embedding layer.
        features: Pooled features (N, C) of training images, as its `feature_encoder` returns them.
        whiten: Whether to scale each component to the same variance.

    Raises:
        ArrayError: There are no features, or they are not finite.
    """
    features = keras.ops.convert_to_numpy(embedding_input(encoder, features))
    layer = embedding_layer(encoder)
    kernel = from_first(lambda: principal_components(features, layer.units, whiten))
    layer.set_weights([kernel, np.zeros(layer.units, "float32")])


def principal_components(features: np.ndarray, dim: int, whiten: bool = False) -> np.ndarray:
    """Returns the principal directions of features as columns, float32 (C, dim).

    The directions are those of the second moments around zero, because the cosine similarities that
    they are to keep depend on the origin. A few images span a few directions only: those of other
    images are kept by further columns, drawn at random from the rest of the space, and longer where
    they are fewer than it has dimensions, so that similarities are right on average (Johnson and
    Lindenstrauss, 1984). With whitening these are zero, since nothing is known of their scale.
    Columns beyond C are zero.

    Args:
        features: Floats (N, C).
        dim: Number of columns; positive.
        whiten: Whether to scale each column so that the projections have the same mean square.

    Raises:
        ArrayError: There are no features, or they are not finite.
    """
    features = np.asarray(features, "float64")
    if not len(features) or not np.isfinite(features).all():
        raise ArrayError(f"features must be finite and not empty; got shape {features.shape}")
    moments, directions = np.linalg.eigh(features.T @ features / len(features))
    moments, directions = moments[::-1], directions[:, ::-1]
    rank = int((moments > _SMALLEST * max(moments[0], np.finfo("float64").tiny)).sum())
    if whiten:
        rank = min(rank, dim)
        scale = 1 / np.sqrt(moments[:rank])
        scale *= np.sqrt(rank / np.square(scale).sum())  # columns of length 1 on average
        directions = directions[:, :rank] * scale
    else:
        directions = _completed(directions[:, :rank], dim)
    # The sign of a direction is arbitrary: the largest entry is made positive, on any machine.
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])]
    directions = (directions * np.where(largest < 0, -1.0, 1.0))[:, :dim]
    columns = np.zeros((features.shape[1], dim), "float32")
    columns[:, : directions.shape[1]] = directions
    return columns


def _completed(directions: np.ndarray, dim: int) -> np.ndarray:
    """Returns orthonormal columns (C, r) with others, up to `dim` or C, that are orthogonal, too.

    They are the same on any machine.
    """
    size, rank = directions.shape
    count = min(dim, size) - rank
    if count <= 0:
        return directions
    drawn = np.random.default_rng(0).normal(size=(size, count))
    drawn -= directions @ (directions.T @ drawn)
    others = np.linalg.qr(drawn).Q * np.sqrt((size - rank) / count)
    return np.concatenate([directions, others], axis=1)

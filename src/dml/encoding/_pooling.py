"""Pooling: from a backbone's feature map, or class token and patches, to one vector."""

from collections.abc import Callable
from typing import Any

from keras import layers

from dml.encoding._layers import GeneralisedMean
from dml.errors import OptionError


def _average_and_max(grid):
    return layers.Add()([layers.GlobalAveragePooling2D()(grid), layers.GlobalMaxPooling2D()(grid)])


_OF_GRID: dict[str, Callable[[Any], Any]] = {
    "average": lambda grid: layers.GlobalAveragePooling2D()(grid),
    "max": lambda grid: layers.GlobalMaxPooling2D()(grid),
    "average+max": _average_and_max,
    "gem": lambda grid: GeneralisedMean(name="gem")(grid),
}
POOLINGS = ("auto", "cls", "cls+average", *_OF_GRID)


def pooled(features: Any, pooling: str) -> Any:
    """Returns the pooled features (B, C) of what a backbone returns; (B, 2 C) for `cls+average`.

    Args:
        features: A feature map (B, h, w, C), a vector (B, C), or the list of a class token (B, C)
            and a map of patches (B, h, w, C).
        pooling: One of `POOLINGS`.

    Raises:
        OptionError: The backbone returns no class token, or no map, for this pooling.
    """
    vector, grid = _parts(features)
    if pooling == "auto":
        pooling = "average" if vector is None else "cls"
    if "cls" in pooling and vector is None:
        raise OptionError(
            "embedding.pooling",
            f"must be auto or one of {', '.join(_OF_GRID)}: this backbone has no class token; got "
            f"{pooling!r}",
        )
    if pooling == "cls":
        return vector
    if grid is None:
        raise OptionError(
            "embedding.pooling",
            f"must be auto or cls: this backbone returns one vector, without a map; got "
            f"{pooling!r}",
        )
    if pooling == "cls+average":
        return layers.Concatenate(name="cls_and_average")([vector, _OF_GRID["average"](grid)])
    return _OF_GRID[pooling](grid)


def _parts(features):
    """Returns the class token or vector, and the map; None for what a backbone does not return."""
    parts = features if isinstance(features, (list, tuple)) else [features]
    ranks = [len(part.shape) for part in parts]
    if ranks not in ([4], [2], [2, 4]):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise OptionError(
            "backbone",
            "must return a map (h, w, C), a vector (C), or a class token and a map of patches; "
            f"this one returns {shapes}",
        )
    return (None if ranks == [4] else parts[0]), (None if ranks == [2] else parts[-1])

"""Items of an index, in tables and one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dml._arrays import as_array, not_unit
from dml._options import check_integer
from dml._storage.columns import fitted, plain, typed
from dml.errors import ArrayError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

Item: TypeAlias = dict[str, Any]


def item_of(names: Iterable[str], values: Iterable[Any]) -> Item:
    """Returns the item with these field names and values."""
    return {name: plain(value) for name, value in zip(names, values, strict=True)}


def prepare_items(items: pd.DataFrame) -> pd.DataFrame:
    """Returns items with columns of the types that an index keeps (`dml._storage.columns`).

    Raises:
        ValueError: A column has another type, or ids are missing or not unique.
    """
    table = typed(items)
    if "id" not in table or bool(table["id"].isna().any()):
        raise ArrayError("each item must have an id")
    if table["id"].duplicated().any():
        raise ArrayError("ids must be unique")
    return fitted(table, dict.fromkeys(("id", "path", "label"), str), "items")


def as_vectors(values: ArrayLike, name: str) -> np.ndarray:
    """Returns arrays and tensors of any library as contiguous float32.

    Raises:
        ArrayError: They are not numbers.
    """
    array = as_array(values)
    if array.dtype.kind not in "fiu":
        raise ArrayError(f"{name} must be numbers; got {array.dtype}")
    return np.ascontiguousarray(array, "float32")


def check_unit(vectors: np.ndarray, name: str) -> None:
    """Raises ArrayError unless vectors (N, D) are finite and of length 1, or zero.

    Of another length, similarities would be no cosines, and long vectors the nearest to all.
    """
    if not np.isfinite(vectors).all():
        raise ArrayError(f"{name} must be finite numbers")
    if len(wrong := not_unit(vectors)):
        length = np.linalg.norm(vectors[wrong[0]].astype("float64"))
        raise ArrayError(
            f"{name} must be of length 1; that of row {wrong[0]} is {length:g}: divide each by its "
            "length"
        )


def check_vectors(vectors: np.ndarray, count: int, dimension: int) -> None:
    """Raises ArrayError unless vectors are finite, (count, dimension) and of length 1, or zero."""
    if vectors.shape != (count, dimension):
        raise ArrayError(f"vectors must be ({count}, {dimension}) numbers; got {vectors.shape}")
    check_unit(vectors, "vectors")


def check_sample(count: int, seed: int) -> None:
    """Raises OptionError for options of `Index.sample` that are out of range."""
    check_integer(1, count=count)
    check_integer(0, seed=seed)


def check_page(offset: int, limit: int) -> None:
    """Raises OptionError for options of `Index.page` that are out of range."""
    check_integer(0, offset=offset)
    check_integer(1, limit=limit)


def with_older(items: pd.DataFrame, older: pd.DataFrame) -> pd.DataFrame:
    """Returns items that take missing values from the items that they replace.

    Args:
        items: As `prepare_items` returns them.
        older: The items that are replaced, with all columns of `items`, in any order.
    """
    if not len(older):
        return items
    row_of = {id: row for row, id in enumerate(older["id"])}
    rows = np.array([row_of.get(id, -1) for id in items["id"]])
    items = items.copy()
    for name in items:
        take = (rows >= 0) & items[name].isna().to_numpy()
        if take.any():
            items.loc[take, name] = older[name].iloc[rows[take]].array
    return items


def spread(labels: Any, count: int, seed: int) -> np.ndarray:
    """Returns the positions of labels, int64 (at most count,): one of each label comes first.

    Args:
        labels: N, None for none.
        count: Number of positions; positive.
        seed: Not negative.
    """
    import pandas as pd

    labels = np.asarray(labels, object)
    order = np.random.default_rng(seed).permutation(len(labels))
    codes = pd.factorize(labels[order], use_na_sentinel=False)[0]
    by_label = np.argsort(codes, kind="stable")
    first = np.searchsorted(codes[by_label], codes[by_label])
    turn = np.empty(len(labels), "int64")  # how many with the same label precede each
    turn[by_label] = np.arange(len(labels)) - first
    return order[np.argsort(turn, kind="stable")[:count]]

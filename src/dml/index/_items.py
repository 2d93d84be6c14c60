"""Items of an index, in tables and one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dml._storage.columns import fitted, plain, typed
from dml.errors import ArrayError

if TYPE_CHECKING:
    import pandas as pd

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


def check_vectors(vectors: np.ndarray, count: int, dimension: int) -> None:
    """Raises ArrayError unless vectors are finite numbers (count, dimension)."""
    if vectors.shape != (count, dimension):
        raise ArrayError(f"vectors must be ({count}, {dimension}) numbers; got {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ArrayError("vectors must be finite numbers")


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

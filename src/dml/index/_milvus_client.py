"""The connection to Milvus: addresses, errors, and reading and writing rows."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from dml.errors import DataError, StorageError
from dml.index._filters import always, literal
from dml.index._items import item_of
from dml.index._milvus_schema import NAME

if TYPE_CHECKING:
    import pandas as pd

COLLECTION = "dml"
PORT = 19530
TIMEOUT_SECONDS = 30
BATCH = 1000  # rows sent at once; Milvus messages have at most 64 MiB
QUERIES = 100  # queries sent at once
LONGEST_MESSAGE = 500  # characters of an error of Milvus
STRONG = {"consistency_level": "Strong"}  # a search sees what was added before it
ALL_ROWS = always(True)


def parse_location(location: str) -> tuple[str, str]:
    """Returns Milvus's own address and the collection's name.

    Raises:
        DataError: `location` does not name a collection.
    """
    if is_file(location):
        return location, COLLECTION
    parts = urlsplit(location)
    name = parts.path.strip("/") or COLLECTION
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host = port = None
    if not host or not NAME.fullmatch(name) or parts.username:
        raise DataError(
            location,
            "write it like milvus://HOST:19530/COLLECTION, the collection of letters, digits and "
            "underscores; a token goes into the variable MILVUS_TOKEN",
        )
    return f"http://{f'[{host}]' if ':' in host else host}:{port}", name


def is_file(location: str) -> bool:
    """Returns whether a location is a file of milvus-lite."""
    return location.endswith(".db")


def connect(address: str) -> Any:
    """Returns a `pymilvus.MilvusClient`."""
    for name in ("pymilvus", "milvus_lite", "grpc._server"):  # errors are reported once, by us
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    from pymilvus import MilvusClient

    return MilvusClient(address, token=os.environ.get("MILVUS_TOKEN", ""), timeout=TIMEOUT_SECONDS)


@contextlib.contextmanager
def milvus_errors(location: str) -> Iterator[None]:
    """Turns Milvus's errors into a StorageError of one line that names the location."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        text = getattr(error, "message", None) or str(error)
        if "Open local milvus failed" in text:
            text += ": it is damaged, or another process has it open"
        text = " ".join(str(text).split())[:LONGEST_MESSAGE]
        raise StorageError(f"{location}: Milvus reports: {text}") from None


class Collection:
    """The rows of a Milvus collection. Errors of Milvus become a `StorageError`.

    Args:
        location: As `open_index` takes it, for messages.
        client: A `pymilvus.MilvusClient`.
        name: The collection's name.
    """

    def __init__(self, location: str, client: Any, name: str):
        self.location = location
        self.client = client
        self.name = name

    def describe(self) -> dict[str, Any]:
        """Returns the collection as Milvus describes it."""
        with milvus_errors(self.location):
            return self.client.describe_collection(self.name)

    def count(self, condition: str = "") -> int:
        """Returns how many rows meet a condition."""
        with milvus_errors(self.location):
            found = self.client.query(
                self.name, filter=condition, output_fields=["count(*)"], **STRONG
            )
        return int(found[0]["count(*)"])

    def query(self, condition: str, fields: Sequence[str], **limits: int) -> list[dict[str, Any]]:
        """Returns some fields of the first rows that meet a condition.

        Args:
            condition: A Milvus expression.
            fields: Their names.
            limits: `offset` and `limit`, as Milvus takes them.
        """
        with milvus_errors(self.location):
            return self.client.query(
                self.name, filter=condition, output_fields=list(fields), **limits, **STRONG
            )

    def rows(self, condition: str, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yields some fields of all rows that meet a condition."""
        with milvus_errors(self.location):
            reader = self.client.query_iterator(
                self.name, filter=condition, output_fields=list(fields), batch_size=BATCH, **STRONG
            )
            try:
                while some := reader.next():
                    yield from some
            finally:
                reader.close()

    def rows_of(
        self, field: str, values: Sequence[str], fields: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """Yields some fields of the rows in which a field has one of some values."""
        for start in range(0, len(values), BATCH):
            yield from self.rows(condition_in(field, values[start : start + BATCH]), fields)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        parameters: dict[str, Any],
        condition: str = "",
        fields: Sequence[str] = (),
    ) -> list[list[dict[str, Any]]]:
        """Returns Milvus's hits of each query, nearest first.

        Args:
            queries: Float32 (Q, D).
            k: Neighbours wanted.
            parameters: Milvus's search parameters.
            condition: A Milvus expression; "" for all rows.
            fields: The fields of the hits' rows.
        """
        result = []
        with milvus_errors(self.location):
            for start in range(0, len(queries), QUERIES):
                result += self.client.search(
                    self.name,
                    list(queries[start : start + QUERIES]),
                    filter=condition,
                    limit=k,
                    output_fields=list(fields),
                    search_params=parameters,
                    **STRONG,
                )
        return result

    def upsert(self, items: pd.DataFrame, vectors: np.ndarray) -> None:
        """Writes rows, as of `prepare_items`; those whose id is there replace the older ones."""
        vectors = np.ascontiguousarray(vectors, "float32")
        names = list(items)
        for start in range(0, len(items), BATCH):
            columns = [items[name].iloc[start : start + BATCH].array for name in names]
            rows = [item_of(names, values) for values in zip(*columns, strict=True)]
            for row, vector in zip(rows, vectors[start : start + BATCH], strict=True):
                row["vector"] = vector
            with milvus_errors(self.location):
                self.client.upsert(self.name, rows)

    def delete(self, ids: Sequence[str]) -> None:
        """Removes the rows of some ids."""
        for start in range(0, len(ids), BATCH):
            condition = condition_in("id", ids[start : start + BATCH])
            with milvus_errors(self.location):
                self.client.delete(self.name, filter=condition)


def condition_in(field: str, values: Iterable[str]) -> str:
    """Returns the Milvus expression for a field that has one of some values."""
    return f"{field} in [{', '.join(map(literal, values))}]"

"""The schema of an index in Milvus: the fields and the properties of its collection."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dml._storage.columns import kinds_of
from dml.errors import DataError
from dml.index._kinds import HnswSearch, Recall, SearchParameters

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2
PROPERTY = "dml"  # of the collection
KINDS = {"auto": "AUTOINDEX", "flat": "FLAT", "hnsw": "HNSW"}
BUILD = {"hnsw": {"M": 32, "efConstruction": 80}}
TYPES = {bool: "BOOL", int: "INT64", float: "DOUBLE", str: "VARCHAR"}
LONGEST_ID = 4096  # bytes
LONGEST_TEXT = 65_535  # bytes; the most that Milvus takes
UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')  # in an id: pymilvus's iterator does not quote them
NAME = re.compile(r"[A-Za-z_]\w{0,254}", re.ASCII)


@dataclass(frozen=True)
class CollectionInfo:
    """The metadata of a collection, kept in its properties.

    Args:
        encoder: SHA-256 of the encoder that computed the vectors.
        dimension: Length of a vector.
        kind: One of `KINDS`.
        parameters: The search parameters.
        recall: The recall that they reach.
    """

    encoder: str
    dimension: int
    kind: str
    parameters: SearchParameters
    recall: Recall

    def to_properties(self) -> dict[str, str]:
        """Returns the properties of the collection."""
        value = {
            "schema": SCHEMA,
            "encoder": self.encoder,
            "dimension": self.dimension,
            "kind": self.kind,
            "search": self.parameters.to_json(),
            "recall": dataclasses.asdict(self.recall),
        }
        return {PROPERTY: json.dumps(value)}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], location: str) -> CollectionInfo:
        """Returns what `to_properties` returned.

        Raises:
            DataError: The properties are not those of an index, or were written by another version
                of dml.
        """
        if PROPERTY not in properties:
            raise DataError(location, "this collection is not written by dml")
        hint = "build the index again"
        try:
            value = json.loads(properties[PROPERTY])
            if (found := value["schema"]) == SCHEMA:
                parameters = HnswSearch if value["kind"] == "hnsw" else SearchParameters
                return cls(
                    value["encoder"],
                    value["dimension"],
                    value["kind"],
                    parameters.from_json(value["search"]),
                    Recall(**value["recall"]),
                )
        except (KeyError, TypeError, ValueError):
            raise DataError(
                location, f"damaged: the property {PROPERTY!r} is not what dml writes; {hint}"
            ) from None
        raise DataError(
            location, f"of another version of dml: its schema is {found!r}, not {SCHEMA}; {hint}"
        )


def collection_schema(items: pd.DataFrame, dimension: int, kind: str) -> tuple[Any, Any]:
    """Returns Milvus's schema, with a field for each column, and the parameters of its index."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=LONGEST_ID)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    for column, python in kinds_of(items).items():
        if column == "id":
            continue
        longest = {"max_length": LONGEST_TEXT} if python is str else {}
        schema.add_field(column, DataType[TYPES[python]], nullable=True, **longest)
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index(
        "vector", index_type=KINDS[kind], metric_type="IP", params=BUILD.get(kind, {})
    )
    return schema, indexes


def field_types(described: Mapping[str, Any]) -> dict[str, type]:
    """Returns field -> Python type, of a collection as Milvus describes it."""
    python = {name: kind for kind, name in TYPES.items()}
    fields = described["fields"]
    return {f["name"]: python[f["type"].name] for f in fields if f["name"] != "vector"}


def check_names(items: pd.DataFrame) -> None:
    """Raises DataError if Milvus does not allow a column's name for a field."""
    for column in items:
        if not NAME.fullmatch(column):
            raise DataError(
                f"column {column!r}",
                "Milvus has no field of this name: rename the column, with letters, digits and "
                "underscores",
            )


def check_texts(items: pd.DataFrame) -> None:
    """Raises DataError if a text is too long for Milvus, or an id has invalid characters."""
    for column in items:
        if items[column].dtype != object:
            continue
        longest = LONGEST_ID if column == "id" else LONGEST_TEXT
        for text in items[column].dropna():
            if column == "id" and UNSAFE.search(text):
                raise DataError(
                    f"id {text!r}",
                    "an id in Milvus has no quotes, backslashes or control characters. Give a list "
                    "of images with an id column",
                )
            if len(text.encode()) > longest:
                raise DataError(f"{column} {text[:40]!r}...", f"is longer than {longest:,} bytes")

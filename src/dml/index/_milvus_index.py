"""An index in a Milvus collection, if one machine is too small, or in a milvus-lite file."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dml._arrays import not_unit
from dml._storage.columns import fitted, typed
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError, MissingDataError, OccupiedError, OptionError, UnknownNameError
from dml.index._filters import literal, milvus_filter
from dml.index._interface import Index, IndexInfo, Neighbour, check_recall
from dml.index._items import (
    as_vectors,
    check_page,
    check_sample,
    check_vectors,
    item_of,
    prepare_items,
    spread,
    with_older,
)
from dml.index._kinds import CODED_KINDS, HnswSearch, Recall, SearchParameters, held_out_count, tune
from dml.index._milvus_client import (
    ALL_ROWS,
    BATCH,
    Collection,
    condition_in,
    connect,
    is_file,
    milvus_errors,
    parse_location,
)
from dml.index._milvus_schema import (
    KINDS,
    UNSAFE,
    CollectionInfo,
    check_names,
    check_texts,
    collection_schema,
    field_types,
)

MOST_READ = 16_384  # the most rows that Milvus returns at once


class MilvusIndex(Index):
    """Finds the nearest of the vectors in a Milvus collection.

    The collection holds vectors and items; searching also needs the encoder's bundle. Each batch of
    an addition is written completely or not at all; repeating an interrupted addition completes it.
    A token is read from the environment variable `MILVUS_TOKEN`.

    Args:
        collection: The rows.
        described: The collection, as Milvus describes it.
    """

    def __init__(self, collection: Collection, described: dict[str, Any]):
        self.collection = collection
        self._properties = described.get("properties", {})
        self._about = CollectionInfo.from_properties(self._properties, self.location)
        self._field_types = field_types(described)

    @classmethod
    def open(cls, location: str) -> MilvusIndex:
        """Opens an index.

        Args:
            location: `milvus://HOST[:PORT][/COLLECTION]` or a `.db` of milvus-lite.

        Raises:
            MissingDataError: There is no such collection.
            DataError: It was not written by dml.
            StorageError: Milvus does not answer.
        """
        location = str(location)
        address, name = parse_location(location)
        if is_file(location) and not Path(location).exists():
            raise _missing(location)
        with milvus_errors(location):
            client = connect(address)
            if not client.has_collection(name):
                raise _missing(location)
            described = client.describe_collection(name)
            client.load_collection(name)
        return cls(Collection(location, client, name), described)

    @classmethod
    def build(
        cls,
        location: str,
        encoder: OnnxEncoder,
        items: pd.DataFrame,
        vectors: np.ndarray,
        kind: str = "auto",
        recall: float = 0.95,
    ) -> MilvusIndex:
        """Writes a new collection under another name, and renames it when it is whole.

        Args:
            location: As `open` takes it.
            encoder: The encoder that computed the vectors.
            items: A pandas DataFrame with `id`, `path`, `label` and your own fields.
            vectors: Float32 (N, D), of unit length.
            kind: `auto` (Milvus chooses), `flat` or `hnsw`.
            recall: Target recall, the share of the true nearest 10 that are found; in (0, 1].

        Raises:
            OccupiedError: There is such a collection.
            OptionError: An option is out of its range.
            ValueError: Items or vectors can't be stored in Milvus.
            StorageError: Milvus does not answer.
        """
        location = str(location)
        items = cls.check_build(items, kind, recall)
        vectors = as_vectors(vectors, "vectors")
        check_vectors(vectors, len(items), encoder.dimension)
        address, name = parse_location(location)
        with milvus_errors(location):
            client = connect(address)
            if client.has_collection(name):
                raise OccupiedError(
                    location, "already exists: remove it or choose another collection"
                )
            drop_abandoned(client, name)
            temporary = Collection(location, client, f"{building_prefix(name)}{os.getpid()}")
            try:
                _write(temporary, encoder, items, vectors, kind, recall)
                client.rename_collection(temporary.name, name)
            except BaseException:
                with contextlib.suppress(Exception):  # the first error is the one to report
                    client.drop_collection(temporary.name)
                raise
        return cls.open(location)

    @staticmethod
    def check_build(items: pd.DataFrame, kind: str = "auto", recall: float = 0.95) -> pd.DataFrame:
        """Returns items as `build` stores them.

        Raises:
            ValueError: As for `build`.
        """
        if kind not in KINDS:
            raise OptionError("kind", f"in Milvus must be one of {', '.join(KINDS)}; got {kind!r}")
        check_recall(recall)
        items = prepare_items(items)
        check_names(items)
        check_texts(items)
        return items

    @property
    def location(self) -> str:
        return self.collection.location

    @property
    def dimension(self) -> int:
        return self._about.dimension

    @property
    def encoder_sha256(self) -> str:
        return self._about.encoder

    @property
    def field_types(self) -> dict[str, type]:
        return self._field_types

    def __len__(self):
        return self.collection.count()

    def encoder(self, bundle=None, threads=None):
        if bundle is None:
            raise OptionError(
                "bundle", f"is needed to search {self.location}: Milvus keeps no encoder"
            )
        encoder = OnnxEncoder(bundle, threads)
        self.check_encoder(encoder)
        return encoder

    def _condition(self, where):
        """Returns a filter as a Milvus expression."""
        return "" if where is None else milvus_filter(where, self.field_types)

    def _search(self, queries, k, where):
        condition = self._condition(where)
        parameters = milvus_parameters(self._about.parameters, k)
        result = self.collection.search(queries, k, parameters, condition, self.fields)
        if any(len(hits) < k for hits in result):  # the walk met too few of the filter's rows
            count = self.collection.count(condition)
            if min(map(len, result)) < min(k, count) and count <= MOST_READ:
                return self._exact(queries, k, condition)
        return [
            [
                Neighbour(float(hit["distance"]), self._item({"id": hit["id"]} | hit["entity"]))
                for hit in hits
            ]
            for hits in result
        ]

    def _exact(self, queries, k, condition):
        """Searches the rows that a condition keeps exhaustively."""
        rows = list(self.collection.rows(condition, [*self.fields, "vector"]))
        vectors = np.array([row["vector"] for row in rows], "float32")
        similarities = queries @ vectors.T
        nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return [
            [Neighbour(float(near[place]), self._item(rows[place])) for place in places.tolist()]
            for near, places in zip(similarities, nearest, strict=True)
        ]

    def _item(self, row):
        """Returns a row of Milvus as an item."""
        return item_of(self.field_types, (row.get(name) for name in self.field_types))

    def _row(self, id, fields):
        """Returns some fields of an item."""
        for known in _possible([str(id)]):
            for row in self.collection.query(f"id == {literal(known)}", fields):
                return row
        raise UnknownNameError(f"{self.location} has no item {id!r}")

    def item(self, id):
        return self._item(self._row(id, self.fields))

    def vector(self, id):
        return np.array(self._row(id, ["vector"])["vector"], "float32")

    def page(self, where=None, offset=0, limit=50):
        check_page(offset, limit)
        condition = self._condition(where)
        if offset + limit > MOST_READ:
            raise OptionError(
                "offset", f"+ limit must be at most {MOST_READ:,} in Milvus: give a filter"
            )
        rows = self.collection.query(condition, self.fields, offset=offset, limit=limit)
        return [self._item(row) for row in rows], self.collection.count(condition)

    def sample(self, where=None, count=24, seed=0):
        """Returns a sample of the first 16,384 such items: Milvus returns no more at once."""
        check_sample(count, seed)
        condition = self._condition(where)
        first = self.collection.query(condition or ALL_ROWS, ["label"], limit=MOST_READ)
        places = spread([row.get("label") for row in first], count, seed)
        chosen = [first[place]["id"] for place in places.tolist()]
        read = self.collection.rows_of("id", chosen, self.fields)
        rows = {row["id"]: row for row in read}
        items = [
            self._item(rows[id]) for id in chosen if id in rows
        ]  # others were removed meanwhile
        return items, self.collection.count(condition)

    def ids(self, where):
        return [row["id"] for row in self.collection.rows(self._condition(where), ["id"])]

    def ids_of(self, paths):
        ids, ambiguous = {}, set()
        for row in self.collection.rows_of("path", paths, ["id", "path"]):
            if ids.setdefault(row["path"], row["id"]) != row["id"]:
                ambiguous.add(row["path"])
        return {path: id for path, id in ids.items() if path not in ambiguous}

    def has_label(self, label):
        return self.collection.count(f"label == {literal(label)}") > 0

    def labelled(self, ids):
        rows = self.collection.rows_of("id", _possible(ids), ["id", "label"])
        return {row["id"] for row in rows if row.get("label") is not None}

    def _frame(self, rows):
        """Returns rows of Milvus as a table."""
        table = pd.DataFrame([[row.get(name) for name in self.fields] for row in rows])
        return fitted(typed(table.set_axis(self.fields, axis=1)), self.field_types, self.location)

    def labels(self, limit):
        """Returns labels of the first 16,384 items: Milvus can't list all without reading all."""
        rows = self.collection.query(ALL_ROWS, ["label"], limit=MOST_READ)
        return sorted({row["label"] for row in rows if row.get("label") is not None})[:limit]

    def changing(self):
        return contextlib.nullcontext()  # Milvus applies each batch atomically, from any client

    def prepare_items(self, items):
        items = super().prepare_items(items)
        check_texts(items)
        if unknown := [column for column in items if column not in self.field_types]:
            raise DataError(
                self.location,
                f"no field {unknown[0]!r}; it has {', '.join(self.fields)}. Build the index again "
                "to add one",
            )
        return items

    def _insert(self, items, vectors):
        replaced = 0
        for start in range(0, len(items), BATCH):
            some = items.iloc[start : start + BATCH].reset_index(drop=True)
            older = list(self.collection.rows(condition_in("id", some["id"]), self.fields))
            if older:
                some = with_older(some, self._frame(older))
            replaced += len(older)
            self.collection.upsert(some, vectors[start : start + BATCH])
        return replaced

    def _remove(self, ids):
        present = {row["id"] for row in self.collection.rows_of("id", _possible(ids), ["id"])}
        if unknown := [id for id in ids if id not in present]:
            raise UnknownNameError(f"{self.location} has no item {unknown[0]!r}")
        self.collection.delete(ids)

    def info(self):
        return IndexInfo(
            items=len(self),
            dimension=self.dimension,
            kind=self._about.kind,
            search_parameters=self._about.parameters,
            recall=self._about.recall,
            fields=tuple(self.fields),
            encoder=self.encoder_sha256,
        )

    def verify(self):
        """Checks that every vector is of length 1, as read from Milvus."""
        for row in self.collection.rows(ALL_ROWS, ["id", "vector"]):
            if len(not_unit(np.asarray([row["vector"]]))):
                raise DataError(self.location, f"the vector of {row['id']!r} is not of length 1")

    def reload_if_changed(self):
        """Returns None while the collection is the same: Milvus searches its current rows."""
        described = self.collection.describe()
        same = described.get("properties", {}) == self._properties
        if same and field_types(described) == self.field_types:
            return None
        return MilvusIndex.open(self.location)


def _write(collection, encoder, items, vectors, kind, recall):
    """Writes a collection: rows, indexes and metadata."""
    client, name = collection.client, collection.name
    schema, indexes = collection_schema(items, encoder.dimension, kind)
    client.create_collection(name, schema=schema, index_params=indexes)
    count = len(items)
    held = np.random.default_rng(0).choice(count, held_out_count(count), replace=False)
    held = np.sort(held)
    known = np.setdiff1d(np.arange(count), held)
    collection.upsert(items.iloc[known], vectors[known])
    client.load_collection(name)
    parameters, measured = measure(
        collection, kind, items["id"].iloc[known], vectors[known], vectors[held], recall
    )
    collection.upsert(items.iloc[held], vectors[held])
    about = CollectionInfo(encoder.sha256, encoder.dimension, kind, parameters, measured)
    client.alter_collection_properties(name, about.to_properties())


def measure(collection, kind, ids, known, queries, target):
    """Returns the fastest search parameters that reach a recall, and the recall measured."""
    if kind == "flat":
        return SearchParameters(), Recall(target)
    row_of = {id: row for row, id in enumerate(ids)}

    def search(queries, k, parameters):
        hits = collection.search(queries, k, milvus_parameters(parameters, k))
        return [[row_of[hit["id"]] for hit in near] for near in hits]

    grid = CODED_KINDS[kind].grid if kind in CODED_KINDS else (SearchParameters(),)
    return tune(grid, search, known, queries, target)


def milvus_parameters(parameters: SearchParameters, k: int) -> dict[str, Any]:
    """Returns search parameters as Milvus takes them."""
    if isinstance(parameters, HnswSearch):
        return {"params": {"ef": max(parameters.ef_search, k)}}
    return {}


def building_prefix(name: str) -> str:
    """Returns the prefix of the names of collections that this machine is building."""
    return f"{name}_building_{re.sub(r'[^A-Za-z0-9]', '_', socket.gethostname())}_"


def drop_abandoned(client: Any, name: str) -> None:
    """Removes collections that killed builds of this machine left behind."""
    for other in client.list_collections():
        process = other.removeprefix(building_prefix(name))
        if process.isdecimal() and not _is_running(int(process)):
            client.drop_collection(other)


def _is_running(process):
    """Returns whether a process of this machine is still there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


def _possible(ids):
    """Returns those of the ids that an item can have; Milvus may not read a query of others."""
    return [id for id in ids if isinstance(id, str) and not UNSAFE.search(id)]


def _missing(location):
    return MissingDataError(location, "not an index. `dml index build` creates one")

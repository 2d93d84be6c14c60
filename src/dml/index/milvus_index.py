"""An index in a Milvus collection, for what outgrows a machine; or in a file of milvus-lite."""

import contextlib
import json
import logging
import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from dml._storage.columns import fitted, kind_of, typed
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index.index import (
    Index,
    check_recall,
    check_vectors,
    checked_items,
    plain_item,
    spread,
    with_older,
)
from dml.index.kinds import EFFORTS, Effort, held_out, tuned, untuned
from dml.index.where import always, milvus_filter, spelled

KINDS = {"auto": "AUTOINDEX", "flat": "FLAT", "hnsw": "HNSW"}
BUILD = {"hnsw": {"M": 32, "efConstruction": 80}}
COLLECTION = "dml"
PORT = 19530
SECONDS = 30  # that an answer may take
BATCH = 1000  # rows sent at once; a message of Milvus has at most 64 MiB
QUERIES = 100  # queries sent at once
LONGEST_ID = 4096  # bytes
LONGEST_TEXT = 65_535  # bytes; the most that Milvus takes
MOST_READ = 16_384  # rows that Milvus gives at once
UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')  # in an id: pymilvus's iterator does not quote them
NAME = re.compile(r"[A-Za-z_]\w{0,254}", re.ASCII)


class MilvusIndex(Index):
    """Finds the nearest of the vectors in a Milvus collection.

    The collection holds vectors and items; the encoder's bundle is kept by who searches. Each
    batch of an addition is whole or not there; an addition that was stopped is finished by the
    same addition. A token is read from the variable `MILVUS_TOKEN`.

    Args:
        location: `milvus://HOST[:PORT][/COLLECTION]` or a `.db` of milvus-lite.

    Raises:
        FileNotFoundError: There is no such collection.
        ValueError: It is not written by dml.
        OSError: Milvus does not answer.
    """

    def __init__(self, location):
        self.location = str(location)
        address, self.collection = parsed(self.location)
        if is_file(self.location) and not Path(self.location).exists():
            raise missing(self.location)
        with milvus(self.location):
            self.client = connected(address)
            if not self.client.has_collection(self.collection):
                raise missing(self.location)
            described = self.client.describe_collection(self.collection)
            self.client.load_collection(self.collection)
        self.properties = described.get("properties", {})
        if "dml" not in self.properties:
            raise ValueError(f"{self.location}: this collection is not written by dml")
        self.about = json.loads(self.properties["dml"])
        self.encoder_sha256 = self.about["encoder"]
        self.dimension = self.about["dimension"]
        self.effort = Effort(**self.about["effort"])
        self.kinds = kinds_of(described)
        self.fields = list(self.kinds)

    @classmethod
    def build(cls, location, encoder, items, vectors, kind="auto", recall=0.95):
        """Writes a new collection under another name, and renames it when it is whole.

        Args:
            location: As the class takes it.
            encoder: The `OnnxEncoder` that the vectors are of.
            items: A frame with `id`, `path`, `label` and fields of your own.
            vectors: Float32 (N, D), of unit length.
            kind: `auto`, by which Milvus chooses, `flat` or `hnsw`.
            recall: Wanted share of the true nearest 10 that are found, in (0, 1].

        Raises:
            FileExistsError: There is such a collection.
            ValueError: An option is out of its range, or a field can't be kept in Milvus.
            OSError: Milvus does not answer.
        """
        items = cls.check_build(items, kind, recall)
        vectors = np.ascontiguousarray(vectors, "float32")
        check_vectors(vectors, len(items), encoder.dimension)
        address, name = parsed(str(location))
        temporary = f"{builders(name)}{os.getpid()}"
        with milvus(location):
            client = connected(address)
            if client.has_collection(name):
                raise FileExistsError(
                    f"{location} is there already: choose another collection, or remove it"
                )
            drop_abandoned(client, name)
            try:
                about = {"schema": 1, "encoder": encoder.sha256, "dimension": encoder.dimension}
                create(client, temporary, items, about["dimension"], kind)
                held = np.sort(
                    np.random.default_rng(0).choice(len(items), held_out(len(items)), replace=False)
                )
                known = np.setdiff1d(np.arange(len(items)), held)
                send(client, temporary, items.iloc[known], vectors[known])
                client.load_collection(temporary)
                effort, measured = measure(
                    client, temporary, kind, items["id"].iloc[known], vectors[known], vectors[held],
                    recall,
                )  # fmt: skip
                send(client, temporary, items.iloc[held], vectors[held])
                about |= {"kind": kind, "recall": measured, "effort": vars(effort)}
                client.alter_collection_properties(temporary, {"dml": json.dumps(about)})
                client.rename_collection(temporary, name)
            except BaseException:
                with contextlib.suppress(Exception):  # the first fault is the one to tell
                    client.drop_collection(temporary)
                raise
        return cls(location)

    @staticmethod
    def check_build(items, kind="auto", recall=0.95):
        """Returns items as `build` keeps them.

        Raises:
            ValueError: As of `build`.
        """
        if kind not in KINDS:
            raise ValueError(f"kind in Milvus must be one of {', '.join(KINDS)}; got {kind!r}")
        check_recall(recall)
        items = checked_items(items)
        check_names(items)
        check_texts(items)
        return items

    def __len__(self):
        return self.count("")

    def count(self, condition):
        with milvus(self.location):
            found = self.client.query(
                self.collection, filter=condition, output_fields=["count(*)"], **STRONG
            )
        return int(found[0]["count(*)"])

    def encoder(self, bundle=None, threads=None):
        if bundle is None:
            raise ValueError(f"{self.location}: Milvus keeps no encoder: give its --bundle")
        encoder = OnnxEncoder(bundle, threads)
        self.check_encoder(encoder)
        return encoder

    def condition(self, where):
        """Returns a filter in Milvus's words."""
        return "" if where is None else milvus_filter(where, self.kinds)

    def found(self, queries, k, where):
        condition = self.condition(where)
        result = []
        with milvus(self.location):
            for start in range(0, len(queries), QUERIES):
                result += self.client.search(
                    self.collection,
                    list(queries[start : start + QUERIES]),
                    filter=condition,
                    limit=k,
                    output_fields=self.fields,
                    search_params=parameters(self.about["kind"], self.effort, k),
                    **STRONG,
                )
        if any(len(hits) < k for hits in result):  # a walk that met too few of the filter's rows
            there = self.count(condition)
            if min(map(len, result)) < min(k, there) and there <= MOST_READ:
                return self.exact(queries, k, condition)
        return [
            [
                (float(hit["distance"]), self.plain({"id": hit["id"]} | hit["entity"]))
                for hit in hits
            ]
            for hits in result
        ]

    def exact(self, queries, k, condition):
        """Searches by comparing with each of the rows that a condition keeps."""
        rows = list(self.rows(condition, [*self.fields, "vector"]))
        vectors = np.array([row["vector"] for row in rows], "float32")
        similarities = queries @ vectors.T
        nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return [
            [(float(near[place]), self.plain(rows[place])) for place in places.tolist()]
            for near, places in zip(similarities, nearest, strict=True)
        ]

    def plain(self, row):
        """Returns a row of Milvus's as an item."""
        return plain_item(self.fields, (row.get(name) for name in self.fields))

    def row(self, id, fields):
        """Returns some fields of an item."""
        if UNSAFE.search(str(id)):  # no item has such an id, and Milvus may not read it
            raise KeyError(f"{self.location} has no item {id!r}")
        with milvus(self.location):
            found = self.client.query(
                self.collection, filter=f"id == {spelled(str(id))}", output_fields=fields, **STRONG
            )
        if not found:
            raise KeyError(f"{self.location} has no item {id!r}")
        return found[0]

    def item(self, id):
        return self.plain(self.row(id, self.fields))

    def vector(self, id):
        return np.array(self.row(id, ["vector"])["vector"], "float32")

    def page(self, where=None, offset=0, limit=50):
        condition = self.condition(where)
        if offset + limit > MOST_READ:
            raise ValueError(f"Milvus lists its first {MOST_READ:,} items only: give a filter")
        with milvus(self.location):
            rows = self.client.query(
                self.collection, filter=condition, output_fields=self.fields, offset=offset,
                limit=limit, **STRONG,
            )  # fmt: skip
        return [self.plain(row) for row in rows], self.count(condition)

    def sample(self, where=None, count=24, seed=0):
        """Returns a sample of the first 16,384 such items: Milvus gives no more at once."""
        condition = self.condition(where)
        with milvus(self.location):
            first = self.client.query(
                self.collection, filter=condition or always(True), output_fields=["label"],
                limit=MOST_READ, **STRONG,
            )  # fmt: skip
        places = spread([row.get("label") for row in first], count, seed)
        chosen = [first[place]["id"] for place in places.tolist()]
        names = ", ".join(map(spelled, chosen))
        rows = {row["id"]: row for row in self.rows(f"id in [{names}]", self.fields)}
        items = [self.plain(rows[id]) for id in chosen if id in rows]  # one may have gone meanwhile
        return items, self.count(condition)

    def ids(self, where):
        return [row["id"] for row in self.rows(self.condition(where), ["id"])]

    def ids_of(self, paths):
        ids, twice = {}, set()
        for start in range(0, len(paths), BATCH):
            names = ", ".join(map(spelled, paths[start : start + BATCH]))
            for row in self.rows(f"path in [{names}]", ["id", "path"]):
                if ids.setdefault(row["path"], row["id"]) != row["id"]:
                    twice.add(row["path"])
        return {path: id for path, id in ids.items() if path not in twice}

    def has_label(self, label):
        return self.count(f"label == {spelled(label)}") > 0

    def rows(self, condition, fields):
        """Yields the rows that a condition keeps."""
        with milvus(self.location):
            reader = self.client.query_iterator(
                self.collection, filter=condition, output_fields=fields, batch_size=BATCH, **STRONG
            )
            try:
                while some := reader.next():
                    yield from some
            finally:
                reader.close()

    def frame(self, rows):
        """Returns rows of Milvus's as a table."""
        import pandas as pd

        table = pd.DataFrame([[row.get(name) for name in self.fields] for row in rows])
        return fitted(typed(table.set_axis(self.fields, axis=1)), self.kinds, self.location)

    def labels(self, most):
        """Returns labels of its first items, sorted: Milvus can't list all without reading all."""
        with milvus(self.location):
            rows = self.client.query(
                self.collection, filter='id != ""', output_fields=["label"], limit=MOST_READ,
                **STRONG,
            )  # fmt: skip
        return sorted({row["label"] for row in rows if row.get("label") is not None})[:most]

    def changing(self):
        return contextlib.nullcontext()  # Milvus takes each batch whole, from whoever sends it

    def checked_items(self, items):
        items = super().checked_items(items)
        check_texts(items)
        if unknown := [column for column in items if column not in self.kinds]:
            raise ValueError(
                f"{self.location} has no field {unknown[0]!r}; it has {', '.join(self.kinds)}. "
                "Build the index again to add one"
            )
        return items

    def insert(self, items, vectors):
        replaced = 0
        for start in range(0, len(items), BATCH):
            some = items.iloc[start : start + BATCH].reset_index(drop=True)
            names = ", ".join(map(spelled, some["id"]))
            older = list(self.rows(f"id in [{names}]", self.fields))
            if older:
                some = with_older(some, self.frame(older))
            replaced += len(older)
            with milvus(self.location):
                send(self.client, self.collection, some, vectors[start : start + BATCH])
        return replaced

    def remove(self, ids):
        ids = list(dict.fromkeys(ids))
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            names = ", ".join(map(spelled, part))
            there = {row["id"] for row in self.rows(f"id in [{names}]", ["id"])}
            if missed := [id for id in part if id not in there]:
                raise KeyError(f"{self.location} has no item {missed[0]!r}")
        with milvus(self.location):
            for start in range(0, len(ids), BATCH):
                names = ", ".join(map(spelled, ids[start : start + BATCH]))
                self.client.delete(self.collection, filter=f"id in [{names}]")

    def info(self):
        recall = self.about["recall"]
        return {
            "items": len(self),
            "dimension": self.dimension,
            "kind": self.about["kind"],
            "effort": self.about["effort"],
            "recall_at_10": recall["measured"],
            "recall_wanted": recall["target"],
            "fields": self.fields,
            "encoder": self.encoder_sha256,
        }

    def verify(self):
        """Checks that every vector is of length 1, as read from Milvus."""
        for row in self.rows('id != ""', ["id", "vector"]):
            if not abs(np.linalg.norm(row["vector"]) - 1) < 1e-3:
                raise ValueError(f"{self.location}: the vector of {row['id']!r} is not of length 1")

    def renewed(self):
        """Returns None as long as it is the same collection: Milvus answers from what is there."""
        with milvus(self.location):
            described = self.client.describe_collection(self.collection)
        same = described.get("properties", {}) == self.properties
        return None if same and kinds_of(described) == self.kinds else MilvusIndex(self.location)


STRONG = {"consistency_level": "Strong"}  # a search sees what was added before it
TYPES = {bool: "BOOL", int: "INT64", float: "DOUBLE", str: "VARCHAR"}


def parsed(location):
    """Returns Milvus's own address and the collection's name.

    Raises:
        ValueError: The location is none of Milvus's.
    """
    if is_file(location):
        return location, COLLECTION
    parts = urlsplit(location)
    name = parts.path.strip("/") or COLLECTION
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host = None
    if not host or not NAME.fullmatch(name) or parts.username:
        raise ValueError(
            f"{location}: write it like milvus://HOST:19530/COLLECTION, the collection of letters, "
            "digits and underscores; a token goes into the variable MILVUS_TOKEN"
        )
    return f"http://{f'[{host}]' if ':' in host else host}:{port}", name


def is_file(location):
    return str(location).endswith(".db")


def missing(location):
    return FileNotFoundError(f"{location} is no index: `dml index build` makes one")


def connected(address):
    """Returns a client."""
    for name in ("pymilvus", "milvus_lite", "grpc._server"):  # faults are told once, by us
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    from pymilvus import MilvusClient

    return MilvusClient(address, token=os.environ.get("MILVUS_TOKEN", ""), timeout=SECONDS)


@contextlib.contextmanager
def milvus(location):
    """Turns Milvus's faults into an OSError of one line that names the location."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        text = getattr(error, "message", None) or str(error)
        if "Open local milvus failed" in text:
            text += ": it is damaged, or another process has it open"
        raise OSError(f"{location}: Milvus says: {' '.join(str(text).split())[:500]}") from None


def builders(name):
    """Returns how the names of collections begin that this machine is building."""
    return f"{name}_building_{re.sub(r'[^A-Za-z0-9]', '_', socket.gethostname())}_"


def drop_abandoned(client, name):
    """Removes what this machine's builds have left that were killed."""
    for other in client.list_collections():
        process = other.removeprefix(builders(name))
        if process.isdecimal() and not runs(int(process)):
            client.drop_collection(other)


def runs(process):
    """Returns whether a process of this machine is still there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def create(client, name, items, dimension, kind):
    """Makes an empty collection with a field for each column."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=LONGEST_ID)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    for column in items.columns:
        if column == "id":
            continue
        python = kind_of(items[column])
        longest = {"max_length": LONGEST_TEXT} if python is str else {}
        schema.add_field(column, DataType[TYPES[python]], nullable=True, **longest)
    indexes = client.prepare_index_params()
    indexes.add_index(
        "vector", index_type=KINDS[kind], metric_type="IP", params=BUILD.get(kind, {})
    )
    client.create_collection(name, schema=schema, index_params=indexes)


def kinds_of(described):
    """Returns field -> Python type, as Milvus describes a collection."""
    python = {name: kind for kind, name in TYPES.items()}
    fields = described["fields"]
    return {f["name"]: python[f["type"].name] for f in fields if f["name"] != "vector"}


def send(client, name, items, vectors):
    """Sends rows, as of `checked_items`; those whose id is there take the older's place."""
    vectors = np.ascontiguousarray(vectors, "float32")
    names = list(items)
    for start in range(0, len(items), BATCH):
        columns = [items[name].iloc[start : start + BATCH].array for name in names]
        rows = [plain_item(names, values) for values in zip(*columns, strict=True)]
        for row, vector in zip(rows, vectors[start : start + BATCH], strict=True):
            row["vector"] = vector
        client.upsert(name, rows)


def check_names(items):
    """Raises ValueError where Milvus can't have a field of a column's name."""
    for column in items:
        if not NAME.fullmatch(column):
            raise ValueError(
                f"Milvus has no field of the name {column!r}: rename the column, with letters, "
                "digits and underscores"
            )


def check_texts(items):
    """Raises ValueError where a text is longer than Milvus's, or an id is none of its ids."""
    for column in items:
        if items[column].dtype != object:
            continue
        longest = LONGEST_ID if column == "id" else LONGEST_TEXT
        for text in items[column].dropna():
            if column == "id" and UNSAFE.search(text):
                raise ValueError(
                    f"an id in Milvus has no quotes, backslashes or control characters: {text!r}. "
                    "Give a list of images with an id column"
                )
            if len(text.encode()) > longest:
                raise ValueError(f"{column} {text[:40]!r}... is longer than {longest:,} bytes")


def parameters(kind, effort, k):
    """Returns how far Milvus looks."""
    return {"params": {"ef": max(effort.breadth, k)}} if kind == "hnsw" else {}


def measure(client, name, kind, ids, known, queries, target):
    """Returns the least effort that reaches a recall, and what was measured of it."""
    if kind == "flat":
        return Effort(), untuned(target)
    row_of = {id: row for row, id in enumerate(ids)}

    def search(queries, k, effort):
        found = []
        for start in range(0, len(queries), QUERIES):
            found += client.search(
                name, list(queries[start : start + QUERIES]), limit=k,
                search_params=parameters(kind, effort, k), **STRONG,
            )  # fmt: skip
        return [[row_of[hit["id"]] for hit in hits] for hits in found]

    return tuned(EFFORTS.get(kind, [Effort()]), search, known, queries, target)

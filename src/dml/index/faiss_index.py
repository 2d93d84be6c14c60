"""An index in a folder: vectors, items and, for the larger ones, FAISS codes."""

import contextlib
import dataclasses
import difflib
import fcntl
import io
import shutil
import time

import numpy as np

from dml.folders import IndexFolder, atomic_path, new_folder
from dml.index.kinds import (
    KINDS,
    LEAST_TRAINED,
    Effort,
    build_codes,
    candidates,
    kind_for,
    rescored,
    tuned,
)
from dml.index.where import matching
from dml.onnx_encoder import OnnxEncoder
from dml.versions import installed_versions

EXACT = 20_000  # rows that a filter leaves, up to which they are compared one by one
BLOCK = 65_536  # rows compared at once where some are left out
REMOVED = 0.25  # share of removed rows from which on the index is built anew
RETRIES = 20


class FaissIndex:
    """Finds the nearest of the vectors that a folder keeps.

    The manifest names the files that belong together, with their SHA-256, and is replaced as the
    last step of a change: whatever stops a change, what is there before or after it is whole.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: A file is damaged, or the index was built by another encoder than its bundle's.
    """

    def __init__(self, path):
        self.folder = IndexFolder(path)
        for _ in range(RETRIES):  # a change may remove the files between the manifest and them
            self.manifest = self.folder.open()
            try:
                self.load()
                return
            except FileNotFoundError as error:
                fault = error
                if self.folder.open() == self.manifest:
                    break
                time.sleep(0.05)
        raise ValueError(f"{path}: {fault.filename or fault} is missing: the index is damaged")

    def load(self):
        """Reads what the manifest names."""
        import pandas as pd
        import pyarrow

        files = {name: self.folder.checked(entry) for name, entry in self.files.items()}
        self.dimension, self.kind = self.manifest["dimension"], self.manifest["kind"]
        self.effort = Effort(**self.manifest["effort"])
        count = self.manifest["rows"]
        shape = (count, self.dimension)
        self.vectors = (
            np.memmap(files["vectors"], "float32", "r", shape=shape)
            if count
            else np.empty(shape, "float32")
        )
        try:
            self.items = pd.read_parquet(files["items"])
        except pyarrow.ArrowException as error:
            raise ValueError(f"{files['items']}: damaged: {error}") from None
        self.present = ~self.items.pop("removed").to_numpy(bool)
        self.row_of = {self.items["id"][row]: row for row in np.flatnonzero(self.present)}
        self.codes = None
        if "codes" in files:
            import faiss

            self.codes = faiss.read_index(str(files["codes"]))

    @property
    def files(self):
        return self.manifest["files"]

    @classmethod
    def build(cls, path, encoder, items, vectors, kind="auto", recall=0.95):
        """Writes a new index and returns it.

        Args:
            path: The folder, which must not exist.
            encoder: The `OnnxEncoder` that the vectors are of; its bundle is copied.
            items: A frame with `id`, `path`, `label` and fields of your own.
            vectors: Float32 (N, D), of unit length.
            kind: One of `KINDS`, or `auto` by the number of rows.
            recall: Wanted share of the true nearest 10 that are found, in (0, 1].

        Raises:
            FileExistsError: There is something at `path`.
            ValueError: An option is out of its range.
        """
        if kind not in ("auto", *KINDS):
            raise ValueError(f"kind must be one of auto, {', '.join(KINDS)}; got {kind!r}")
        if not 0 < recall <= 1:
            raise ValueError(f"recall must be in (0, 1]; got {recall}")
        if items["id"].duplicated().any():
            raise ValueError("ids must be unique")
        kind = kind_for(len(items)) if kind == "auto" else kind
        with new_folder(path) as temporary:
            folder = IndexFolder(temporary)
            shutil.copytree(encoder.path, folder.bundle)
            vectors = np.ascontiguousarray(vectors, "float32")
            codes = build_codes(kind, vectors)
            effort, measured = tuned(kind, codes, vectors, recall)
            items = items.reset_index(drop=True).assign(removed=False)
            state = {
                "schema": 1,
                "encoder": encoder.sha256,
                "dimension": int(vectors.shape[1]),
                "kind": kind,
                "effort": dataclasses.asdict(effort),
                "recall": measured,
                "versions": installed_versions("dml", "faiss-cpu", "numpy", "pyarrow"),
            }
            commit(folder, state, items, vectors, codes)
        return cls(path)

    def __len__(self):
        return int(self.present.sum())

    def encoder(self):
        """Returns the `OnnxEncoder` in the index's own bundle.

        Raises:
            ValueError: It is not the one that the index was built with.
        """
        encoder = OnnxEncoder(self.folder.bundle)
        self.check_encoder(encoder)
        return encoder

    def check_encoder(self, encoder):
        """Raises ValueError where the vectors are of another encoder."""
        if encoder.sha256 != self.manifest["encoder"]:
            raise ValueError(
                f"{self.folder.path} was built with another encoder than {encoder.path}: their "
                "similarities would mean nothing. Build the index again with this one"
            )

    def search(self, queries, k=10, where=None):
        """Returns the nearest items of each query, nearest first.

        Args:
            queries: Float32 (Q, D), of unit length.
            k: Neighbours wanted; positive.
            where: A filter, as `dml.index.where.matching` takes it; None for all.

        Returns:
            Similarities float32 (Q, K) and rows int64 (Q, K) of `items`, K at most k.

        Raises:
            ValueError: `k`, the filter or the queries' shape is at fault.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1; got {k}")
        queries = np.ascontiguousarray(queries, "float32")
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(f"queries must be (Q, {self.dimension}) numbers; got {queries.shape}")
        if not np.isfinite(queries).all():
            raise ValueError("queries must be finite numbers")
        keep = self.present if where is None else self.present & matching(where, self.items)
        left = int(keep.sum())
        k = min(k, left)
        if not k:
            return np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int64")
        everything = left == len(keep)
        coded = self.codes is not None and (everything or self.kind != "binary")
        if not coded or left <= EXACT:
            return self.exact(queries, k, None if everything else np.flatnonzero(keep))
        wanted = min(k * self.effort.oversample, left)
        rows = candidates(
            self.kind, self.codes, queries, wanted, self.effort, None if everything else keep
        )
        if (rows[:, :k] < 0).any():  # cells or a walk that met too few of the filter's rows
            return self.exact(queries, k, np.flatnonzero(keep))
        return rescored(self.vectors, queries, rows, k)

    def exact(self, queries, k, rows=None):
        """Returns the nearest among some rows, or all, by comparing with each."""
        import faiss

        if rows is None:
            return faiss.knn(queries, self.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        best = []
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            near = faiss.knn(
                queries, self.vectors[some], min(k, len(some)), metric=faiss.METRIC_INNER_PRODUCT
            )
            best.append((near[0], some[near[1]]))
        similarities, found = (np.concatenate(side, axis=1) for side in zip(*best, strict=True))
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(similarities, order, 1), np.take_along_axis(found, order, 1)

    def row(self, id):
        """Returns the row of an id.

        Raises:
            KeyError: There is no such item.
        """
        if id not in self.row_of:
            near = difflib.get_close_matches(str(id), list(self.row_of)[:50_000], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise KeyError(f"{self.folder.path} has no item {id!r}{hint}")
        return self.row_of[id]

    def item(self, row):
        """Returns the fields of an item, of types that JSON has; None for what is missing."""
        fields = {}
        for name in self.items.columns:
            value = self.items[name].iloc[row]
            value = value.item() if isinstance(value, np.generic) else value
            missing = value is None or value != value
            plain = isinstance(value, str | int | float | bool)
            fields[str(name)] = None if missing else value if plain else str(value)
        return fields

    def matching_rows(self, where=None):
        """Returns the rows of the items that a filter keeps; of all if it is None."""
        keep = self.present if where is None else self.present & matching(where, self.items)
        return np.flatnonzero(keep)

    def add(self, items, vectors):
        """Adds items; those whose id is there already take the place of the older.

        Returns:
            How many were new and how many were replaced.
        """
        import pandas as pd

        if items["id"].duplicated().any():
            raise ValueError("ids must be unique")
        vectors = np.ascontiguousarray(vectors, "float32")
        with self.changing():
            old = [self.row_of[id] for id in items["id"] if id in self.row_of]
            self.present[old] = False
            known = self.items.assign(removed=~self.present)
            both = pd.concat([known, items.assign(removed=False)], ignore_index=True)
            self.write(both, vectors)
        return len(items) - len(old), len(old)

    def remove(self, ids):
        """Removes items.

        Raises:
            KeyError: One is not there; nothing is removed then.
        """
        with self.changing():
            self.present[[self.row(id) for id in ids]] = False
            self.write(self.items.assign(removed=~self.present), None)

    def write(self, items, added):
        """Writes a change: all items, old and new, and the new ones' vectors."""
        removed = items["removed"].to_numpy(bool)
        state = {k: v for k, v in self.manifest.items() if k not in ("files", "rows", "number")}
        number = self.manifest["number"] + 1
        if removed.mean() > REMOVED:
            vectors = np.concatenate([self.vectors, *([] if added is None else [added])])
            vectors, items = vectors[~removed], items[~removed].reset_index(drop=True)
            if state["kind"] == "ivf_pq" and len(vectors) < LEAST_TRAINED:
                state["kind"] = "flat"
            codes = build_codes(state["kind"], vectors) if len(vectors) else None
            target = state["recall"]["target"]
            effort, state["recall"] = tuned(state["kind"], codes, vectors, target)
            state["effort"] = dataclasses.asdict(effort)
            commit(self.folder, state, items, vectors, codes, number)
        elif added is None:
            commit(self.folder, state, items, None, None, number, self.files)
        else:
            if self.codes is not None:
                self.codes.add(added)
            commit(self.folder, state, items, added, self.codes, number, self.files)
        self.__init__(self.folder.path)

    @contextlib.contextmanager
    def changing(self):
        """Keeps other writers out, and takes up what they wrote since this index was opened."""
        with open(self.folder.lock, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"{self.folder.path}: another process is changing this index; try again later"
                ) from None
            if self.folder.open() != self.manifest:
                self.__init__(self.folder.path)
            yield

    def info(self):
        """Returns what the index is, for people and for JSON."""
        recall = self.manifest["recall"]
        return {
            "items": len(self),
            "removed": len(self.items) - len(self),
            "dimension": self.dimension,
            "kind": self.kind,
            "effort": dataclasses.asdict(self.effort),
            "recall_at_10": recall["measured"],
            "recall_wanted": recall["target"],
            "fields": list(map(str, self.items.columns)),
            "labels": int(self.items["label"][self.present].nunique()),
            "encoder": self.manifest["encoder"],
            "bytes": sum(entry["bytes"] for entry in self.files.values()),
        }

    def verify(self):
        """Checks what opening does not: that vectors are of length 1 and codes are as many.

        Raises:
            ValueError: They are not, or the bundle is damaged.
        """
        self.encoder()
        for start in range(0, len(self.vectors), BLOCK):
            lengths = np.linalg.norm(self.vectors[start : start + BLOCK], axis=1)
            if len(bad := np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))):
                raise ValueError(f"{self.folder.path}: vector {start + bad[0]} is not of length 1")
        if len(self.items) != len(self.vectors):
            raise ValueError(f"{self.folder.path}: items and vectors are not as many")
        if self.codes is not None and self.codes.ntotal != len(self.vectors):
            raise ValueError(f"{self.folder.path}: codes and vectors are not as many")


def commit(folder, state, items, vectors, codes, number=1, known=None):
    """Writes the files of a change, then the manifest that makes them the index.

    Args:
        folder: An `IndexFolder`.
        state: The manifest, without its files.
        items: All items, with the column `removed`.
        vectors: Float32 (M, D), all of them or those to append; None for no change.
        codes: A FAISS index of all vectors, or None.
        number: Of the change.
        known: The files so far, of which the vectors are appended to; None to write new ones.
    """
    files = dict(known or {})
    buffer = io.BytesIO()
    items.to_parquet(buffer, index=False)
    files["items"] = folder.write(f"items-{number}.parquet", buffer.getvalue())
    if vectors is not None:
        if known is None:
            files["vectors"] = folder.write(f"vectors-{number}.f32", vectors.data)
        else:
            files["vectors"] = folder.append(files["vectors"], vectors.data)
        files.pop("codes", None)
        if codes is not None:
            import faiss

            name = folder.path / f"codes-{number}.faiss"
            with atomic_path(name) as temporary:
                faiss.write_index(codes, str(temporary))
            files["codes"] = folder.entry(name.name)
    rows = len(items)
    folder.write_manifest({**state, "rows": rows, "number": number, "files": files})
    kept = {entry["name"] for entry in files.values()}
    for file in folder.data_files():
        if file.name not in kept:
            file.unlink(missing_ok=True)

"""An index in a folder: vectors, items and, for the larger ones, FAISS codes."""

import contextlib
import dataclasses
import difflib
import io
import time

import numpy as np

from dml._storage.atomic import atomic_path, new_folder
from dml._storage.columns import fitted, kinds_of, read_parquet, typed
from dml._storage.index_folder import IndexFolder
from dml._storage.locks import locked
from dml._storage.records import sha256
from dml._storage.versions import installed_versions
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
from dml.index.kinds import (
    EFFORTS,
    KINDS,
    LEAST_TRAINED,
    Effort,
    build_codes,
    check_kind,
    coded_search,
    compared,
    held_out,
    kind_for,
    read_codes,
    tuned,
    untuned,
)
from dml.index.where import matching

EXACT = 20_000  # rows up to which comparing each is faster than codes, or than a filtered walk
BLOCK = 65_536  # rows compared at once where some are left out
MOST_REMOVED = 0.25  # share of removed rows from which on the index is built anew
SAMPLED = 20_000  # rows, drawn at random, that samples are chosen from
RETRIES = 20
REMOVED = "dml:removed"  # a column of the file of items, none of their fields


class FaissIndex(Index):
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
        self.location = str(path)
        self.held = False  # whether this object keeps other writers out
        self.reload()

    def reload(self):
        """Reads what is on the disk now."""
        for _ in range(RETRIES):  # a change may remove the files between the manifest and them
            manifest = self.folder.open()
            try:
                self.load(manifest)
                return
            except FileNotFoundError as error:
                fault = error
                if self.folder.open() == manifest:
                    break
                time.sleep(0.05)
        raise ValueError(
            f"{self.location}: {fault.filename or fault} is missing: the index is damaged"
        )

    def load(self, manifest):
        """Reads what a manifest names; all of it, or nothing changes."""
        import pyarrow

        files = {name: self.folder.checked(entry) for name, entry in manifest["files"].items()}
        shape = (manifest["rows"], manifest["dimension"])
        vectors = (
            np.memmap(files["vectors"], "float32", "r", shape=shape)
            if shape[0]
            else np.empty(shape, "float32")
        )
        try:
            items = read_parquet(files["items"])
            present = ~items.pop(REMOVED).to_numpy(bool)
            items = typed(items)
            ids = items["id"].to_numpy()
        except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{files['items']}: damaged: {error}") from None
        if len(items) != shape[0] or not {"path", "label"} <= set(items):
            raise ValueError(f"{files['items']}: damaged: not of as many items as vectors")
        if manifest["kind"] not in KINDS:
            raise ValueError(f"{self.folder.manifest}: no kind {manifest['kind']!r}")
        codes = read_codes(files["codes"], manifest["kind"], shape) if "codes" in files else None
        self.manifest, self.stale = manifest, False
        self.dimension, self.kind = manifest["dimension"], manifest["kind"]
        self.encoder_sha256 = manifest["encoder"]
        self.effort = Effort(**manifest["effort"])
        self.vectors, self.codes = vectors, codes
        self.present, self.items = present, items
        self.kinds = kinds_of(items)
        self.fields = list(self.kinds)
        self.columns = [items[name].array for name in items]
        self.row_of = {ids[row]: row for row in np.flatnonzero(self.present).tolist()}

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
            vectors: Float32 (N, D), of unit length. A few rows change their places, in it, too.
            kind: One of `KINDS`, or `auto` by the number of rows.
            recall: Wanted share of the true nearest 10 that are found, in (0, 1].

        Raises:
            FileExistsError: There is something at `path`.
            ValueError: An option is out of its range, or items or vectors can't be kept.
        """
        items = cls.check_build(items, kind, recall)
        kind = kind_for(len(items)) if kind == "auto" else kind
        vectors = np.require(vectors, "float32", ["C", "W"])
        check_vectors(vectors, len(items), encoder.dimension)
        with new_folder(path) as temporary:
            folder = IndexFolder(temporary)
            encoder.bundle.copy(folder.bundle)
            items, codes, effort, measured = coded(kind, items, vectors, recall)
            items = items.assign(**{REMOVED: False})
            state = {
                "schema": 2,
                "encoder": encoder.sha256,
                "bundle": sha256(encoder.bundle.description),
                "dimension": int(vectors.shape[1]),
                "kind": kind,
                "effort": dataclasses.asdict(effort),
                "recall": measured,
                "versions": installed_versions("dml", "faiss-cpu", "numpy", "pyarrow"),
            }
            commit(folder, state, items, vectors, codes)
        return cls(path)

    @staticmethod
    def check_build(items, kind="auto", recall=0.95):
        """Returns items as `build` keeps them.

        Raises:
            ValueError: As of `build`.
        """
        if kind not in ("auto", *KINDS):
            raise ValueError(f"kind must be one of auto, {', '.join(KINDS)}; got {kind!r}")
        check_recall(recall)
        check_kind(kind, len(items))
        return checked_items(items)

    def __len__(self):
        return int(self.present.sum())

    def encoder(self, bundle=None, threads=None):
        encoder = OnnxEncoder(self.folder.bundle if bundle is None else bundle, threads)
        self.check_encoder(encoder)
        if bundle is None and sha256(encoder.bundle.description) != self.manifest["bundle"]:
            raise ValueError(
                f"{encoder.bundle.description}: not the one that the index was built with"
            )
        return encoder

    def found(self, queries, k, where):
        similarities, rows = self.nearest(queries, k, where)
        return [
            [(s, self.item_at(row)) for s, row in zip(near, places, strict=True)]
            for near, places in zip(similarities.tolist(), rows.tolist(), strict=True)
        ]

    def nearest(self, queries, k=10, where=None):
        """Returns the similarities float32 (Q, K) and rows int64 (Q, K) of the nearest items.

        Args:
            queries: Float32 (Q, D), of unit length.
            k: Neighbours wanted; positive. K is fewer where fewer are kept.
            where: A filter.
        """
        keep = self.present if where is None else self.present & matching(where, self.items)
        left = int(keep.sum())
        k = min(k, left)
        if not k:
            return np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int64")
        everything = left == len(keep)
        usable = self.codes is not None and (everything or self.kind != "binary")
        walked = everything and self.kind == "hnsw"  # faster than comparing, few rows as they are
        if not usable or (left <= EXACT and not walked):
            return self.exact(queries, k, None if everything else np.flatnonzero(keep))
        selected = None if everything else keep
        similarities, rows = coded_search(
            self.kind, self.codes, self.vectors, queries, k, self.effort, selected
        )
        if (rows < 0).any():  # cells or a walk that met too few of the filter's rows
            return self.exact(queries, k, np.flatnonzero(keep))
        return similarities, rows

    def exact(self, queries, k, rows=None):
        """Returns the nearest among some rows, or all, by comparing with each."""
        if rows is None:
            return compared(self.vectors, queries, k)
        best = []
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            near = compared(self.vectors[some], queries, min(k, len(some)))
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
            raise KeyError(f"{self.location} has no item {id!r}")
        return self.row_of[id]

    def item(self, id):
        return self.item_at(self.row(id))

    def item_at(self, row):
        """Returns the item of a row."""
        return plain_item(self.fields, (values[row] for values in self.columns))

    def vector(self, id):
        return np.array(self.vectors[self.row(id)])

    def kept(self, where):
        """Returns the rows of the items that a filter keeps."""
        keep = self.present if where is None else self.present & matching(where, self.items)
        return np.flatnonzero(keep)

    def page(self, where=None, offset=0, limit=50):
        rows = self.kept(where)
        return [self.item_at(row) for row in rows[offset : offset + limit].tolist()], len(rows)

    def sample(self, where=None, count=24, seed=0):
        kept = rows = self.kept(where)
        if len(rows) > SAMPLED:
            drawn = np.random.default_rng(seed).integers(len(rows), size=SAMPLED)
            rows = rows[np.unique(drawn)]
        places = spread(self.items["label"].to_numpy()[rows], count, seed)
        return [self.item_at(row) for row in rows[places].tolist()], len(kept)

    def ids(self, where):
        return self.items["id"].iloc[self.kept(where)].tolist()

    def ids_of(self, paths):
        found = self.items[self.present & self.items["path"].isin(paths).to_numpy()]
        found = found[~found["path"].duplicated(keep=False)]
        return dict(zip(found["path"], found["id"], strict=True))

    def has_label(self, label):
        return bool((self.items["label"] == label).to_numpy()[self.present].any())

    def labels(self, most):
        return sorted(self.items["label"][self.present].dropna().unique())[:most]

    def insert(self, items, vectors):
        import pandas as pd

        items = fitted(items, self.kinds, self.location)  # another may have changed them
        old = [self.row_of[id] for id in items["id"] if id in self.row_of]
        kinds = kinds_of(items)
        known = fitted(self.items, kinds, self.location)
        items = with_older(items, known.iloc[old])
        removed = ~self.present
        removed[old] = True
        both = pd.concat(
            [known.assign(**{REMOVED: removed}), items.assign(**{REMOVED: False})],
            ignore_index=True,
        )
        self.write(both, vectors)
        return len(old)

    def remove(self, ids):
        with self.changing():
            if unknown := [id for id in ids if id not in self.row_of]:
                near = difflib.get_close_matches(str(unknown[0]), list(self.row_of)[:50_000], n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise KeyError(f"{self.location} has no item {unknown[0]!r}{hint}")
            removed = ~self.present
            removed[[self.row_of[id] for id in ids]] = True
            self.write(self.items.assign(**{REMOVED: removed}), None)

    def write(self, items, added):
        """Writes a change: all items, old and new, and the new ones' vectors; reads it again.

        The codes are changed in place, and so given up first: the index is as it was on the disk
        after a change that failed, too.
        """
        removed = items[REMOVED].to_numpy(bool)
        state = {k: v for k, v in self.manifest.items() if k not in ("files", "rows", "number")}
        number = self.manifest["number"] + 1
        codes, self.codes = self.codes, None
        try:
            if removed.mean() > MOST_REMOVED:
                vectors = np.concatenate([self.vectors, *([] if added is None else [added])])
                vectors, items = vectors[~removed], items[~removed].reset_index(drop=True)
                if state["kind"] == "ivf_pq" and len(vectors) < LEAST_TRAINED:
                    state["kind"] = "flat"
                target = state["recall"]["target"]
                items, codes, effort, state["recall"] = coded(state["kind"], items, vectors, target)
                state["effort"] = dataclasses.asdict(effort)
                commit(self.folder, state, items, vectors, codes, number)
            elif added is None:
                commit(self.folder, state, items, None, None, number, self.files)
            else:
                if codes is not None:
                    codes.add(added)
                commit(self.folder, state, items, added, codes, number, self.files)
        finally:
            self.stale = True  # where reading fails, too, the next change reads first
            self.reload()

    @contextlib.contextmanager
    def changing(self):
        """Keeps other writers out, and takes up what they wrote since this index was opened."""
        if self.held:
            yield
            return
        with locked(self.folder.lock, self.location):
            if self.stale or self.folder.open() != self.manifest:
                self.reload()
            self.held = True
            try:
                yield
            finally:
                self.held = False

    def info(self):
        recall = self.manifest["recall"]
        return {
            "items": len(self),
            "removed": len(self.items) - len(self),
            "dimension": self.dimension,
            "kind": self.kind,
            "effort": dataclasses.asdict(self.effort),
            "recall_at_10": recall["measured"],
            "recall_wanted": recall["target"],
            "fields": self.fields,
            "labels": int(self.items["label"][self.present].nunique()),
            "encoder": self.encoder_sha256,
            "bytes": sum(entry["bytes"] for entry in self.files.values()),
        }

    def verify(self):
        """Checks that the bundle is whole and its own, and that vectors are of length 1."""
        self.encoder()
        for start in range(0, len(self.vectors), BLOCK):
            lengths = np.linalg.norm(self.vectors[start : start + BLOCK], axis=1)
            if len(bad := np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))):
                raise ValueError(f"{self.folder.path}: vector {start + bad[0]} is not of length 1")

    def renewed(self):
        if self.folder.open() == self.manifest:
            return None
        return FaissIndex(self.folder.path)


def coded(kind, items, vectors, target):
    """Builds codes, and measures how far a search must look in them.

    A few rows, drawn at random, are put behind all others: recall is measured with them before
    they are added, as with the queries to come, which are not in the index either.

    Args:
        kind: One of `KINDS`.
        items: A frame (N, fields).
        vectors: Float32 (N, D), contiguous; its rows are put into the new order.
        target: Wanted recall at 10.

    Returns:
        The items in the new order, the codes or None, an `Effort`, and what was measured.
    """
    items = items.reset_index(drop=True)
    if kind == "flat" or not len(vectors):
        return items, None, Effort(), untuned(target)
    count = len(vectors)
    last = np.arange(count - held_out(count), count)
    drawn = np.sort(np.random.default_rng(0).choice(count, len(last), replace=False))
    free, taken = np.setdiff1d(last, drawn), np.setdiff1d(drawn, last)
    order = np.arange(count)
    order[free], order[taken] = taken, free
    moved = np.concatenate([free, taken])
    vectors[moved] = vectors[order[moved]]
    known, queries = vectors[: count - len(last)], vectors[count - len(last) :]
    codes = build_codes(kind, known)

    def search(queries, k, effort):
        return coded_search(kind, codes, known, queries, k, effort)[1]

    effort, measured = tuned(EFFORTS[kind], search, known, queries, target)
    codes.add(queries)
    return items.iloc[order].reset_index(drop=True), codes, effort, measured


def commit(folder, state, items, vectors, codes, number=1, known=None):
    """Writes the files of a change, then the manifest that makes them the index.

    Args:
        folder: An `IndexFolder`.
        state: The manifest, without its files.
        items: All items, with the column `REMOVED`.
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
                try:
                    faiss.write_index(codes, str(temporary))
                except RuntimeError as error:  # FAISS's words end in the system's, in brackets
                    why = str(error).rpartition("(")[2].rstrip(")")
                    raise OSError(f"{name}: {why}; the index is as it was") from None
            files["codes"] = folder.entry(name.name)
    rows = len(items)
    folder.write_manifest({**state, "rows": rows, "number": number, "files": files})
    kept = {entry["name"] for entry in files.values()}
    for file in folder.data_files():
        if file.name not in kept:
            file.unlink(missing_ok=True)

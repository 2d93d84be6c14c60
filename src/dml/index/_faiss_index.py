"""An index in a folder: vectors, items and, if it is large, FAISS codes."""

from __future__ import annotations

import contextlib
import os
import threading

import numpy as np
import pandas as pd

from dml._arrays import not_unit
from dml._options import check_known
from dml._storage.atomic import new_folder
from dml._storage.index_folder import IndexFolder
from dml._storage.locks import locked
from dml._storage.records import sha256
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError
from dml.index._interface import Index, IndexInfo, Neighbour, check_recall
from dml.index._items import (
    as_vectors,
    check_page,
    check_sample,
    check_vectors,
    prepare_items,
    spread,
)
from dml.index._kinds import KINDS, check_kind, kind_for
from dml.index._snapshot import Snapshot, read_snapshot
from dml.index._writer import IndexWriter

SAMPLED = 20_000  # rows, drawn at random, from which samples are chosen


class FaissIndex(Index):
    """Finds the nearest of the vectors in a folder.

    The manifest names the files that belong together, with their SHA-256, and is replaced as the
    last step of a change: if a change is interrupted, the index keeps its previous state. A search
    uses one snapshot, and a finished change replaces the snapshot.

    Args:
        snapshot: A state of the index, as `read_snapshot` returns it.
    """

    def __init__(self, snapshot: Snapshot):
        self.snapshot = snapshot
        self._writing = threading.RLock()
        self._locked = False  # whether this object keeps other writers out

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> FaissIndex:
        """Opens an index.

        Raises:
            MissingDataError: There is no index at `path`.
            DataError: It is damaged.
        """
        return cls(read_snapshot(IndexFolder(path)))

    @classmethod
    def build(
        cls,
        path: str | os.PathLike[str],
        encoder: OnnxEncoder,
        items: pd.DataFrame,
        vectors: np.ndarray,
        kind: str = "auto",
        recall: float = 0.95,
    ) -> FaissIndex:
        """Writes a new index and returns it.

        Args:
            path: The folder, which must not exist.
            encoder: The encoder that computed the vectors; its bundle is copied.
            items: A pandas DataFrame with `id`, `path`, `label` and your own fields.
            vectors: Float32 (N, D), of unit length. The array is reordered in place.
            kind: One of `KINDS`, or `auto` by the number of rows.
            recall: Target recall, the share of the true nearest 10 that are found; in (0, 1].

        Raises:
            OccupiedError: `path` exists already.
            OptionError: An option is out of its range.
            ValueError: Items or vectors can't be stored.
        """
        items = cls.check_build(items, kind, recall)
        kind = kind_for(len(items)) if kind == "auto" else kind
        vectors = np.require(as_vectors(vectors, "vectors"), requirements=["C", "W"])
        check_vectors(vectors, len(items), encoder.dimension)
        with new_folder(path) as temporary:
            writer = IndexWriter(IndexFolder(temporary))
            files = writer.build(encoder, items, vectors, kind, recall)
        return cls(read_snapshot(IndexFolder(path), files))

    @staticmethod
    def check_build(items: pd.DataFrame, kind: str = "auto", recall: float = 0.95) -> pd.DataFrame:
        """Returns items as `build` stores them.

        Raises:
            ValueError: As for `build`.
        """
        check_known(("auto", *KINDS), kind=kind)
        check_recall(recall)
        check_kind(kind, len(items))
        return prepare_items(items)

    @property
    def folder(self) -> IndexFolder:
        return self.snapshot.folder

    @property
    def location(self) -> str:
        return str(self.folder.path)

    @property
    def dimension(self) -> int:
        return self.snapshot.manifest.dimension

    @property
    def encoder_sha256(self) -> str:
        return self.snapshot.manifest.encoder

    @property
    def field_types(self) -> dict[str, type]:
        return self.snapshot.field_types

    def __len__(self):
        return len(self.snapshot.row_of)

    def encoder(self, bundle=None, threads=None):
        encoder = OnnxEncoder(self.folder.bundle if bundle is None else bundle, threads)
        self.check_encoder(encoder)
        if bundle is None and sha256(encoder.bundle.description) != self.snapshot.manifest.bundle:
            raise DataError(encoder.bundle.description, "not the one that the index was built with")
        return encoder

    def _search(self, queries, k, where):
        snapshot = self.snapshot
        similarities, rows = snapshot.nearest(queries, k, where)
        return [
            [Neighbour(s, snapshot.item(row)) for s, row in zip(near, places, strict=True)]
            for near, places in zip(similarities.tolist(), rows.tolist(), strict=True)
        ]

    def item(self, id):
        snapshot = self.snapshot
        return snapshot.item(snapshot.row(id))

    def vector(self, id):
        snapshot = self.snapshot
        return np.array(snapshot.vectors[snapshot.row(id)])

    def page(self, where=None, offset=0, limit=50):
        check_page(offset, limit)
        snapshot = self.snapshot
        rows = snapshot.rows(where)
        return [snapshot.item(row) for row in rows[offset : offset + limit].tolist()], len(rows)

    def sample(self, where=None, count=24, seed=0):
        check_sample(count, seed)
        snapshot = self.snapshot
        kept = rows = snapshot.rows(where)
        if len(rows) > SAMPLED:
            drawn = np.random.default_rng(seed).integers(len(rows), size=SAMPLED)
            rows = rows[np.unique(drawn)]
        places = spread(snapshot.items["label"].to_numpy()[rows], count, seed)
        return [snapshot.item(row) for row in rows[places].tolist()], len(kept)

    def ids(self, where):
        snapshot = self.snapshot
        return snapshot.items["id"].iloc[snapshot.rows(where)].tolist()

    def ids_of(self, paths):
        snapshot = self.snapshot
        found = snapshot.items.loc[snapshot.present & snapshot.items["path"].isin(paths).to_numpy()]
        found = found[~found["path"].duplicated(keep=False)]
        return dict(zip(found["path"], found["id"], strict=True))

    def has_label(self, label):
        return label in self.snapshot.labels

    def labelled(self, ids):
        snapshot = self.snapshot
        known = [id for id in ids if id in snapshot.row_of]
        labels = snapshot.items["label"].iloc[[snapshot.row_of[id] for id in known]]
        return {id for id, there in zip(known, labels.notna(), strict=True) if there}

    def labels(self, limit):
        return sorted(self.snapshot.labels)[:limit]

    def _settled_types(self):
        return self.snapshot.settled_types

    def _insert(self, items, vectors):
        self.snapshot, replaced = IndexWriter(self.folder).add(self.snapshot, items, vectors)
        return replaced

    def _remove(self, ids):
        self.snapshot = IndexWriter(self.folder).remove(self.snapshot, ids)

    @contextlib.contextmanager
    def changing(self):
        """Keeps other writers out, and reads what they wrote since this index was opened."""
        with self._writing:
            if self._locked:
                yield
                return
            with locked(self.folder.lock, self.location):
                self.snapshot = self._latest() or self.snapshot
                self._locked = True
                try:
                    yield
                finally:
                    self._locked = False

    def info(self):
        snapshot = self.snapshot
        others = [self.folder.manifest, *self.folder.bundle.rglob("*")]
        sizes = [file.stat().st_size for file in others if file.is_file()]
        return IndexInfo(
            items=len(snapshot.row_of),
            removed=len(snapshot.items) - len(snapshot.row_of),
            dimension=snapshot.manifest.dimension,
            kind=snapshot.manifest.kind,
            search_parameters=snapshot.parameters,
            recall=snapshot.recall,
            fields=tuple(snapshot.field_types),
            labels=len(snapshot.labels),
            encoder=snapshot.manifest.encoder,
            bytes=sum(sizes) + sum(entry.bytes for entry in snapshot.manifest.files.values()),
        )

    def verify(self):
        """Checks that the bundle is undamaged and the index's own, and vectors have length 1."""
        self.encoder()
        if len(bad := not_unit(self.snapshot.vectors)):
            raise DataError(self.folder.path, f"vector {bad[0]} is not of length 1")

    def reload_if_changed(self):
        latest = self._latest()
        return None if latest is None else FaissIndex(latest)

    def _latest(self):
        """Returns the state on disk; None if it is the loaded one."""
        if self.folder.read_manifest() == self.snapshot.manifest:
            return None
        return read_snapshot(self.folder, self.snapshot.files)

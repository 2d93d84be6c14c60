"""Writes an index to a folder, and changes to it; each is applied completely or not at all."""

import dataclasses
import difflib
import io
from typing import Any

import numpy as np
import pandas as pd

from dml._storage.atomic import atomic_path
from dml._storage.columns import fitted, kinds_of
from dml._storage.index_folder import FileEntry, IndexFolder, Manifest
from dml._storage.records import sha256
from dml._storage.versions import installed_versions
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import StorageError, UnknownNameError
from dml.index._items import with_older
from dml.index._kinds import (
    CODED_KINDS,
    LEAST_TRAINED,
    MOST_GROWN,
    Recall,
    SearchParameters,
    faiss_module,
    held_out_count,
    tune,
)
from dml.index._snapshot import REMOVED, LoadedFiles, Snapshot, read_snapshot

MOST_REMOVED = 0.25  # share of removed rows above which the index is rebuilt
SUGGESTED_FROM = 5_000  # ids among which the nearest to an unknown one is searched for


@dataclasses.dataclass(frozen=True, eq=False)
class CodedVectors:
    """Vectors in the order of their codes.

    Args:
        kind: One of `KINDS`.
        items: A pandas DataFrame (N, fields).
        vectors: Float32 (N, D).
        codes: A FAISS index of the vectors, or None.
        parameters: The search parameters.
        recall: The recall that they reach.
    """

    kind: str
    items: pd.DataFrame
    vectors: np.ndarray
    codes: Any
    parameters: SearchParameters
    recall: Recall


class IndexWriter:
    """Writes the files of an index, then the manifest that puts them into use.

    The caller holds the lock of the index while changing it.

    Args:
        folder: The folder of the index, which may be new.
    """

    def __init__(self, folder: IndexFolder):
        self.folder = folder

    def build(
        self,
        encoder: OnnxEncoder,
        items: pd.DataFrame,
        vectors: np.ndarray,
        kind: str,
        recall: float,
    ) -> LoadedFiles:
        """Writes a new index.

        Args:
            encoder: The encoder that computed the vectors; its bundle is copied.
            items: As `prepare_items` returns them.
            vectors: Float32 (N, D), contiguous; reordered in place.
            kind: One of `KINDS`.
            recall: Target recall at 10.
        """
        encoder.bundle.copy(self.folder.bundle)
        about = {
            "dimension": int(vectors.shape[1]),
            "encoder": encoder.sha256,
            "bundle": sha256(encoder.bundle.description),
            "versions": installed_versions("dml", "faiss-cpu", "numpy", "pyarrow"),
        }
        return self._write_anew(_encode(kind, items, vectors, recall), about, number=1)

    def add(
        self, snapshot: Snapshot, items: pd.DataFrame, vectors: np.ndarray
    ) -> tuple[Snapshot, int]:
        """Adds items; those whose id is in the index replace the older ones.

        Codes are learned again, and their recall measured, when the rows have doubled since.

        Args:
            snapshot: The state on the disk.
            items: As `prepare_items` returns them.
            vectors: Float32 (M, D), contiguous.

        Returns:
            The new state, and how many items were replaced.
        """
        # Again, since others may have changed the index.
        items = fitted(items, snapshot.settled_types, str(self.folder.path))
        old = [snapshot.row_of[id] for id in items["id"] if id in snapshot.row_of]
        known = fitted(snapshot.items, kinds_of(items), str(self.folder.path))
        items = with_older(items, known.iloc[old])
        removed = ~snapshot.present
        removed[old] = True
        removed = np.concatenate([removed, np.zeros(len(items), bool)])
        items = pd.concat([known, items], ignore_index=True)
        coded = snapshot.manifest.kind in CODED_KINDS
        outgrown = coded and (~removed).sum() > MOST_GROWN * snapshot.recall.rows
        if outgrown or removed.sum() > MOST_REMOVED * len(removed):
            return self._compact(snapshot, items, removed, vectors), len(old)
        codes = _with_added(snapshot.codes, vectors)
        number = snapshot.manifest.number + 1
        hashed = self.folder.append(snapshot.files.vectors, vectors.data)
        entry = None if codes is None else self._write_codes(codes, number)
        files = LoadedFiles(hashed, entry, codes)
        self._commit(snapshot.manifest, items, removed, files)
        return read_snapshot(self.folder, files), len(old)

    def remove(self, snapshot: Snapshot, ids: list[str]) -> Snapshot:
        """Removes items; returns the new state.

        Raises:
            UnknownNameError: An id is not in the index; nothing is removed then.
        """
        if unknown := [id for id in ids if id not in snapshot.row_of]:
            known = list(snapshot.row_of)[:SUGGESTED_FROM]
            near = difflib.get_close_matches(str(unknown[0]), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UnknownNameError(f"{self.folder.path} has no item {unknown[0]!r}{hint}")
        removed = ~snapshot.present
        removed[[snapshot.row_of[id] for id in ids]] = True
        if removed.sum() > MOST_REMOVED * len(removed):
            return self._compact(snapshot, snapshot.items, removed, snapshot.vectors[:0])
        self._commit(snapshot.manifest, snapshot.items, removed, snapshot.files)
        return read_snapshot(self.folder, snapshot.files)

    def _compact(self, snapshot, items, removed, added):
        """Rebuilds the index without removed rows; returns the new state.

        Args:
            snapshot: The state on the disk.
            items: A pandas DataFrame (N, fields): those of the state, then added ones.
            removed: Booleans (N,).
            added: Vectors of the added items, none of which is removed.
        """
        items = items[~removed]
        kept = np.flatnonzero(~removed[: len(snapshot.vectors)])
        vectors = np.empty((len(items), snapshot.manifest.dimension), "float32")
        np.take(snapshot.vectors, kept, axis=0, out=vectors[: len(kept)], mode="clip")
        vectors[len(kept) :] = added
        kind = snapshot.manifest.kind
        if kind == "ivf_pq" and len(vectors) < LEAST_TRAINED:
            kind = "flat"
        coded = _encode(kind, items, vectors, snapshot.recall.target)
        about = {
            name: getattr(snapshot.manifest, name)
            for name in ("dimension", "encoder", "bundle", "versions")
        }
        files = self._write_anew(coded, about, snapshot.manifest.number + 1)
        return read_snapshot(self.folder, files)

    def _write_anew(self, coded: CodedVectors, about: dict, number: int) -> LoadedFiles:
        """Writes all files under a new number, then the manifest."""
        hashed = self.folder.write(f"vectors-{number}.f32", coded.vectors.data)
        entry = None if coded.codes is None else self._write_codes(coded.codes, number)
        present = np.zeros(len(coded.items), bool)
        written = self._write_items(coded.items, present, number)
        files = LoadedFiles(hashed, entry, coded.codes)
        self._replace_manifest(
            Manifest(
                number=number,
                kind=coded.kind,
                rows=len(coded.items),
                search=coded.parameters.to_json(),
                recall=dataclasses.asdict(coded.recall),
                files=_entries(files, written),
                **about,
            )
        )
        return files

    def _commit(self, manifest: Manifest, items, removed, files: LoadedFiles) -> None:
        """Writes the items of a change, then the manifest."""
        number = manifest.number + 1
        written = self._write_items(items, removed, number)
        self._replace_manifest(
            dataclasses.replace(
                manifest, number=number, rows=len(items), files=_entries(files, written)
            )
        )

    def _write_items(self, items, removed, number) -> FileEntry:
        buffer = io.BytesIO()
        items.assign(**{REMOVED: removed}).to_parquet(buffer, index=False)
        return self.folder.write(f"items-{number}.parquet", buffer.getbuffer()).entry

    def _write_codes(self, codes, number) -> FileEntry:
        path = self.folder.path / f"codes-{number}.faiss"
        with atomic_path(path) as temporary:
            try:
                faiss_module().write_index(codes, str(temporary))
            except RuntimeError as error:  # FAISS's message ends with the system's, in brackets
                why = str(error).rpartition("(")[2].rstrip(")")
                raise StorageError(f"{path}: {why}; the index is unchanged") from None
        return self.folder.entry(path.name)

    def _replace_manifest(self, manifest: Manifest) -> None:
        self.folder.write_manifest(manifest)
        self.folder.remove_others(manifest.files.values())


def _entries(files: LoadedFiles, items: FileEntry) -> dict[str, FileEntry]:
    """Returns the files of a manifest."""
    entries = {"vectors": files.vectors.entry, "items": items}
    if files.codes_entry is not None:
        entries["codes"] = files.codes_entry
    return entries


def _with_added(codes, vectors):
    """Returns a copy of FAISS codes with more vectors; the original is still being searched."""
    if codes is None:
        return None
    codes = faiss_module().clone_index(codes)
    codes.add(vectors)
    return codes


def _encode(kind, items, vectors, target) -> CodedVectors:
    """Builds codes, and tunes the search parameters on held-out rows.

    A few randomly drawn rows are moved to the end: recall is measured with them before they are
    added, because later queries are not in the index either.

    Args:
        kind: One of `KINDS`.
        items: A pandas DataFrame (N, fields).
        vectors: Float32 (N, D), contiguous; reordered in place.
        target: Target recall at 10.
    """
    items = items.reset_index(drop=True)
    if kind not in CODED_KINDS or not len(vectors):
        parameters = CODED_KINDS[kind].grid[0] if kind in CODED_KINDS else SearchParameters()
        return CodedVectors(kind, items, vectors, None, parameters, Recall(target))
    count = len(vectors)
    last = np.arange(count - held_out_count(count), count)
    drawn = np.sort(np.random.default_rng(0).choice(count, len(last), replace=False))
    free, taken = np.setdiff1d(last, drawn), np.setdiff1d(drawn, last)
    order = np.arange(count)
    order[free], order[taken] = taken, free
    moved = np.concatenate([free, taken])
    vectors[moved] = vectors[order[moved]]
    known, queries = vectors[: count - len(last)], vectors[count - len(last) :]
    coded = CODED_KINDS[kind]
    codes = coded.build(known)

    def search(queries, k, parameters):
        return coded.search(codes, known, queries, k, parameters)[1]

    parameters, recall = tune(coded.grid, search, known, queries, target)
    codes.add(queries)
    items = items.iloc[order].reset_index(drop=True)
    return CodedVectors(kind, items, vectors, codes, parameters, recall)

"""Embedding many images, in parts that survive an interruption."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dml._options import check_list
from dml._storage.atomic import atomic_path
from dml._storage.cells import is_parquet
from dml._storage.remote import is_url
from dml._storage.unfinished import UnfinishedRows, measuring
from dml._text import number_of
from dml.encoding._engines import LOCAL, Engine
from dml.encoding._sources import KnownImages, has_path_as_id, image_table, use_known
from dml.encoding._vectors_file import read_vectors, write_vectors
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError, OccupiedError, OptionError
from dml.images import ImageRef
from dml.images._files import LeftOut
from dml.reporting import SILENT, Reporter

_PART = 512  # images per part, the most that an interruption loses
_LISTED = 5  # unreadable images that are reported; the list has all of them


@dataclass(frozen=True, eq=False)
class EmbeddedImages:
    """Images with their vectors.

    Args:
        table: The N images that could be read, as `image_table` returns them.
        vectors: Float32 (N, D).
        unreadable: Columns `id`, `path` and `reason` of the images that could not be read.
    """

    table: pd.DataFrame
    vectors: np.ndarray
    unreadable: pd.DataFrame

    def list_unreadable(self, name: str | os.PathLike[str], reporter: Reporter = SILENT) -> None:
        """Writes the list of unreadable images; removes an older list if there are none.

        Args:
            name: The output that the images were embedded for; the list is `NAME.unreadable.csv`.
            reporter: Receives the path of the list and its first lines.
        """
        path = Path(f"{os.fspath(name)}.unreadable.csv")
        if not len(self.unreadable):
            path.unlink(missing_ok=True)
            return
        with atomic_path(path) as temporary:
            self.unreadable.to_csv(temporary, index=False)
        reporter.info(
            f"left out as unreadable: {number_of(len(self.unreadable), 'image')}, listed in {path}:"
        )
        for reason in self.unreadable["reason"][:_LISTED]:
            reporter.info(f"  {reason}")


def embed_to_file(
    bundle: str | os.PathLike[str],
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    engine: Engine = LOCAL,
    reporter: Reporter = SILENT,
) -> EmbeddedImages:
    """Embeds images and writes a row for each: its id, path, label, your fields and vector.

    After an interruption, the same call continues from the finished parts, which are kept in
    `OUT.unfinished`. Images that can't be read are listed in `OUT.unreadable.csv`.

    Args:
        bundle: The bundle's folder.
        sources: As in `image_table`.
        out: The `.parquet` file.
        engine: The engine that embeds the images.
        reporter: Receives the progress and the result.

    Raises:
        OptionError: `out` is not a `.parquet` file, or `sources` is a single path.
        OccupiedError: `out` is a folder, or one of the files that are read.
        DataError: The bundle or a list is damaged or missing, or no image could be read.
    """
    check_list(sources=sources)
    out = Path(out)
    if out.suffix != ".parquet":
        raise OptionError("--out", f"must end in .parquet; got {out}")
    if out.is_dir():
        raise OccupiedError(out, "a folder; choose another --out")
    _check_unread(out, sources)
    encoder = OnnxEncoder(bundle)
    unfinished = unfinished_folder(out)

    def check(table):
        if out.exists():
            paths = map(ImageRef.parse, table["path"])
            _check_unread(out, dict.fromkeys(file for path in paths for file in path.files))

    with measuring(unfinished, out):
        embedded = embed_sources(
            encoder, sources, unfinished, engine=engine, check=check, reporter=reporter
        )
        write_vectors(out, embedded.table, embedded.vectors, encoder)
    vectors = number_of(len(embedded.table), "vector")
    reporter.info(f"{vectors} of {encoder.dimension} numbers: {out}")
    embedded.list_unreadable(out, reporter)
    return embedded


def _check_unread(out, files):
    """Raises OccupiedError if an output is one of the Parquet files among some that are read."""
    for file in files:
        if is_parquet(file) and os.path.exists(file) and out.exists() and out.samefile(file):
            raise OccupiedError(out, "is read for the images; choose another --out")


def unfinished_folder(name: str | os.PathLike[str]) -> Path:
    """Returns the folder that keeps the finished parts of the output `name`."""
    return Path(f"{os.fspath(name)}.unfinished")


def embed_sources(
    encoder: OnnxEncoder,
    sources: Sequence[str | os.PathLike[str]],
    unfinished: str | os.PathLike[str],
    *,
    engine: Engine = LOCAL,
    check: Callable[[pd.DataFrame], object] | None = None,
    index: KnownImages | None = None,
    reporter: Reporter = SILENT,
) -> EmbeddedImages:
    """Embeds images part by part, and keeps each finished part in a folder.

    A vector is stored under the encoder, the path, and the size and modification time of the
    image's file, so that it is not computed again when other images change.

    Args:
        encoder: The encoder of a bundle.
        sources: As in `image_table`; or one `.parquet` file of `dml embed`, whose vectors are used
            unchanged.
        unfinished: Folder of finished parts, used by one process at a time (`measuring`).
        engine: The engine that embeds the images. Another engine can continue what one has begun.
        check: Called with the table of all images before any is read; raises an error for invalid
            ones.
        index: As in `image_table`.
        reporter: Receives the progress and the files that are skipped.

    Raises:
        DataError: A source is missing or damaged, another encoder computed the vectors in a file,
            or no image could be read.
    """
    if len(sources) == 1 and is_parquet(sources[0]):
        content = read_vectors(sources[0], encoder)
        if content is not None:
            if index is not None:
                use_known(content[0], index, has_path_as_id(content[0]))
            if check is not None:
                check(content[0])
            return EmbeddedImages(*content, pd.DataFrame(columns=["id", "path", "reason"]))
    left_out = LeftOut()
    table = image_table(sources, left_out, index)
    if left_out:
        reporter.info(str(left_out))
    if check is not None:
        check(table)
    vectors, unreadable = _embed(
        encoder, table["path"].tolist(), UnfinishedRows(unfinished), engine, reporter
    )
    readable = ~np.isin(np.arange(len(table)), list(unreadable))
    if not readable.any():
        reason = unreadable[min(unreadable)]
        raise DataError(sources[0], f"none of the images could be read: {reason}")
    reasons = [unreadable[row] for row in sorted(unreadable)]
    return EmbeddedImages(
        table.loc[readable].reset_index(drop=True),
        vectors[readable] if unreadable else vectors,  # without a copy
        pd.DataFrame(table.loc[~readable, ["id", "path"]]).assign(reason=reasons),
    )


def _embed(encoder, paths, unfinished, engine, reporter):
    """Returns vectors (N, D), zero if an image can't be read, and {row: reason} of these."""
    keys = _content_keys(encoder, paths)
    vectors = np.zeros((len(paths), encoder.dimension), "float32")
    unreadable = {}
    known = unfinished.take(keys, vectors)
    missing = np.flatnonzero(~known)
    rows = dict(enumerate(np.split(missing, np.arange(_PART, len(missing), _PART))))
    parts = {number: [paths[row] for row in part] for number, part in rows.items() if len(part)}
    with reporter.progress("embedding", len(paths), done=int(known.sum())) as advance:
        for number, result in engine.embed(encoder, parts, advance):
            part = rows[number]
            vectors[part] = result.vectors
            unreadable |= {int(part[row]): reason for row, reason in result.unreadable.items()}
            read = np.delete(np.arange(len(part)), list(result.unreadable))
            unfinished.keep([keys[row] for row in part[read]], result.vectors[read])
    return vectors, unreadable


def _content_keys(encoder, paths):
    """Returns a key of each image, made of all that affects its vector; None without a file."""
    status = {}  # file -> its size and time, None if it is missing
    keys = []
    for path in paths:
        files = ImageRef.parse(path).files
        for file in files:
            if file not in status:
                status[file] = _status(file)
        about = [status[file] for file in files]
        text = json.dumps([encoder.sha256, path, about])
        key = hashlib.sha256(text.encode()).hexdigest()[:32]
        keys.append(None if None in about else key)
    return keys


def _status(file):
    """Returns the size and the modification time of a file; None if it is missing.

    A file at a URL is taken to stay the same: asking for its time would take as long as reading it.
    """
    if is_url(file):
        return ()
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns

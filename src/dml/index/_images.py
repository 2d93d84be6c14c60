"""Building and extending an index from image files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial

from dml._options import check_list
from dml._storage.unfinished import measuring
from dml._text import number_of
from dml.encoding._collection import embed_sources, unfinished_folder
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index._interface import Index
from dml.index._open import SCHEME, build_index, check_build, check_free, normal_location
from dml.reporting import SILENT, Reporter


def index_images(
    bundle: str | os.PathLike[str],
    sources: Sequence[str | os.PathLike[str]],
    location: str | os.PathLike[str],
    kind: str = "auto",
    recall: float = 0.95,
    reporter: Reporter = SILENT,
) -> Index:
    """Embeds images, writes an index of them and returns it.

    After an interruption, the same call continues from the finished parts, which are kept in
    `LOCATION.unfinished`. Images that can't be read are listed in `LOCATION.unreadable.csv`.

    Args:
        bundle: The encoder's folder; an index on disk stores a copy.
        sources: Folders, patterns such as `photos/*.jpg`, `.csv` or `.parquet` lists, `.tar`
            shards, `.parquet` or `.arrow` files with the bytes of images, images, and URLs of
            images; or one `.parquet` file of `dml embed`.
        location: As `open_index` takes it; it must not exist yet.
        kind: As `build_index` takes it.
        recall: As `build_index` takes it.
        reporter: Receives the progress, the result, and images that can't be read.

    Returns:
        The index, open.

    Raises:
        OccupiedError: `location` exists already.
        OptionError: An option is out of its range, or `sources` is a single path.
        DataError: The bundle or a source is missing or damaged.
        BusyError: Another process is building the same index.

    Example:
        >>> bundle = "runs/mine/bundle"
        >>> index = dml.index.index_images(bundle, ["photos"], "photos.index")  # doctest: +SKIP
        >>> len(index)  # doctest: +SKIP
    """
    check_list(sources=sources)
    location = normal_location(location)
    check_free(location)
    encoder = OnnxEncoder(bundle)
    name = _local_name(location)
    unfinished = unfinished_folder(name)
    check = partial(check_build, location, kind=kind, recall=recall)
    with measuring(unfinished, name):
        embedded = embed_sources(encoder, sources, unfinished, check=check, reporter=reporter)
        index = build_index(location, encoder, embedded.table, embedded.vectors, kind, recall)
    for line in f"{location}: {index.info()}".splitlines():
        reporter.info(line)
    embedded.list_unreadable(name, reporter)
    return index


def add_images(
    index: Index,
    sources: Sequence[str | os.PathLike[str]],
    bundle: str | os.PathLike[str] | None = None,
    reporter: Reporter = SILENT,
) -> tuple[int, int]:
    """Embeds images and adds them to an index.

    An image that is already in the index replaces its item; fields without a new value are kept.
    After an interruption, the same call continues.

    Args:
        index: The index.
        sources: As `index_images` takes them.
        bundle: The encoder's folder; by default the index's own, which Milvus does not have.
        reporter: Receives the progress, the result, and images that can't be read.

    Returns:
        How many items were new and how many were replaced.

    Raises:
        OptionError: `sources` is a single path.
        DataError: The bundle or a source is missing or damaged, or a field does not fit.
        BusyError: Another process is changing the index.

    Example:
        >>> index = dml.index.open_index("photos.index")  # doctest: +SKIP
        >>> new, replaced = dml.index.add_images(index, ["more_photos"])  # doctest: +SKIP
    """
    check_list(sources=sources)
    name = _local_name(index.location)
    unfinished = unfinished_folder(name)
    with index.changing(), measuring(unfinished, name):
        embedded = embed_sources(
            index.encoder(bundle),
            sources,
            unfinished,
            check=index.prepare_items,
            index=index,
            reporter=reporter,
        )
        new, replaced = index.add(embedded.table, embedded.vectors)
    items = number_of(len(index), "item")
    reporter.info(f"{new:,} added, {replaced:,} replaced; {items} in {index.location}")
    embedded.list_unreadable(name, reporter)
    return new, replaced


def _local_name(location):
    """Returns the prefix of an index's local files; the index itself may be on a server."""
    return re.sub(r"\W+", "-", location) if location.startswith(SCHEME) else location

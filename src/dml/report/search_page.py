"""The results of a search: one self-contained HTML page."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dml import _pages
from dml._storage.atomic import write_text
from dml.images import ImageError, read_image
from dml.images._thumbnails import thumbnail_uri
from dml.index import ImageSearchResult

_SIDE = 256  # pixels of an image


@dataclass(frozen=True)
class _PageImage:
    """An image of the page: a data URI, or the reason why it can't be read."""

    uri: str | None
    error: str = ""


@dataclass(frozen=True)
class _PageNeighbour:
    """A neighbour as the page shows it."""

    id: str
    label: str
    similarity: float
    same: bool | None
    image: _PageImage


@dataclass(frozen=True)
class _PageResult:
    """A query and its neighbours as the page shows them."""

    name: str
    image: _PageImage
    neighbours: list[_PageNeighbour]


def write_search_page(
    path: str | os.PathLike[str], location: str, results: Sequence[ImageSearchResult]
) -> None:
    """Writes search results as one self-contained HTML file that opens without a network.

    Args:
        path: The HTML file; replaced if it exists.
        location: Location of the index; shown at the top.
        results: As `dml.index.search_images` returns them.

    Raises:
        OSError: The file can't be written.
    """
    write_text(path, render_search_page(location, results))


def render_search_page(location: str, results: Sequence[ImageSearchResult]) -> str:
    """Returns search results as HTML."""
    return _pages.render(
        "results.html", title="Search results", location=location, results=map(_result, results)
    )


def _result(result):
    neighbours = [
        _PageNeighbour(
            near.item["id"],
            str(near.item["label"] or ""),
            near.similarity,
            near.same,
            _image(near.item["path"]),
        )
        for near in result.neighbours
    ]
    return _PageResult(Path(result.query).name, _image(result.query), neighbours)


def _image(path):
    if path is None:
        return _PageImage(None, "the item has no image")
    try:
        return _PageImage(thumbnail_uri(read_image(path, _SIDE), _SIDE))
    except ImageError as error:
        return _PageImage(None, str(error))

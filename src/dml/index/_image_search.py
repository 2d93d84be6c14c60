"""Searching an index by image files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dml._options import check_list, check_within
from dml.encoding.embed import embed_images
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index._interface import Index

BATCH_SIZE = 32


@dataclass(frozen=True)
class ImageNeighbour:
    """An item that is similar to an image.

    Args:
        similarity: Cosine similarity, in [-1, 1].
        same: Whether it reaches the encoder's calibrated threshold; None if it has none.
        item: A dictionary of the item's fields, with `id`, `path` and `label`.
    """

    similarity: float
    same: bool | None
    item: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary for JSON."""
        rest = {name: value for name, value in self.item.items() if name != "id"}
        similarity = round(self.similarity, 6)
        return {"id": self.item["id"], "similarity": similarity, "same": self.same, **rest}


@dataclass(frozen=True)
class ImageSearchResult:
    """An image and the items that are most similar to it.

    Args:
        query: The image.
        neighbours: Nearest first.
    """

    query: str
    neighbours: list[ImageNeighbour]

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary for JSON."""
        return {"query": self.query, "neighbours": [near.to_json() for near in self.neighbours]}


def search_images(
    index: Index,
    encoder: OnnxEncoder,
    images: Sequence[str | os.PathLike[str]],
    k: int = 10,
    where: str | None = None,
    threshold: float | None = None,
    unreadable: dict[str, str] | None = None,
) -> list[ImageSearchResult]:
    """Searches an index for the items nearest to images.

    Args:
        index: The `Index`.
        encoder: The encoder that it was built with: `index.encoder()`.
        images: As `dml.images.read_image` takes them.
        k: Number of neighbours of each; positive.
        where: A filter; None for all items.
        threshold: Least similarity of the neighbours, in [-1, 1]; None for the nearest k.
        unreadable: A dictionary to which {image: reason} of the images that can't be read is
            added; they have no result. If None, such an image is an error.

    Returns:
        An `ImageSearchResult` for each image, in their order.

    Raises:
        DataError: Another encoder computed the vectors of the index.
        ImageError: An image can't be read, and `unreadable` is None.
        OptionError: `k` or `threshold` is out of its range, or `images` is a single path.
        FilterError: The filter can't be read.

    Example:
        >>> index = dml.index.open_index("photos.index")  # doctest: +SKIP
        >>> encoder = index.encoder()  # doctest: +SKIP
        >>> found = dml.index.search_images(index, encoder, ["query.jpg"], k=5)  # doctest: +SKIP
        >>> [near.item["path"] for near in found[0].neighbours]  # doctest: +SKIP
    """
    if threshold is not None:
        check_within(-1, 1, threshold=threshold)
    check_list(images=images)
    index.check_encoder(encoder)
    paths = [os.fspath(image) for image in images]
    reasons: dict[int, str] | None = None if unreadable is None else {}
    size = min(BATCH_SIZE, max(1, len(paths)))
    vectors = embed_images(encoder, paths, batch_size=size, unreadable=reasons)
    if unreadable is not None and reasons:
        unreadable |= {paths[row]: reason for row, reason in reasons.items()}
        readable = [row for row in range(len(paths)) if row not in reasons]
        paths, vectors = [paths[row] for row in readable], vectors[readable]
    same = encoder.calibrated_threshold().similarity if encoder.thresholds else None
    return [
        ImageSearchResult(
            path,
            [
                ImageNeighbour(similarity, None if same is None else similarity >= same, item)
                for similarity, item in neighbours
                if threshold is None or similarity >= threshold
            ],
        )
        for path, neighbours in zip(paths, index.search(vectors, k, where), strict=True)
    ]

"""Decoding, embedding and searching, in batches of concurrent requests."""

import asyncio
import base64
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dml.errors import PackageError
from dml.images import ImageError, ImageRef
from dml.images._thumbnails import jpeg, shrunk
from dml.index import Index
from dml.serve._batching import Batcher, Overloaded
from dml.serve._decoding import DecoderPool
from dml.serve._holder import Snapshot
from dml.serve._uploads import UploadError, check_header, is_quick
from dml.serve._workers import Workers
from dml.serve.options import ServiceOptions

UPLOAD = "the upload"  # its name in error messages
THUMBNAIL_SIDE = 512

Neighbours = list[tuple[float, dict]]  # similarities and items, nearest first


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The neighbours of a query, and the encoder's input as a data URI."""

    neighbours: Neighbours
    crop: str | None = None


@dataclass(frozen=True, eq=False)
class _Image:
    """An image to embed.

    Args:
        image: Its file's bytes; or, decoded and prepared, uint8 (S, S, 3).
        k: Number of neighbours; None for the vector alone.
        crop: Whether to return the encoder's input.
        snapshot: The snapshot to search.
    """

    image: bytes | np.ndarray
    k: int | None
    crop: bool
    snapshot: Snapshot


@dataclass(frozen=True, eq=False)
class _Embedded:
    """The vector of an `_Image`, and the other requested results."""

    vector: np.ndarray
    neighbours: Neighbours | None
    crop: str | None


@dataclass(frozen=True, eq=False)
class _Vector:
    """A vector to search with, float32 (D,) of unit length, its k, and the index to search."""

    vector: np.ndarray
    k: int
    index: Index


class Searcher:
    """Searches by images, vectors and items. Use as an asynchronous context manager.

    Args:
        options: `ServiceOptions`.
        observe_batch: Called with the number of images in each batch; None for no call.
    """

    def __init__(self, options: ServiceOptions, observe_batch: Callable[[int], None] | None = None):
        self._max_pixels = options.max_pixels
        self._timeout = options.timeout
        self._workers = Workers(options.workers, options.max_pending, options.timeout)
        # Apart, so that a disk or a server that does not answer holds up no searches.
        self._readers = Workers(options.workers, options.max_pending, options.timeout)
        self._embedding = Batcher(
            self._embed, options.max_batch_size, options.max_pending, options.workers, observe_batch
        )
        self._searching = Batcher(self._search, max_pending=options.max_pending)
        self._decoders = DecoderPool(
            options.decoders, options.max_pixels, options.decode_timeout, options.max_pending
        )
        self._running = contextlib.AsyncExitStack()

    async def __aenter__(self):
        parts = self._workers, self._readers, self._embedding, self._searching, self._decoders
        for part in parts:
            await self._running.enter_async_context(part)
        return self

    async def __aexit__(self, *error):
        await self._running.aclose()

    async def run(self, function: Callable, *arguments):
        """Returns a function's result, from a thread; as `Workers.run` does."""
        return await self._workers.run(function, *arguments)

    async def by_image(
        self, snapshot: Snapshot, data: bytes, k: int, where: str | None, crop: bool
    ) -> SearchResult:
        """Searches by an uploaded image.

        Args:
            snapshot: The snapshot to search.
            data: The image file's bytes.
            k: Number of neighbours.
            where: A filter; None for all items.
            crop: Whether to return the encoder's input.
        """
        snapshot.check_filter(where)
        image: bytes | np.ndarray = data
        async with asyncio.timeout(self._timeout):
            if not is_quick(data):
                side = snapshot.encoder.preparation.resize_side
                image = await self._decoders.decode(data, UPLOAD, side, snapshot.prepare)
            query = _Image(image, k if where is None else None, crop, snapshot)
            embedded = await self._embedding.submit(query)
        neighbours = embedded.neighbours
        if neighbours is None:
            neighbours = await self._search_filtered(snapshot, embedded.vector, k, where)
        return SearchResult(neighbours, embedded.crop)

    async def by_vector(
        self, snapshot: Snapshot, vector: np.ndarray, k: int, where: str | None
    ) -> SearchResult:
        """Searches by a vector, float32 (D,), of unit length."""
        snapshot.check_filter(where)
        if where is not None:
            return SearchResult(await self._search_filtered(snapshot, vector, k, where))
        async with asyncio.timeout(self._timeout):
            return SearchResult(await self._searching.submit(_Vector(vector, k, snapshot.index)))

    async def by_item(
        self, snapshot: Snapshot, id: str, k: int, where: str | None, crop: bool
    ) -> SearchResult:
        """Searches by an item of the index, which is not among the results.

        The encoder's input is left out if the item's image can't be read in time.
        """
        vector = await self.run(snapshot.index.vector, id)
        found = await self.by_vector(snapshot, vector, k + 1, where)
        neighbours = [near for near in found.neighbours if near[1]["id"] != id][:k]
        if not crop:
            return SearchResult(neighbours)
        path = (await self.run(snapshot.index.item, id))["path"]
        side, shown = snapshot.encoder.preparation.resize_side, None
        with contextlib.suppress(ImageError, PackageError, UploadError, TimeoutError, Overloaded):
            shown = _data_uri(snapshot.crop(await self._read_image(path, side, snapshot.prepare)))
        return SearchResult(neighbours, shown)

    async def thumbnail(self, snapshot: Snapshot, id: str) -> bytes:
        """Returns the image of an item as a small JPEG.

        Raises:
            ImageError, PackageError, UploadError: It can't be read.
        """
        path = (await self.run(snapshot.index.item, id))["path"]
        return await self._read_image(path, THUMBNAIL_SIDE // 2, small_jpeg)

    async def _search_filtered(self, snapshot, vector, k, where):
        """Searches among the items that a filter keeps, separately because it may be slow."""
        (neighbours,) = await self.run(snapshot.index.search, vector[None], k, where)
        return neighbours

    async def _read_image(self, path, minimum_side, finish):
        """Returns `finish` of an item's image."""
        if path is None:
            raise ImageError("the item", "has no image")
        reference = ImageRef.parse(path)
        data = await self._readers.run(reference.read_bytes)
        if not reference.files:  # drawn
            return await self._readers.run(lambda: finish(reference.decode(data)))
        if is_quick(data):
            return await self._readers.run(self._decode, data, path, minimum_side, finish)
        async with asyncio.timeout(self._timeout):
            return await self._decoders.decode(data, path, minimum_side, finish)

    def _decode(self, data, name, minimum_side, finish):
        """Returns `finish` of the image in some bytes, decoded in this thread.

        Args:
            data: The bytes.
            name: The text of the item's `ImageRef`, or the name of an upload.
            minimum_side: As `dml.images.read_image` takes it.
            finish: A function of the image.
        """
        check_header(data, self._max_pixels)
        return finish(ImageRef.parse(name).decode(data, minimum_side))

    def _embed(self, images):
        """Returns an `_Embedded` for each `_Image`; an exception for one that can't be read."""
        results: list[Any] = [self._prepare(image) for image in images]
        for snapshot in {image.snapshot for image in images}:
            places = [
                place
                for place, image in enumerate(images)
                if image.snapshot is snapshot and not isinstance(results[place], ValueError)
            ]
            if not places:
                continue
            vectors = snapshot.encoder.predict_on_batch(np.stack([results[n] for n in places]))
            sizes = [images[place].k for place in places]
            queries = zip(vectors, sizes, strict=True)
            near = iter(self._search([_Vector(v, k, snapshot.index) for v, k in queries if k]))
            for place, vector in zip(places, vectors, strict=True):
                image, seen = images[place], results[place]
                results[place] = _Embedded(
                    vector,
                    next(near) if image.k else None,
                    _data_uri(snapshot.crop(seen)) if image.crop else None,
                )
        return results

    def _prepare(self, image):
        """Returns the square that the encoder takes, or the error of an unreadable image."""
        if not isinstance(image.image, bytes):
            return image.image
        side = image.snapshot.encoder.preparation.resize_side
        try:
            return self._decode(image.image, UPLOAD, side, image.snapshot.prepare)
        except ValueError as error:
            return error

    def _search(self, queries):
        """Returns the neighbours of each `_Vector`; those of one index and k in one search."""
        results = [None] * len(queries)
        for index, k in {(query.index, query.k) for query in queries}:
            places = [
                place
                for place, query in enumerate(queries)
                if query.index is index and query.k == k
            ]
            near = index.search(np.stack([queries[place].vector for place in places]), k)
            for place, neighbours in zip(places, near, strict=True):
                results[place] = neighbours
        return results


def small_jpeg(image: np.ndarray) -> bytes:
    """Returns an image as a small JPEG."""
    return jpeg(shrunk(image, THUMBNAIL_SIDE))


def _data_uri(image):
    """Returns an image as a JPEG data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode()

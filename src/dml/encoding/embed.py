"""Embedding of image files, in order."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dml._options import check_integer, check_list
from dml._processes import exchanged, from_each, process_count, process_index
from dml._threads import reading_threads
from dml.encoding._interface import Encoder, preparation_of
from dml.encoding._squares import read_squares
from dml.errors import DivergenceError
from dml.images import ImageError


def embed_images(
    encoder: Encoder,
    paths: Sequence[str] | np.ndarray,
    batch_size: int = 64,
    threads: int | None = None,
    advance: Callable[[int], None] | None = None,
    unreadable: dict[int, str] | None = None,
) -> np.ndarray:
    """Embeds image files; inside `dml.on_devices`, processes that train together share them.

    Args:
        encoder: A Keras model as `dml.build_encoder` returns it, or an `OnnxEncoder`.
        paths: N paths as `dml.images.read_image` takes them.
        batch_size: Images embedded at once; positive.
        threads: Threads that read images, positive; None for one per processor, at most 16.
        advance: Called with the number of images done since its last call; None for no calls.
        unreadable: A dictionary to which {row: reason} of the images that can't be read is added;
            their vectors are zero. If None, such an image is an error.

    Returns:
        Float32 (N, D); row i belongs to path i.

    Raises:
        ImageError: An image can't be read; the message names it.
        OptionError: An option is not positive, or `paths` is a single path, or the encoder is an
            unsupported model.
        DivergenceError: An embedding is not finite.

    Example:
        >>> items = dml.datasets.Glyphs(classes=4, samples=4, size=32).items()
        >>> encoder = dml.build_encoder(dml.backbones.Conv4(input_size=16, resize_side=16))
        >>> dml.embed_images(encoder, items.paths).shape
        (16, 512)
    """
    check_integer(1, batch_size=batch_size)
    check_list(paths=paths)
    threads = reading_threads(threads)
    if _is_shared():
        vectors = _embed_share(encoder, paths, batch_size, threads, advance, unreadable)
    else:
        vectors = np.zeros((len(paths), encoder.output_shape[-1]), "float32")
        batches = _batches(encoder, paths, batch_size, threads, advance, unreadable)
        for batch, rows in batches:
            vectors[rows] = np.asarray(encoder.predict_on_batch(batch))[: len(rows)]
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DivergenceError(f"the embedding of {paths[bad[0]]} is not finite: training diverged")
    return vectors


def _batches(encoder, paths, size, threads, advance, unreadable) -> Iterator[tuple]:
    """Yields batches of images and the rows of those that are in them.

    Batches are always full, with what remains of the one before, so that one shape is compiled.
    """
    wanted = preparation_of(encoder)
    batch = np.zeros((size, wanted.resize_side, wanted.resize_side, 3), "uint8")
    rows: list[int] = []
    for row, image in enumerate(read_squares(paths, wanted, threads, ahead=2 * size)):
        if isinstance(image, ImageError):
            if unreadable is None:
                raise image
            unreadable[row] = str(image)
        else:
            batch[len(rows)] = image
            rows.append(row)
        if len(rows) == size:
            yield batch, rows
            rows.clear()
        if advance is not None and ((row + 1) % size == 0 or row + 1 == len(paths)):
            advance(row % size + 1)
    if rows:
        yield batch, rows


def _is_shared() -> bool:
    """Returns whether several processes embed together."""
    if process_count() == 1:
        return False
    from dml._devices import devices_in_use

    return devices_in_use() > 1


def _embed_share(encoder, paths, batch_size, threads, advance, unreadable) -> np.ndarray:
    """Returns the vectors (N, D) of images, of which each process reads and embeds its share."""
    from dml._devices import predicted_share, share_of

    size, share = share_of(batch_size), -(-len(paths) // process_count())
    first = process_index() * share
    vectors = np.zeros((share, encoder.output_shape[-1]), "float32")
    failed: dict[int, str] = {}
    known = None if unreadable is None else failed
    batches = _batches(encoder, paths[first : first + share], size, threads, advance, known)
    side = preparation_of(encoder).resize_side
    empty = np.zeros((size, side, side, 3), "uint8")
    for _ in range(-(-share // size)):  # as many in each process
        batch, rows = next(batches, (None, []))
        found = predicted_share(encoder, empty if batch is None else batch)
        vectors[rows] = found[: len(rows)]
    if unreadable is not None:
        for part, reasons in enumerate(from_each(failed)):
            unreadable.update({part * share + row: text for row, text in reasons.items()})
    return exchanged(vectors).reshape(-1, vectors.shape[1])[: len(paths)]

"""Embedding of image files, in order."""

from collections.abc import Callable, Sequence

import numpy as np

from dml._options import check_at_least
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
    """Embeds image files.

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
        OptionError: An option is not positive, or the encoder is an unsupported model.
        DivergenceError: An embedding is not finite.
    """
    check_at_least(1, batch_size=batch_size)
    threads = reading_threads(threads)
    wanted = preparation_of(encoder)
    vectors = np.zeros((len(paths), encoder.output_shape[-1]), "float32")
    batch = np.zeros((batch_size, wanted.resize_side, wanted.resize_side, 3), "uint8")
    rows: list[int] = []

    def finish():
        if rows:  # always full batches, so that one shape is compiled
            vectors[rows] = np.asarray(encoder.predict_on_batch(batch))[: len(rows)]
            rows.clear()

    for row, image in enumerate(read_squares(paths, wanted, threads, ahead=2 * batch_size)):
        if isinstance(image, ImageError):
            if unreadable is None:
                raise image
            unreadable[row] = str(image)
        else:
            batch[len(rows)] = image
            rows.append(row)
        if len(rows) == batch_size:
            finish()
        if advance is not None and ((row + 1) % batch_size == 0 or row + 1 == len(paths)):
            advance(row % batch_size + 1)
    finish()
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DivergenceError(f"the embedding of {paths[bad[0]]} is not finite: training diverged")
    return vectors

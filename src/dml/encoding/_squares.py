"""Images as an encoder takes them, read ahead."""

from collections.abc import Iterable, Iterator

import numpy as np

from dml.encoding._interface import Preparation
from dml.images import ImageError, read_image
from dml.images._ahead import read_ahead
from dml.images._resizing import square


def read_squares(
    paths: Iterable[str], wanted: Preparation, threads: int | None, ahead: int
) -> Iterator[np.ndarray | ImageError]:
    """Returns images as squares for an encoder, in order, read ahead by threads.

    Args:
        paths: Paths as `dml.images.read_image` takes them.
        wanted: The size and the crop of the squares.
        threads: As of `read_ahead`.
        ahead: Images read in advance.

    Returns:
        For each image, uint8 (side, side, 3), or the `ImageError` of an image that can't be read.
    """
    side = wanted.resize_side

    def read(path):
        try:
            return square(read_image(path, side), side, wanted.aspect)
        except ImageError as error:
            return error

    return read_ahead(read, paths, threads, ahead)

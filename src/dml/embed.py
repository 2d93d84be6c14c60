"""Encoder and images in, vectors out, in the order of the images."""

import numpy as np

from dml.encoder import preparation
from dml.loader import evaluation_images


def embed_images(encoder, paths, batch_size=64, threads=2, advance=None):
    """Embeds image files.

    Args:
        encoder: A Keras model as `dml.build_encoder` returns it.
        paths: N paths as `dml.images.read_image` takes them.
        batch_size: Images embedded at once; positive.
        threads: Threads that read images; positive.
        advance: Called with the number of images done since its last call; None for silence.

    Returns:
        Float32 (N, D); row i belongs to path i.

    Raises:
        ImageError: An image can't be read; the message names it.
        ValueError: The encoder gave a vector that is not finite.
    """
    wanted = preparation(encoder)
    vectors = np.empty((len(paths), encoder.output_shape[-1]), "float32")
    row = 0
    for images in evaluation_images(
        paths, wanted.resize_side, batch_size, threads=threads, aspect=wanted.aspect
    ):
        count = len(images)
        if count < batch_size:  # one shape, one compilation
            images = np.concatenate([images, np.repeat(images[:1], batch_size - count, axis=0)])
        vectors[row : row + count] = np.asarray(encoder.predict_on_batch(images))[:count]
        row += count
        if advance is not None:
            advance(count)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(f"the embedding of {paths[bad[0]]} is not finite: training diverged")
    return vectors

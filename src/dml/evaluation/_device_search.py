"""Exact nearest neighbours on the accelerator of the Keras backend that a program uses."""

import contextlib
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

PART = 1 << 17  # gallery rows on the device at once
BLOCK = 128


def has_accelerator() -> bool:
    """Returns whether Keras is in use, and on an accelerator. Loads no backend by itself."""
    return "keras" in sys.modules and accelerated()


@lru_cache(maxsize=1)
def accelerated() -> bool:
    """Returns whether the Keras backend has a device other than a CPU."""
    import keras

    if keras.backend.backend() == "torch":  # whose devices Keras does not list
        import torch

        return torch.cuda.is_available()
    devices = keras.distribution.list_devices()
    return any(not str(device).lower().startswith("cpu") for device in devices)


def nearest(queries: np.ndarray, gallery: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the similarities (Q, depth) and rows of the nearest of the gallery, sorted.

    Args:
        queries: Float32 (Q, D).
        gallery: Float32 (G, D), of any size: it is copied to the device in parts.
        depth: Number of rows to find; at most G.

    Returns:
        NumPy float32 (Q, depth), falling, and int64 (Q, depth).
    """
    import keras

    ops: Any = keras.ops
    best, rows = np.empty((2, len(queries), 0), "float32")
    rows = rows.astype("int64")
    with full_precision():
        asked = ops.convert_to_tensor(queries)
        for start in range(0, len(gallery), PART):
            part = ops.convert_to_tensor(gallery[start : start + PART])
            similarities = ops.matmul(asked, ops.transpose(part))
            near, places = _largest(similarities, min(depth, part.shape[0]))
            best = np.concatenate([best, ops.convert_to_numpy(near)], axis=1)
            places = ops.convert_to_numpy(places).astype("int64")
            rows = np.concatenate([rows, start + places], axis=1)
            order = np.argsort(-best, axis=1, kind="stable")[:, :depth]
            best, rows = (np.take_along_axis(x, order, axis=1) for x in (best, rows))
    return best, rows


def _largest(x: Any, count: int) -> tuple[Any, Any]:
    """Returns the largest of each row in falling order, and their places, as `ops.top_k` does.

    XLA sorts whole rows for that, which is slow for long ones. The `count` largest of a row are in
    the `count` blocks with the largest maxima, so only these blocks are sorted.

    Args:
        x: Float tensor (R, N).
        count: At most N.
    """
    import keras

    ops: Any = keras.ops
    blocks = -(-x.shape[1] // BLOCK)
    if 2 * count > blocks:
        return ops.top_k(x, count)
    x = ops.pad(x, [(0, 0), (0, blocks * BLOCK - x.shape[1])], constant_values=-np.inf)
    x = ops.reshape(x, (-1, blocks, BLOCK))
    _, chosen = ops.top_k(ops.max(x, axis=2), count)
    x = ops.take_along_axis(x, chosen[:, :, None], axis=1)
    values, places = ops.top_k(ops.reshape(x, (-1, count * BLOCK)), count)
    block = ops.take_along_axis(chosen, places // BLOCK, axis=1)
    return values, block * BLOCK + places % BLOCK


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Computes products in full float32, which accelerators round to fewer bits by default."""
    import keras

    match keras.backend.backend():
        case "jax":
            import jax

            with jax.default_matmul_precision("highest"):
                yield
        case "tensorflow":
            from tensorflow import config

            before = config.experimental.tensor_float_32_execution_enabled()
            config.experimental.enable_tensor_float_32_execution(False)
            try:
                yield
            finally:
                config.experimental.enable_tensor_float_32_execution(before)
        case _:
            import torch

            before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(before)

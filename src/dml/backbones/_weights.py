"""Files of weights and models, checked when they are loaded."""

import hashlib
import importlib
import os
import warnings
import zipfile
from typing import Any

import h5py
import keras
import numpy as np

from dml._storage.atomic import check_regular
from dml._streams import held_back
from dml.errors import DataError, PackageError

CUT_SHORT = "Incomplete or corrupted file"  # Keras, of weights whose checksum is another
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # of HDF5 and Keras
_MOST_UNPACKED = 100  # times the size of a model's file; Keras compresses nothing


def load_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Loads a `.weights.h5` file.

    Raises:
        DataError: The file is not a weights file, damaged, or of another architecture. Keras
            itself skips unknown weights in some of these cases, so the shapes are compared before
            and the numbers after.
    """
    damaged = "not a Keras weights file (.weights.h5), or damaged"
    found: list[tuple[int, ...]] = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(
                lambda _, item: found.append(item.shape) if isinstance(item, h5py.Dataset) else None
            )
    except _DAMAGE as error:
        raise DataError(path, f"{damaged} ({error})") from None
    wanted = [tuple(weight.shape) for weight in model.weights]
    if sorted(found) != sorted(wanted):
        raise DataError(
            path,
            f"these weights are of another architecture than {model.name}: the file holds "
            f"{len(found)} arrays, the network {len(wanted)}, and their shapes differ",
        )
    stored = set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about containers without weights of their own
            model.load_weights(path)
        with h5py.File(path, "r") as file:
            file.visititems(
                lambda _, item: (
                    stored.add(_digest(item[()])) if isinstance(item, h5py.Dataset) else None
                )
            )
    except _DAMAGE as error:
        raise DataError(path, f"{damaged} ({error})") from None
    for weight in model.weights:
        values: Any = keras.ops.convert_to_numpy(weight.value)
        if not np.isfinite(values).all() or _digest(values) not in stored:
            raise DataError(path, f"{damaged} (at {weight.path})")


def _digest(values):
    """Returns the SHA-256 of an array's numbers as float32."""
    return hashlib.sha256(np.ascontiguousarray(values, "float32").tobytes()).digest()


def load_model(path: str | os.PathLike[str], what: str, compiled: bool = False) -> Any:
    """Loads a `.keras` file.

    Args:
        path: The file.
        what: The expected kind of file, for the message.
        compiled: Whether to compile it as it was, with the state of its optimizer.

    Raises:
        DataError: The file is damaged, or of another kind.
        PackageError: It has layers of keras-hub, which is not installed.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as file:
            unpacked = sum(member.file_size for member in file.infolist())
            if unpacked > _MOST_UNPACKED * os.path.getsize(path):
                raise ValueError(f"it unpacks to {unpacked:,} bytes")
            if damaged := file.testzip():
                raise ValueError(f"{damaged} in it is damaged")
            if b'"keras_hub.' in file.read("config.json"):
                keras_hub(os.fspath(path))
        return keras.saving.load_model(path, compile=compiled)
    except PackageError:
        raise
    except Exception as error:  # zipfile, h5py, JSON and Keras fail in many ways on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(path, f"can't be read as {what} ({reason})") from None


def keras_hub(needed_by: str) -> Any:
    """Returns the package keras-hub.

    Args:
        needed_by: What needs it, for the message.

    Raises:
        PackageError: It is not installed.
    """
    try:
        with held_back():  # it imports TensorFlow where it finds one, on any backend
            return importlib.import_module("keras_hub")
    except ModuleNotFoundError as error:
        if error.name != "keras_hub":
            raise
        raise PackageError(f"{needed_by} needs keras-hub: pip install 'dml[hub]'") from None

"""The base class of backbones: registry, weights and the behaviour of BatchNormalization."""

import hashlib
import http.client
import os
import socket
import warnings
import zipfile
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from dml._options import check_known, check_within
from dml._storage.atomic import check_regular
from dml._storage.places import data_folder
from dml.errors import DataError, MissingDataError, OptionError, StorageError
from dml.registry import Registry

BACKBONES = Registry("backbone")
BATCH_NORMS = ("train", "frozen", "fixed")
ASPECTS = ("keep", "stretch")
TIMEOUT = 60  # seconds without an answer of the server of the ImageNet weights
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # of HDF5 and Keras
MOST_UNPACKED = 100  # times the size of a model's file; Keras compresses nothing


@dataclass(frozen=True)
class Backbone:
    """Maps images with values 0..255 to a map of features.

    Args:
        weights: `imagenet` (downloaded by Keras), the path of a weights file, or `none`. A
            relative path is also looked up under `DML_DATA`.
        input_size: Side in pixels of the square that the network sees. Positive.
        resize_side: Side in pixels that the shorter side of an image is resized to before the
            centre crop of `input_size`. At least `input_size`.
        aspect: `keep` resizes the shorter side to `resize_side`, so that the ends of a long image
            are cropped, as in the papers; `stretch` resizes both sides to it, which shows more of
            a long object.
        batch_norm: `train` normalises by the batch in training; `frozen` always by the statistics
            that came with the weights, while its scale and shift learn, as the papers do on
            small data sets; `fixed` learns neither, and tolerates higher learning rates.
        batch_norm_momentum: Momentum of the running statistics, in [0, 1]; the network's own if
            `none`. Keras' MobileNetV2 has 0.999, too slow to forget ImageNet's statistics in a
            short training: 0.9 to 0.99 is better there.

    Raises:
        OptionError: An option is out of its range.
    """

    weights: str = "imagenet"
    input_size: int = 224
    resize_side: int = 256
    aspect: str = "keep"
    batch_norm: str = "train"
    batch_norm_momentum: float | None = None

    def __post_init__(self):
        check_known(BATCH_NORMS, batch_norm=self.batch_norm)
        check_known(ASPECTS, aspect=self.aspect)
        if not 0 < self.input_size <= self.resize_side:
            raise OptionError(
                "input_size",
                "must be positive and at most resize_side; "
                f"got {self.input_size} and {self.resize_side}",
            )
        if self.batch_norm_momentum is not None:
            check_within(0, 1, batch_norm_momentum=self.batch_norm_momentum)

    @abstractmethod
    def scaling(self) -> keras.Layer:
        """Returns the layer that maps 0..255 to what the weights expect."""
        raise NotImplementedError

    @abstractmethod
    def architecture(self, weights: str | None) -> keras.Model:
        """Returns the Keras model (S, S, 3) -> (h, w, C); `weights` is "imagenet" or None."""
        raise NotImplementedError

    def network(self) -> keras.Model:
        """Returns the Keras model with its weights loaded.

        Raises:
            DataError: The weights are of another architecture, or the file is damaged.
            MissingDataError: The weights file is missing.
            StorageError: ImageNet weights can't be downloaded.
        """
        if self.weights == "imagenet":
            model: Any = _downloaded(self)
        elif self.weights == "none":
            model = self.architecture(None)
        else:
            path = _find_weights(self.weights)
            model = self.architecture(None)
            load_weights(model, path)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = self.batch_norm != "fixed"
                if self.batch_norm_momentum is not None:
                    layer.momentum = self.batch_norm_momentum
        return model


def _downloaded(backbone):
    """Returns a backbone's network with the ImageNet weights, which Keras downloads and caches.

    Raises:
        StorageError: They can't be downloaded, or the cached file is damaged.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        return backbone.architecture("imagenet")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        refused = reason.startswith("URL fetch failure")  # Keras raises these as a bare Exception
        cut = reason.startswith("Incomplete or corrupted file")
        damaged = isinstance(error, (OSError, RuntimeError, KeyError, http.client.HTTPException))
        if not (refused or cut or damaged):
            raise
        raise StorageError(
            f"the ImageNet weights of {type(backbone).__name__} can't be downloaded, or the file "
            f"that Keras keeps in .keras/models is damaged: {reason.rstrip('.')}. Without a "
            "network, take weights from a file, --backbone.weights FILE.weights.h5, or random "
            "ones, --backbone.weights none"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _find_weights(name):
    """Returns the path of a weights file, given as it is or relative to `DML_DATA`."""
    candidates = [Path(name).expanduser()]
    if (folder := data_folder()) is not None:
        candidates.append(folder / name)
    for path in candidates:
        if path.is_file():
            return path
    text = "no such weights file: give an existing path, 'imagenet' or 'none' as backbone.weights"
    raise MissingDataError(name, text)


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
    except DAMAGE as error:
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
    except DAMAGE as error:
        raise DataError(path, f"{damaged} ({error})") from None
    for weight in model.weights:
        values: Any = keras.ops.convert_to_numpy(weight.value)
        if not np.isfinite(values).all() or _digest(values) not in stored:
            raise DataError(path, f"{damaged} (at {weight.path})")


def _digest(values):
    """Returns the SHA-256 of an array's numbers as float32."""
    return hashlib.sha256(np.ascontiguousarray(values, "float32").tobytes()).digest()


def load_model(path: str | os.PathLike[str], what: str) -> Any:
    """Loads a `.keras` file.

    Args:
        path: The file.
        what: What it should be, for the message.

    Raises:
        DataError: The file is damaged, or something else.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as file:
            unpacked = sum(member.file_size for member in file.infolist())
            if unpacked > MOST_UNPACKED * os.path.getsize(path):
                raise ValueError(f"it unpacks to {unpacked:,} bytes")
            if damaged := file.testzip():
                raise ValueError(f"{damaged} in it is damaged")
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # zipfile, h5py, JSON and Keras fail in many ways on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(path, f"can't be read as {what} ({reason})") from None

"""What every backbone shares: its registry, its weights and how BatchNormalization behaves."""

import hashlib
import http.client
import os
import socket
import warnings
import zipfile
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from dml._storage.atomic import check_regular
from dml._storage.places import data_folder
from dml.registry import Registry

BACKBONES = Registry("backbone")
PATIENCE = 60  # seconds without an answer of the server that has the ImageNet weights
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what HDF5 and Keras raise of it
MOST_UNPACKED = 100  # times a model's file; Keras packs nothing


@dataclass(frozen=True)
class Backbone:
    """Turns images with values 0..255 into a map of features.

    Args:
        weights: `imagenet` (downloaded by Keras), the path of a weights file, or `none`. A path
            that is not found as it stands is also looked for under `DML_DATA`.
        input_size: Side in pixels of the square that the network sees. Positive.
        resize_side: Side in pixels that the shorter side of an image is brought to before the
            centre `input_size` is cut out. At least `input_size`.
        aspect: `keep` brings the shorter side to `resize_side`, so that the ends of a long image
            are cut off, as in the papers; `stretch` brings both sides to it, which shows more of
            a long object.
        batch_norm: `train` normalises by the batch in training; `frozen` always by the statistics
            that came with the weights, while its scale and shift learn, as the papers do on
            small data sets; `fixed` learns neither, which bears higher rates.
        batch_norm_momentum: Momentum of the running statistics, in [0, 1]; the network's own if
            `none`. Keras' MobileNetV2 has 0.999, too slow to leave ImageNet's statistics behind
            in a short training: 0.9 to 0.99 is better there.
    """

    weights: str = "imagenet"
    input_size: int = 224
    resize_side: int = 256
    aspect: str = "keep"
    batch_norm: str = "train"
    batch_norm_momentum: float | None = None

    def __post_init__(self):
        if self.batch_norm not in ("train", "frozen", "fixed"):
            raise ValueError(
                f"batch_norm must be 'train', 'frozen' or 'fixed'; got {self.batch_norm!r}"
            )
        if self.aspect not in ("keep", "stretch"):
            raise ValueError(f"aspect must be 'keep' or 'stretch'; got {self.aspect!r}")
        if not 0 < self.input_size <= self.resize_side:
            raise ValueError(
                "input_size must be positive and at most resize_side; "
                f"got {self.input_size} and {self.resize_side}"
            )
        momentum = self.batch_norm_momentum
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"batch_norm_momentum must be in [0, 1]; got {momentum}")

    @abstractmethod
    def scaling(self):
        """Returns the layer that maps 0..255 to what the weights expect."""

    @abstractmethod
    def architecture(self, weights):
        """Returns the Keras model (S, S, 3) -> (h, w, C); `weights` is "imagenet" or None."""

    def network(self):
        """Returns the Keras model with its weights loaded.

        Raises:
            ValueError: The weights belong to another architecture, or the file is damaged.
            FileNotFoundError: The weights file is missing.
            OSError: ImageNet weights can't be downloaded.
        """
        if self.weights == "imagenet":
            model = downloaded(self)
        elif self.weights == "none":
            model = self.architecture(None)
        else:
            path = find_weights(self.weights)
            model = self.architecture(None)
            load_weights(model, path)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = self.batch_norm != "fixed"
                if self.batch_norm_momentum is not None:
                    layer.momentum = self.batch_norm_momentum
        return model


def downloaded(backbone):
    """Returns a backbone's network with the ImageNet weights, which Keras downloads and keeps.

    Raises:
        OSError: They can't be downloaded, or what was kept is damaged.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        return backbone.architecture("imagenet")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        refused = reason.startswith("URL fetch failure")  # Keras raises these as a bare Exception
        cut = reason.startswith("Incomplete or corrupted file")
        damaged = isinstance(error, (OSError, RuntimeError, KeyError, http.client.HTTPException))
        if not (refused or cut or damaged):
            raise
        raise OSError(
            f"the ImageNet weights of {type(backbone).__name__} can't be downloaded, or what Keras "
            f"keeps of them in .keras/models is damaged: {reason.rstrip('.')}. Without a network, "
            "take weights from a file, --backbone.weights FILE.weights.h5, or random ones, "
            "--backbone.weights none"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def find_weights(name):
    """Returns the path of a weights file, looked for as it stands and under `DML_DATA`."""
    candidates = [Path(name).expanduser()]
    if data_folder() is not None:
        candidates.append(data_folder() / name)
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"no weights file {name}: give an existing path, 'imagenet' or 'none' as backbone.weights"
    )


def load_weights(model, path):
    """Loads a `.weights.h5` file.

    Raises:
        ValueError: The file is not one of weights, damaged, or of another architecture. Keras
            itself skips what it can't place in some of these cases, so the shapes are compared
            before and the numbers after.
    """
    fault = f"{path}: not a Keras weights file (.weights.h5), or damaged"
    found = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(
                lambda _, item: found.append(item.shape) if isinstance(item, h5py.Dataset) else None
            )
    except DAMAGE as error:
        raise ValueError(f"{fault} ({error})") from None
    wanted = [tuple(weight.shape) for weight in model.weights]
    if sorted(found) != sorted(wanted):
        raise ValueError(
            f"{path}: these weights belong to another architecture than {model.name}: the file "
            f"holds {len(found)} arrays, the network {len(wanted)}, and their shapes differ"
        )
    stored = set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about containers without weights of their own
            model.load_weights(path)
        with h5py.File(path, "r") as file:
            file.visititems(
                lambda _, item: (
                    stored.add(digest(item[()])) if isinstance(item, h5py.Dataset) else None
                )
            )
    except DAMAGE as error:
        raise ValueError(f"{fault} ({error})") from None
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight.value)
        if not np.isfinite(values).all() or digest(values) not in stored:
            raise ValueError(f"{fault} (at {weight.path})")


def digest(values):
    """Returns the SHA-256 of an array's numbers as float32."""
    return hashlib.sha256(np.ascontiguousarray(values, "float32").tobytes()).digest()


def load_model(path, what):
    """Loads a `.keras` file.

    Args:
        path: The file.
        what: It should be, for the message.

    Raises:
        ValueError: The file is damaged or something else.
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
        raise ValueError(f"{path}: can't be read as {what} ({reason})") from None

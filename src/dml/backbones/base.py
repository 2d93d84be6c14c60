"""The base class of backbones: registry, weights and the behaviour of BatchNormalization."""

import http.client
import socket
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras

from dml._options import check_integer, check_known, check_within
from dml._registry import Registry
from dml._storage.places import data_folder, expanded
from dml.backbones._lora import enable_lora
from dml.backbones._weights import CUT_SHORT, load_weights
from dml.errors import MissingDataError, OptionError, StorageError

BACKBONES = Registry("backbone")
_BATCH_NORMS = ("train", "frozen", "fixed")
_ASPECTS = ("keep", "stretch")
_TIMEOUT = 60  # seconds to wait for the server of the ImageNet weights


@dataclass(frozen=True)
class Backbone:
    """Maps images with values 0..255 to a feature map, or to a class token and a map of patches.

    Args:
        weights: `imagenet` (downloaded by Keras), the path of a weights file, or `none`. A
            relative path is also looked up under `DML_DATA`.
        input_size: Side in pixels of the square that the network sees. Positive.
        resize_side: Side in pixels that the shorter side of an image is resized to before the
            centre crop of `input_size`. At least `input_size`; 0 takes 8/7 of it, such as 256 for
            224, as is usual for ImageNet.
        aspect: `keep` resizes the shorter side to `resize_side`, so that the ends of a long image
            are cropped, as in the papers; `stretch` resizes both sides to it, which shows more of
            a long object.
        batch_norm: `train` normalises by the batch in training; `frozen` always by the statistics
            that came with the weights, while its scale and shift learn, as the papers do on
            small data sets; `fixed` learns neither, and tolerates higher learning rates.
        batch_norm_momentum: Momentum of the running statistics, in [0, 1]; the network's own if
            `none`. Keras' MobileNetV2 has 0.999, too slow to forget ImageNet's statistics in a
            short training: 0.9 to 0.99 is better there.
        lora_rank: Rank of the factors that low-rank adaptation (LoRA) trains at each attention and
            dense kernel, while everything else of the backbone is frozen; 0 trains the network
            itself. 4 to 16 is usual. They are merged into the kernels when the encoder is written.

    Raises:
        OptionError: An option is out of its range.
    """

    licence: ClassVar[str] = ""  # of the weights; empty where it is not known
    cropped_from: ClassVar[float] = 256 / 224  # the usual `resize_side`, relative to `input_size`

    weights: str = "imagenet"
    input_size: int = 224
    resize_side: int = 0
    aspect: str = "keep"
    batch_norm: str = "train"
    batch_norm_momentum: float | None = None
    lora_rank: int = 0

    def __post_init__(self):
        check_known(_BATCH_NORMS, batch_norm=self.batch_norm)
        check_known(_ASPECTS, aspect=self.aspect)
        self._check_sides()
        if self.batch_norm_momentum is not None:
            check_within(0, 1, batch_norm_momentum=self.batch_norm_momentum)
        check_integer(0, lora_rank=self.lora_rank)

    def _check_sides(self):
        least = min(type(self).input_size, 1)  # 0 where it is the default: the network's own
        check_integer(least, input_size=self.input_size)
        check_integer(0, resize_side=self.resize_side)
        if 0 < self.resize_side < self.input_size:
            raise OptionError(
                "resize_side",
                f"must be at least input_size, or 0; got {self.resize_side} and {self.input_size}",
            )

    def resolved(self) -> "Backbone":
        """Returns the backbone with every option known; a preset or a model is read for that.

        Raises:
            OptionError: The sides of the images do not fit each other.
            DmlError: The preset or the model can't be read.
        """
        size = self.input_size or self._own_size()
        side = self.resize_side or round(size * self.cropped_from)
        return replace(self, input_size=size, resize_side=side)

    def _own_size(self) -> int:
        """Returns the side in pixels of the network's images, for families that have their own."""
        raise NotImplementedError

    @classmethod
    def is_pretrained_by_default(cls) -> bool:
        """Returns whether the network has trained weights unless `weights` says otherwise."""
        return cls.weights != "none"

    @property
    def is_pretrained(self) -> bool:
        """Whether the network has trained weights, rather than random ones."""
        return self.weights != "none"

    @abstractmethod
    def scaling(self) -> keras.Layer:
        """Returns the layer that maps 0..255 to what the weights expect."""
        raise NotImplementedError

    @abstractmethod
    def architecture(self, weights: str | None) -> keras.Model:
        """Returns the Keras model of scaled images (S, S, 3); `weights` is "imagenet" or None.

        It returns a feature map (h, w, C), a vector (C), or the list of a class token (C) and the
        map of the patches (h, w, C).
        """
        raise NotImplementedError

    def network(self) -> keras.Model:
        """Returns the Keras model with its weights loaded, and LoRA's factors if there are any.

        Raises:
            OptionError: LoRA is asked for, and the network has no kernel for it.
            DataError: The weights belong to another architecture, or the file is damaged.
            MissingDataError: The weights file is missing.
            StorageError: Weights can't be downloaded.
        """
        model: Any = self._with_weights()
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = self.batch_norm != "fixed"
                if self.batch_norm_momentum is not None:
                    layer.momentum = self.batch_norm_momentum
        if self.lora_rank:
            enable_lora(model, self.lora_rank)
        return model

    def _with_weights(self):
        if self.weights == "imagenet":
            return _downloaded(self)
        if self.weights == "none":
            return self.architecture(None)
        path = _find_weights(self.weights)
        model = self.architecture(None)
        load_weights(model, path)
        return model


def _downloaded(backbone):
    """Returns a backbone's network with the ImageNet weights, which Keras downloads and caches.

    Raises:
        StorageError: They can't be downloaded, or the cached file is damaged.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        return backbone.architecture("imagenet")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        refused = reason.startswith("URL fetch failure")  # Keras raises these as a bare Exception
        cut = reason.startswith(CUT_SHORT)
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
    """Returns the path of a weights file, given as a path or relative to `DML_DATA`."""
    candidates = [expanded(name)]
    if (folder := data_folder()) is not None:
        candidates.append(folder / name)
    for path in candidates:
        if path.is_file():
            return path
    text = "no such weights file: give an existing path, 'imagenet' or 'none' as backbone.weights"
    raise MissingDataError(name, text)

"""A backbone from a saved Keras model."""

from dataclasses import dataclass
from pathlib import Path

import keras

from dml._options import check_known
from dml.backbones._scaling import MODES, InputScaling
from dml.backbones._weights import load_model
from dml.backbones.base import BACKBONES, Backbone
from dml.errors import MissingDataError, OptionError


@BACKBONES.register("own")
@dataclass(frozen=True)
class Own(Backbone):
    """Any Keras model from images (S, S, 3) to features (h, w, C) or (C), from a `.keras` file.

    Args:
        path: The `.keras` file.
        scaling_mode: The range that its weights expect: `tf` for [-1, 1], `torch`, `caffe`, or
            `none` for 0..255.
        weights: `none` keeps the file's weights; otherwise the path of a weights file.
        input_size: Side in pixels of the model's input.
        resize_side: Side that the shorter side of an image is resized to first; 0 takes 8/7 of
            `input_size`.
        aspect: As for every backbone, `keep` or `stretch`.
        batch_norm: As for every backbone, `train` or `frozen`.
        batch_norm_momentum: As for every backbone.
        lora_rank: As for every backbone.
    """

    weights: str = "none"
    path: str = ""
    scaling_mode: str = "none"

    def __post_init__(self):
        super().__post_init__()
        check_known(MODES, scaling_mode=self.scaling_mode)

    @classmethod
    def is_pretrained_by_default(cls) -> bool:
        """True: the file holds weights."""
        return True

    @property
    def is_pretrained(self) -> bool:
        """True: the file holds weights."""
        return True

    def scaling(self) -> keras.Layer:
        return InputScaling(self.scaling_mode, name="scaling")

    def architecture(self, weights: str | None) -> keras.Model:
        if weights == "imagenet":
            raise OptionError("weights", "must be 'none' or a file: the model has its own")
        if not Path(self.path).is_file():
            raise MissingDataError(self.path or "backbone.path", "no such Keras model")
        return load_model(self.path, "a Keras model")

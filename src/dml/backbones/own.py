"""A backbone from a saved Keras model."""

from dataclasses import dataclass
from pathlib import Path

import keras

from dml._options import check_known
from dml.backbones._scaling import MODES, InputScaling
from dml.backbones._weights import load_model
from dml.backbones.base import BACKBONES, Backbone
from dml.errors import DataError, MissingDataError, OptionError

_ANY_SIZE = 224  # the side of images for a model of any size


@BACKBONES.register("own")
@dataclass(frozen=True)
class Own(Backbone):
    """Any Keras model from images (S, S, 3) to features (h, w, C) or (C), from a `.keras` file.

    Args:
        path: The `.keras` file.
        scaling_mode: The range that its weights expect: `tf` for [-1, 1], `torch`, `caffe`, or
            `none` for 0..255.
        weights: `none` keeps the file's weights; otherwise the path of a weights file.
        input_size: Side in pixels of the model's input; 0 takes the model's own, or 224 if it
            takes any.
        resize_side: Side that the shorter side of an image is resized to first; 0 takes 8/7 of
            `input_size`.
        aspect: As for every backbone, `keep` or `stretch`.
        batch_norm: As for every backbone, `train` or `frozen`.
        batch_norm_momentum: As for every backbone.
        lora_rank: As for every backbone.
    """

    weights: str = "none"
    input_size: int = 0
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
        model, side = self._model()
        if self.input_size and side not in (None, self.input_size):
            raise OptionError(
                "backbone.input_size",
                f"is {self.input_size}, but {self.path} takes images of {side} x {side}: set it to "
                f"{side}, or to 0",
            )
        return model

    def _own_size(self):
        _, side = self._model()
        return side or _ANY_SIZE

    def _model(self):
        """Returns the model and the side of its images; None if it takes any.

        Raises:
            DataError: The file is damaged, or its model does not take one image (S, S, 3).
            MissingDataError: There is none.
        """
        if not Path(self.path).is_file():
            raise MissingDataError(self.path or "backbone.path", "no such Keras model")
        model = load_model(self.path, "a Keras model")
        inputs = getattr(model, "inputs", None)
        if inputs is None:  # of a class of one's own
            return model, None
        if len(inputs) != 1:
            raise DataError(self.path, f"takes {len(inputs)} inputs: a backbone takes one, images")
        _, *shape = inputs[0].shape
        if len(shape) != 3 or shape[2] not in (3, None) or len({*shape[:2]} - {None}) > 1:
            sides = ", ".join("any" if side is None else str(side) for side in shape)
            raise DataError(self.path, f"takes ({sides}): a backbone takes RGB images (S, S, 3)")
        return model, shape[0] or shape[1]

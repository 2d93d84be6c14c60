"""A backbone that the user brings as a saved Keras model."""

from dataclasses import dataclass
from pathlib import Path

from dml.backbones.base import BACKBONES, Backbone, load_model
from dml.backbones.scaling import MODES, InputScaling


@BACKBONES.register("own")
@dataclass(frozen=True)
class Own(Backbone):
    """Any Keras model from images (S, S, 3) to features (h, w, C) or (C), from a `.keras` file.

    Args:
        path: The `.keras` file.
        scaling_mode: What its weights expect: `tf` for [-1, 1], `torch`, `caffe`, or `none` for
            0..255.
        weights: `none` keeps the file's weights; otherwise the path of a weights file.
        input_size: Side in pixels of the model's input.
        resize_side: Side that the shorter side of an image is brought to first.
        aspect: As for every backbone, `keep` or `stretch`.
        batch_norm: As for every backbone, `train` or `frozen`.
        batch_norm_momentum: As for every backbone.
    """

    weights: str = "none"
    path: str = ""
    scaling_mode: str = "none"

    def __post_init__(self):
        super().__post_init__()
        if self.scaling_mode not in MODES:
            raise ValueError(
                f"scaling_mode must be one of {', '.join(MODES)}; got {self.scaling_mode!r}"
            )

    def scaling(self):
        return InputScaling(self.scaling_mode, name="scaling")

    def architecture(self, weights):
        if weights == "imagenet":
            raise ValueError("backbone 'own' brings its weights: set backbone.weights to 'none'")
        if not Path(self.path).is_file():
            raise FileNotFoundError(f"no Keras model {self.path!r}: set backbone.path")
        return load_model(self.path, "a Keras model")

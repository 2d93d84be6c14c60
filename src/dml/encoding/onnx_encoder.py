"""An exported encoder under ONNX Runtime; needs neither Keras nor its backends."""

import os
from dataclasses import dataclass

import numpy as np

from dml._storage.bundle import Bundle
from dml._storage.records import text_sha256
from dml.errors import DataError
from dml.evaluation import CalibratedThreshold, ThresholdKind, thresholds_from_json

MOST = 8192  # pixels of a square's side


@dataclass(frozen=True)
class Preparation:
    """What squares an encoder wants to see, as its layer `prepare` says it.

    Args:
        resize_side: Side in pixels that the image is brought to.
        input_size: Side in pixels of the centre that the network sees.
        aspect: `keep` or `stretch`.

    Raises:
        ValueError: One is out of its range.
    """

    resize_side: int
    input_size: int
    aspect: str

    def __post_init__(self):
        sides = self.input_size, self.resize_side
        if not all(type(side) is int for side in sides) or not 1 <= sides[0] <= sides[1] <= MOST:
            raise ValueError(f"sides must be 1 <= input_size <= resize_side <= {MOST}; got {sides}")
        if self.aspect not in ("keep", "stretch"):
            raise ValueError(f"aspect must be keep or stretch; got {self.aspect!r}")


class OnnxEncoder:
    """Embeds uint8 images by the encoder of a bundle. Safe to call from threads.

    Args:
        bundle: The bundle's folder.
        threads: Processors that one call uses; all if None.

    Attributes:
        path: The bundle's folder.
        dimension: Numbers in a vector.
        preparation: The `Preparation` that its images go through.
        sha256: Of what decides a vector: its files, its preparation and its dimension.
        thresholds: A tuple of `dml.evaluation.CalibratedThreshold`; empty where the run could
            calibrate none.

    Raises:
        FileNotFoundError: A file of the bundle is missing.
        ValueError: A file is damaged.
    """

    def __init__(self, bundle, threads=None):
        import onnxruntime

        self.bundle = bundle = Bundle(bundle)
        self.path = bundle.path
        self.description = bundle.open()
        try:
            self.preparation = Preparation(**self.description["preparation"])
            self.dimension = int(self.description["dimension"])
            thresholds = self.description["thresholds"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{bundle.description}: damaged: {error}") from None
        self.thresholds = thresholds_from_json(thresholds, bundle.description)
        decides = {key: self.description[key] for key in ("files", "preparation", "dimension")}
        self.sha256 = text_sha256(decides)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others work, too
        try:
            self.session = onnxruntime.InferenceSession(
                str(bundle.encoder), options, onnxruntime.get_available_providers()
            )
        except Exception as error:  # ONNX Runtime's own types share no base but this
            raise ValueError(f"{bundle.encoder}: ONNX Runtime can't load it: {error}") from None
        self.input = self.session.get_inputs()[0].name
        self.check()

    def check(self):
        """Raises ValueError where the graph does not take images and give such vectors."""
        (taken, *more), (given, *_) = self.session.get_inputs(), self.session.get_outputs()
        length = given.shape[-1] if given.shape else None
        fits = not isinstance(length, int) or length == self.dimension
        if more or taken.type != "tensor(uint8)" or given.type != "tensor(float)" or not fits:
            raise ValueError(
                f"{self.bundle.encoder}: takes {taken.type} and gives {given.type} {given.shape}; "
                f"an encoder takes images, uint8, and gives vectors of {self.dimension} numbers"
            )

    @property
    def output_shape(self):
        return (None, self.dimension)

    def predict_on_batch(self, images):
        """Returns the float32 unit vectors (B, D) of uint8 images (B, H, W, 3) of any size."""
        return self.session.run(None, {self.input: np.ascontiguousarray(images)})[0]

    def calibrated_threshold(self) -> CalibratedThreshold:
        """Returns the threshold that a search decides by: "the same class" from there on.

        The one of a precision, where the run has calibrated it; else that of a false accept rate,
        which is of pairs: few pairs of a large index are many.

        Raises:
            DataError: The run calibrated none.
        """
        for kind in (ThresholdKind.PRECISION, ThresholdKind.FAR):
            for threshold in self.thresholds:
                if threshold.kind is kind:
                    return threshold
        raise DataError(
            self.path,
            "has no calibrated threshold: the run had no validation classes, or too few to "
            "promise anything. Give a similarity, such as --threshold 0.7",
        )

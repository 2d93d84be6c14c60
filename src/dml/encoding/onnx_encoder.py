"""An exported encoder under ONNX Runtime, without Keras and its backends."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from dml._storage.bundle import Bundle
from dml._storage.records import text_sha256
from dml.encoding._interface import Preparation
from dml.errors import DataError, MissingDataError
from dml.evaluation import CalibratedThreshold, ThresholdKind, thresholds_from_json


class OnnxEncoder:
    """Embeds uint8 images with the encoder of a bundle. Safe to call from several threads.

    Args:
        bundle: The bundle's folder, as `dml export` writes it.
        threads: Number of processors that one call uses; all if None.

    Attributes:
        path: The bundle's folder.
        bundle: The bundle's files.
        description: The contents of the bundle's `dml.json`.
        dimension: Length of an embedding.
        preparation: The size and the crop of the squares that it resizes images to.
        sha256: Identifies the encoder: digest of its files, its preparation and its dimension.
        thresholds: A tuple of `dml.evaluation.CalibratedThreshold`; empty if the run could
            calibrate none.

    Raises:
        MissingDataError: A file of the bundle is missing.
        DataError: A file is damaged.

    Example:
        >>> encoder = dml.OnnxEncoder("runs/mine/bundle")  # doctest: +SKIP
        >>> dml.embed_images(encoder, ["query.jpg"]).shape  # doctest: +SKIP
        (1, 512)
    """

    path: Path
    bundle: Bundle
    description: dict[str, Any]
    dimension: int
    preparation: Preparation
    sha256: str
    thresholds: tuple[CalibratedThreshold, ...]

    def __init__(self, bundle: str | os.PathLike[str], threads: int | None = None):
        import onnxruntime

        self.bundle = Bundle(bundle)
        self.path = self.bundle.path
        self.description = self.bundle.open()
        try:
            self.preparation = Preparation(**self.description["preparation"])
            self.dimension = int(self.description["dimension"])
            thresholds = self.description["thresholds"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(self.bundle.description, f"damaged: {error}") from None
        self.thresholds = thresholds_from_json(thresholds, self.bundle.description)
        decides = {key: self.description[key] for key in ("files", "preparation", "dimension")}
        self.sha256 = text_sha256(decides)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.log_severity_level = 3
        # Idle threads do not spin, and leave the processors to others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(self.bundle.encoder), options, onnxruntime.get_available_providers()
            )
        except Exception as error:  # the errors of ONNX Runtime share no other base class
            text = f"ONNX Runtime can't load it: {error}"
            raise DataError(self.bundle.encoder, text) from None
        self._input = self._session.get_inputs()[0].name
        self._check_graph()

    def _check_graph(self):
        """Raises DataError unless the graph maps images to embeddings of this dimension."""
        (taken, *more), (given, *_) = self._session.get_inputs(), self._session.get_outputs()
        length = given.shape[-1] if given.shape else None
        fits = not isinstance(length, int) or length == self.dimension
        if more or taken.type != "tensor(uint8)" or given.type != "tensor(float)" or not fits:
            raise DataError(
                self.bundle.encoder,
                f"maps {taken.type} to {given.type} {given.shape}; an encoder maps "
                f"uint8 images to vectors of {self.dimension} numbers",
            )

    def is_replaced(self) -> bool:
        """Returns whether another bundle is there now, perhaps only with other thresholds.

        Raises:
            DataError: That is damaged.
        """
        try:
            return self.bundle.open() != self.description
        except MissingDataError:
            return False

    @property
    def output_shape(self) -> tuple[None, int]:
        """(None, dimension), as of a Keras model."""
        return (None, self.dimension)

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Returns the embeddings of a batch of images.

        Args:
            images: uint8 (B, H, W, 3), of any size.

        Returns:
            Float32 (B, D), of unit length.
        """
        return self._session.run(None, {self._input: np.ascontiguousarray(images)})[0]

    def calibrated_threshold(self) -> CalibratedThreshold:
        """Returns the threshold that decides whether a neighbour is of the query's class.

        The threshold for precision if there is one, otherwise the one for the false accept rate:
        even a small share of the pairs of a large index is many.

        Raises:
            DataError: The run calibrated no threshold.
        """
        for kind in (ThresholdKind.PRECISION, ThresholdKind.FAR):
            for threshold in self.thresholds:
                if threshold.kind is kind:
                    return threshold
        raise DataError(
            self.path,
            "no calibrated threshold: the run had no validation classes, or too few. Give a "
            "similarity, such as --threshold 0.7",
        )

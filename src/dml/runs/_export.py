"""Exporting a run's encoder, with a check on real images."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dml._options import check_known
from dml._storage.atomic import EXISTS, new_folder
from dml._storage.bundle import Bundle, ExportFormat
from dml._storage.run_folder import RunFolder
from dml._storage.versions import installed_versions
from dml._text import number_of
from dml.datasets import Items, RecordedItems
from dml.encoding._formats import Precision, check_form, read_encoder, write_encoder
from dml.encoding.embed import embed_images
from dml.errors import DataError, OccupiedError, OptionError
from dml.evaluation import retrieval
from dml.evaluation._neighbours import nearest_others, share_found
from dml.images import read_image
from dml.recipe import TrainingOptions
from dml.reporting import Reporter
from dml.runs._splits import TESTS, TestData, unchanged_items
from dml.runs.evaluation import Evaluation

CHECKED = 1000  # images that the exported encoder is compared on
WHOLE = 16  # of these, at their original size
BATCH = 32
NEAREST = 10


@dataclass(frozen=True)
class Tolerance:
    """How much an exported encoder may differ from the trained one.

    Args:
        difference: Largest difference of any entry of a vector.
        recall: Largest loss of Recall@1.
        overlap: Smallest share of the nearest 10 that are the same.
    """

    difference: float
    recall: float
    overlap: float


TOLERANCES = {
    Precision.FLOAT32: Tolerance(1e-3, 0.002, 0.99),
    Precision.HALF: Tolerance(2e-2, 0.01, 0.95),
    Precision.INT8: Tolerance(0.1, 0.01, 0.8),
}


@dataclass(frozen=True)
class ExportCheck:
    """The difference between an exported encoder and the trained one, on real images.

    Args:
        images: Number of images that were compared at the input size of the network.
        difference: Largest difference of any entry of a vector.
        difference_at_any_size: The same for images at their original size.
        recalls: R@1 of the trained and of the exported encoder; None if no two images belong to one
            class.
        overlap_of_the_top_10: Mean share of the exported encoder's nearest 10 that are among the
            trained one's, or as near; None for a single image.
    """

    images: int
    difference: float
    difference_at_any_size: float
    recalls: tuple[float, float] | None = None
    overlap_of_the_top_10: float | None = None

    def __str__(self):
        parts = []
        if self.recalls is not None:
            before, after = self.recalls
            parts.append(f"R@1 {100 * before:.1f} % before, {100 * after:.1f} % after; ")
        if self.overlap_of_the_top_10 is not None:
            share = 100 * self.overlap_of_the_top_10
            parts.append(f"{share:.1f} % of the nearest {NEAREST} are the same; ")
        return (
            f"{number_of(self.images, 'image')} through both encoders: {''.join(parts)}"
            f"vectors differ by at most {self.difference:.1e}, "
            f"and by {self.difference_at_any_size:.1e} for images at their original size"
        )

    def to_json(self) -> dict[str, float]:
        """Returns the measured values, ready for JSON."""
        numbers = {name: number for name, number in vars(self).items() if name != "recalls"}
        if self.recalls is not None:
            sides = ("recall_at_1_before", "recall_at_1_after")
            numbers |= dict(zip(sides, self.recalls, strict=True))
        return {name: number for name, number in numbers.items() if number is not None}

    def faults(self, tolerance: Tolerance) -> list[str]:
        """Returns a description of each value that is out of tolerance."""
        faults = []
        largest = np.max([self.difference, self.difference_at_any_size])
        if not largest <= tolerance.difference:  # NaN is too much, too
            faults.append(f"vectors differ by {largest:.1e}, more than {tolerance.difference:.0e}")
        if self.recalls is not None:
            lost = self.recalls[0] - self.recalls[1]
            if not lost <= tolerance.recall:
                most = 100 * tolerance.recall
                faults.append(f"R@1 falls by {100 * lost:.1f} points, more than {most:g}")
        overlap = self.overlap_of_the_top_10
        if overlap is not None and not overlap >= tolerance.overlap:
            faults.append(f"fewer than {100 * tolerance.overlap:g} % of the nearest are the same")
        return faults


@dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Args:
        path: The bundle's folder.
        bytes: Size of all its files.
        check: The comparison with the trained encoder.
    """

    path: Path
    bytes: int
    check: ExportCheck


@dataclass(frozen=True)
class ExportTarget:
    """What an export writes, and where.

    Args:
        bundle: The new bundle.
        form: The format.
        precision: The numeric precision.
    """

    bundle: Bundle
    form: ExportFormat
    precision: Precision

    @classmethod
    def of(
        cls, run: Path, to: str, precision: str, out: str | os.PathLike[str] | None
    ) -> "ExportTarget":
        """Returns the target of `Run.export`.

        Args:
            run: The run's folder.
            to: As for `Run.export`, like the others.
            precision: The precision.
            out: The bundle's folder.

        Raises:
            OptionError: It can't be written here.
            OccupiedError: `out` exists already.
        """
        check_known([form.value for form in ExportFormat], to=to)
        check_known([kind.value for kind in Precision], precision=precision)
        form, kind = ExportFormat(to), Precision(precision)
        further = [form] if form is not ExportFormat.ONNX else []
        further += [kind] if kind is not Precision.FLOAT32 else []
        if out is None:
            out = run / "-".join(["bundle", *further])
        elif not os.fspath(out):  # Path("") is the current folder
            raise OptionError("out", "must name the bundle's folder. The name is empty")
        bundle = Bundle(out, form)
        if bundle.path.exists():
            raise OccupiedError(bundle.path, EXISTS)
        check_form(form, kind)
        return cls(bundle, form, kind)


def export(
    encoder: Any,
    images: Items,
    target: ExportTarget,
    evaluation: Evaluation | None,
    reporter: Reporter,
) -> ExportReport:
    """Writes an encoder as a bundle, after comparing both on images.

    Args:
        encoder: The Keras model.
        images: What they are compared on, as `compared_items` returns them.
        target: What is written.
        evaluation: The encoder's on its own data set, whose thresholds the bundle has; None for
            none.
        reporter: Receives a line on the comparison.

    Raises:
        DataError: The exported encoder differs too much; nothing is written.
    """
    bundle, to, precision = target.bundle, target.form, target.precision
    rows = whole_classes(images.labels)
    paths, labels = images.paths[rows].tolist(), images.labels[rows]
    with new_folder(bundle.path) as temporary:
        inside = Bundle(temporary, to)
        write_encoder(encoder, inside.encoder, to, precision)
        check = compare(encoder, read_encoder(inside.encoder, to), paths, labels)
        reporter.info(str(check))
        if faults := check.faults(TOLERANCES[precision]):
            raise DataError(
                bundle.path,
                "not written, because the exported encoder differs from the trained one: "
                + "; ".join(faults),
            )
        prepare = encoder.get_layer("prepare")
        sides = {key: getattr(prepare, key) for key in ("resize_side", "input_size", "aspect")}
        description = {
            "format": to,
            "precision": precision,
            "dimension": int(encoder.output_shape[-1]),
            "preparation": sides,
            "trained_on": evaluation.dataset if evaluation else None,
            "thresholds": ([t.to_json() for t in evaluation.thresholds] if evaluation else []),
            "check": check.to_json(),
            "versions": installed_versions("dml", "keras", "tensorflow", "onnx", "onnxruntime"),
        }
        inside.describe(description)
        files = [temporary / name for name in inside.names()] + [inside.description]
        size = sum(file.stat().st_size for file in files)
    return ExportReport(bundle.path, size, check)


def compared_items(
    folder: RunFolder, data: TestData, training: TrainingOptions, reporter: Reporter
) -> Items:
    """Returns the images to compare on: of the test or else the validation or training split.

    Args:
        folder: The run.
        data: The data set.
        training: The training options of the run's recipe.
        reporter: Receives notes on the images, and the progress.

    Raises:
        DataError: None is left.
    """
    items = data.read(folder, training, reporter).items
    if data.is_own and not np.isin(items.splits, (*TESTS, "val")).any():
        recorded = RecordedItems.read(folder.checked(folder.items))
        threads = training.threads
        left, _ = unchanged_items(recorded, data.dataset, ("train",), threads, reporter)
        items = left.select("train")  # only these were read
    for splits in (TESTS, ("val",), ("train",)):
        if len(found := items.select(*splits)):
            return found
    raise DataError(
        data.label, "no image is left to compare the encoders on: choose a data set with --on"
    )


class Exported:
    """Gives an exported encoder the interface of the Keras model.

    Args:
        run: A function from images to vectors.
        encoder: The Keras model.
    """

    def __init__(self, run, encoder):
        self.predict_on_batch = run
        self.get_layer = encoder.get_layer
        self.output_shape = encoder.output_shape


def whole_classes(labels: np.ndarray) -> np.ndarray:
    """Returns the rows of the first classes that together have at most `CHECKED` images.

    At least one class, since a neighbour can only be right if others of its class are there.
    """
    counts = np.bincount(labels)
    kept = np.flatnonzero(np.cumsum(counts) <= CHECKED)
    return np.flatnonzero(np.isin(labels, kept) if len(kept) else labels == 0)[:CHECKED]


def compare(encoder, run_exported, paths: Sequence[str], labels: np.ndarray) -> ExportCheck:
    """Returns how the exported encoder's vectors differ from those of the trained one.

    Args:
        encoder: The Keras model.
        run_exported: A function from uint8 images to vectors.
        paths: The paths of N images.
        labels: Their class codes (N,).
    """
    import keras

    before = embed_images(encoder, paths, BATCH)
    after = embed_images(Exported(run_exported, encoder), paths, BATCH)
    apart = []
    for path in paths[:WHOLE]:
        image = read_image(path)[None]
        expected = keras.ops.convert_to_numpy(encoder(image))
        apart.append(np.abs(run_exported(image) - expected).max())
    return check_of(before, after, labels, float(np.max(apart)))


def check_of(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, difference_at_any_size: float
) -> ExportCheck:
    """Returns the comparison of vectors (N, D) before and after the export.

    R@1 needs two images of one class, and the nearest neighbours need two images.
    """
    recalls, overlap = None, None
    if np.bincount(labels).max() > 1:
        trained, exported = (
            float(retrieval(vectors, labels, ks=(1,)).recall[1]) for vectors in (before, after)
        )
        recalls = trained, exported
    if depth := min(NEAREST, len(before) - 1):
        rows = (nearest_others(vectors, depth)[1] for vectors in (before, after))
        overlap = share_found(before, before, *rows)
    difference = float(np.abs(before - after).max())
    return ExportCheck(len(before), difference, difference_at_any_size, recalls, overlap)

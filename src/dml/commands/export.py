"""`dml export`: a run's encoder as a bundle that other runtimes take, checked on real images."""

import argparse
from dataclasses import dataclass

import numpy as np

from dml._console.runtime import Runtime
from dml._storage.atomic import new_folder
from dml._storage.bundle import Bundle, ExportFormat
from dml._storage.run_folder import RunFolder
from dml._storage.versions import installed_versions
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.encoding._formats import Precision
from dml.reporting import Reporter

CHECKED = 1000  # images that the exported encoder is compared on
WHOLE = 16  # of these, at their own size
BATCH = 32
NEAREST = 10


@dataclass(frozen=True)
class Tolerance:
    """How far an exported encoder may be from the one that was trained.

    Args:
        difference: Largest of any entry of a vector.
        recall: Largest loss of Recall@1.
        overlap: Smallest share of the nearest 10 that stay.
    """

    difference: float
    recall: float
    overlap: float


TOLERANCES = {
    Precision.FLOAT32: Tolerance(1e-3, 0.002, 0.99),
    Precision.HALF: Tolerance(2e-2, 0.01, 0.95),
    Precision.INT8: Tolerance(0.1, 0.01, 0.8),
}


def export(
    run,
    to=ExportFormat.ONNX,
    precision=Precision.FLOAT32,
    out=None,
    on=None,
    flags=(),
    allow_parts=False,
    report=print,
):
    """Writes a bundle: the encoder and `dml.json`, which says what it is.

    Args:
        run: The run's folder.
        to: The format.
        precision: The numbers to write.
        out: The bundle's folder; by default `RUN/bundle`, `RUN/bundle-litert`, ...
        on: A data set's name or a folder whose images are compared; by default the run's own.
        flags: `--dataset.option value`.
        allow_parts: Whether to import the Python files that the run's recipe lists under `parts`.
        report: Called with each line of text for the user.

    Returns:
        The bundle's path.

    Raises:
        ValueError: The exported encoder is too far from the trained one; nothing is left then.
        FileExistsError: There is something at `out`.
        FileNotFoundError: The run or the images are missing.
    """
    from dml.commands.evaluate import TestSplit, dataset_label, evaluation_recipe, tested_items
    from dml.encoding._formats import read_encoder, write_encoder
    from dml.encoding.embed import embed_images
    from dml.encoding.encoder import load_encoder
    from dml.images import read_image

    folder = RunFolder(run).open()
    name = "-".join(
        [
            "bundle",
            *([to] * (to != ExportFormat.ONNX)),
            *([precision] * (precision != Precision.FLOAT32)),
        ]
    )
    bundle = Bundle(out or folder.path / name, to)
    recipe = evaluation_recipe(folder, on, flags, allow_parts)
    encoder = load_encoder(folder.checked(folder.encoder))
    prepare = encoder.get_layer("prepare")
    metrics = folder.read_json(folder.metrics) if folder.metrics.exists() else {}
    items, facts = tested_items(folder, recipe, on)
    for note in facts["notes"]:
        report(f"note: {note}")
    split = TestSplit.of(items, dataset_label(recipe)).items
    rows = whole_classes(split.labels)
    paths, labels = [split.paths[row] for row in rows], split.labels[rows]
    with new_folder(bundle.path) as temporary:
        inside = Bundle(temporary, to)
        write_encoder(encoder, inside.encoder, to, precision)
        run_exported = read_encoder(inside.encoder, to)
        exported = Exported(run_exported, encoder)
        before = embed_images(encoder, paths, BATCH)
        after = embed_images(exported, paths, BATCH)
        found = compare(before, after, labels)
        images = [read_image(path)[None] for path in paths[:WHOLE]]
        apart = [np.abs(run_exported(image) - np.asarray(encoder(image))).max() for image in images]
        found["difference_at_any_size"] = float(np.max(apart))
        say(found, report)
        check(found, TOLERANCES[precision])
        description = {
            "format": to,
            "precision": precision,
            "dimension": int(encoder.output_shape[-1]),
            "preparation": {
                key: getattr(prepare, key) for key in ("resize_side", "input_size", "aspect")
            },
            "trained_on": metrics.get("dataset"),
            "thresholds": metrics.get("thresholds", []),
            "check": found,
            "versions": installed_versions("dml", "keras", "tensorflow", "onnx", "onnxruntime"),
        }
        inside.describe(description)
        size = sum(f.stat().st_size for f in temporary.rglob("*") if f.is_file()) / 2**20
    report(f"bundle: {bundle.path} ({size:.1f} MiB)")
    return bundle.path


class Exported:
    """Lets an exported encoder stand where the Keras model does.

    Args:
        run: A function from images to vectors.
        encoder: The Keras model.
    """

    def __init__(self, run, encoder):
        self.predict_on_batch = run
        self.get_layer = encoder.get_layer
        self.output_shape = encoder.output_shape


def whole_classes(labels):
    """Returns the rows of the first classes that together have at most `CHECKED` images.

    At least of one class: what is nearest can only be right where others of its class are.
    """
    counts = np.bincount(labels)
    kept = np.flatnonzero(np.cumsum(counts) <= CHECKED)
    return np.flatnonzero(np.isin(labels, kept) if len(kept) else labels == 0)[:CHECKED]


def compare(before, after, labels):
    """Returns how the exported encoder's vectors differ from those of the trained one.

    R@1 only where two images are of one class, and the nearest only of two images or more.
    """
    from dml.evaluation import retrieval
    from dml.evaluation._neighbours import nearest_others

    figures = {"images": len(before), "difference": float(np.abs(before - after).max())}
    if np.bincount(labels).max() > 1:
        for name, vectors in {"before": before, "after": after}.items():
            found = retrieval(vectors, labels, ks=(1,))
            figures[f"recall_at_1_{name}"] = float(found.recall[1])
    if depth := min(NEAREST, len(before) - 1):
        rows = (nearest_others(vectors, depth)[1] for vectors in (before, after))
        shared = [len(np.intersect1d(a, b)) / depth for a, b in zip(*rows, strict=True)]
        figures["overlap_of_the_top_10"] = float(np.mean(shared))
    return figures


def say(found, report):
    """Reports how far the exported encoder is from the trained one."""
    parts = []
    if "recall_at_1_before" in found:
        before, after = (100 * found[f"recall_at_1_{side}"] for side in ("before", "after"))
        parts.append(f"R@1 {before:.1f} % before, {after:.1f} % after; ")
    if "overlap_of_the_top_10" in found:
        share = 100 * found["overlap_of_the_top_10"]
        parts.append(f"{share:.1f} % of the nearest {NEAREST} are the same; ")
    report(
        f"{found['images']:,} images through both encoders: {''.join(parts)}"
        f"vectors differ by at most {found['difference']:.1e}, "
        f"and by {found['difference_at_any_size']:.1e} from images of their own size"
    )


def check(found, tolerance):
    """Raises ValueError where the exported encoder is too far from the trained one."""
    faults = []
    largest = np.max([found["difference"], found["difference_at_any_size"]])
    if not largest <= tolerance.difference:  # nan is too much, too
        faults.append(f"vectors differ by {largest:.1e}, more than {tolerance.difference:.0e}")
    lost = found.get("recall_at_1_before", 0.0) - found.get("recall_at_1_after", 0.0)
    if not lost <= tolerance.recall:
        faults.append(f"R@1 falls by {100 * lost:.1f} points, more than {100 * tolerance.recall:g}")
    if not found.get("overlap_of_the_top_10", 1.0) >= tolerance.overlap:
        faults.append(f"fewer than {100 * tolerance.overlap:g} % of the nearest stay")
    if faults:
        raise ValueError(
            f"the exported encoder is not the trained one: {'; '.join(faults)}. Nothing is written"
        )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--to", choices=[form.value for form in ExportFormat], default="onnx")
    smaller = parser.add_mutually_exclusive_group()
    smaller.add_argument("--half", action="store_true", help="float16: half the size")
    smaller.add_argument("--int8", action="store_true", help="eight bits: a quarter of the size")
    parser.add_argument("--out", metavar="DIR", help="the bundle's folder (default: RUN/bundle)")
    parser.add_argument("--on", metavar="DATASET", help="images to check on (default: the run's)")
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    precision = Precision.FLOAT32
    if options.half or options.int8:
        precision = Precision.HALF if options.half else Precision.INT8
    export(
        options.run,
        ExportFormat(options.to),
        precision,
        options.out,
        options.on,
        options.flags,
        options.allow_parts,
        report=reporter.info,
    )


COMMAND = Command(
    "export",
    "write a run's encoder as a bundle for other runtimes, checked",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
    takes_flags=True,
)

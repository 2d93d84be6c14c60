"""Prepares the contents of the page of a whole run."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dml._durations import minutes
from dml._storage.run_folder import RunFolder
from dml.evaluation import CalibratedThreshold
from dml.report._overview import Link, Overview, ScoreRow, StageRow
from dml.runs._baseline import Baseline
from dml.runs._report import shown_metrics
from dml.runs._selection import CandidateName
from dml.runs._stage_plan import StageName
from dml.runs._times import times_of
from dml.runs._validation import read_candidates
from dml.runs.evaluation import Evaluation

AFTER_TRAINING = (StageName.EXPORT, StageName.INDEX)
TRAINING_STEP = "training"  # of a workflow: all stages up to the evaluation
LINKS = {
    "report.html": "all metrics, the training, wrong neighbours, labels in doubt",
    "index": "the images, to search in",
    "bundle": "the encoder, for ONNX Runtime",
    "recipe.toml": "the options of the training",
    "log.jsonl": "each epoch",
    "metrics.json": "the metrics",
    "images.parquet": "the images and their splits",
}


def overview_of(
    folder: RunFolder,
    evaluation: Evaluation,
    data: tuple[str, ...],
    expected: Mapping[str, float],
    took: Mapping[str, float],
    select: str,
) -> Overview:
    """Returns what the page shows.

    Args:
        folder: The run.
        evaluation: The evaluation on its own data set.
        data: Lines about the data.
        expected: Seconds of each stage of the plan; empty without one.
        took: Seconds of each finished step; 0 for one that was interrupted in between.
        select: The recipe's `training.select`.
    """
    metrics = shown_metrics(evaluation)
    compared = [metric for metric in metrics if metric.frozen is not None]
    index = shlex.quote(str(folder.index))
    return Overview(
        title=evaluation.dataset,
        subtitle=(
            f"{evaluation.queries:,} test images of {evaluation.classes:,} classes, "
            f"{evaluation.protocol} protocol"
        ),
        metrics=compared or metrics,
        scores=list(_scores(folder, select)),
        stages=list(_stages(folder, expected, took)),
        thresholds=[_threshold(one) for one in evaluation.thresholds],
        data=data,
        notes=evaluation.notes,
        commands=[
            ("A page to search by image", f"dml serve {index}"),
            ("The five nearest images of a photo", f"dml search {index} photo.jpg -k 5"),
            ("Further images", f"dml index add {index} more_images/"),
        ],
        links=[Link(name, text) for name, text in LINKS.items() if (folder.path / name).exists()],
    )


def _scores(folder: RunFolder, select: str) -> Iterator[ScoreRow]:
    """Yields what each stage reached in validation, in the epoch that was kept."""
    baseline = Baseline.read(folder)
    if baseline.validation is None:
        return
    yield ScoreRow("frozen network", baseline.validation)
    if candidates := read_candidates(folder):
        for found in candidates:
            named = replace(found, name=_NAMES[found.name])
            yield ScoreRow(str(named), found.validation, found.chosen)
        return
    kept = []
    for name, stage in (("head stage", folder.head_stage), ("training", folder)):
        scored = [row for row in stage.read_log() if "val_recall_at_1" in row]
        if scored:
            best = max(scored, key=lambda row: row["val_recall_at_1"])
            row = best if select == "best" else scored[-1]
            kept.append((f"{name}, epoch {row['epoch']:g}", row["val_recall_at_1"]))
    for number, (name, score) in enumerate(kept, start=1):
        yield ScoreRow(name, score, chosen=number == len(kept))


_NAMES: Mapping[str, str] = {
    CandidateName.START: "embedding before training",
    CandidateName.HEAD: "head stage",
    CandidateName.FINE_TUNED: "fine-tuning",
    CandidateName.SECOND: "second stage",
}


def _stages(
    folder: RunFolder, expected: Mapping[str, float], took: Mapping[str, float]
) -> Iterator[StageRow]:
    """Yields the expected and the real time of each planned stage, and of all together."""
    planning = expected.get(StageName.PLANNING, 0.0)
    real = {StageName.PLANNING: planning, **times_of(folder)}
    real.update((step, seconds) for step, seconds in took.items() if step in AFTER_TRAINING)
    for name, seconds in expected.items():
        yield StageRow(
            name, minutes(seconds), minutes(real[name]) if name in real else "not needed"
        )
    if expected:
        # Of a training that was interrupted, only the times of the stages are known.
        is_known = TRAINING_STEP in took and all(took.values())
        whole = planning + sum(took.values()) if is_known else sum(real.values())
        yield StageRow("together", minutes(sum(expected.values())), minutes(whole))


def _threshold(threshold: CalibratedThreshold) -> tuple[float, str, str]:
    """Returns a threshold as a row."""
    rate = threshold.test_rate
    return threshold.similarity, threshold.promise, "" if rate is None else f"{100 * rate:.1f} %"

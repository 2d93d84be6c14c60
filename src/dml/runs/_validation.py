"""What a training scored in validation, read from its files."""

from dataclasses import dataclass

from dml._storage.run_folder import RunFolder
from dml.datasets import Items
from dml.recipe import TrainingOptions
from dml.runs._metrics import NUMBER

_SCORE = "val_recall_at_1"
_SELECTION = {"candidates": [{"name": str, "validation": NUMBER, "chosen": bool}]}


def is_measured(validation: Items) -> bool:
    """Returns whether R@1 is measured on a validation split: there are two classes to find."""
    return int((validation.label_counts() > 1).sum()) > 1


@dataclass(frozen=True)
class ListedCandidate:
    """An encoder that a training chose from, as `selection.json` lists it.

    Args:
        name: The stage that it comes from.
        validation: R@1 on the validation split.
        chosen: Whether it is the result.
        share: Share of the fine-tuned weights; None for candidates that are not interpolated.
    """

    name: str
    validation: float
    chosen: bool
    share: float | None = None

    def __str__(self):
        way = "" if self.share is None else f", {100 * self.share:g} % of the way"
        return f"{self.name}{way}"


def read_candidates(folder: RunFolder) -> list[ListedCandidate]:
    """Returns the candidates for the result of a training; none if it had no choice.

    Raises:
        DataError: The file is damaged.
    """
    if not folder.selection.exists():
        return []
    rows = folder.read_json(folder.selection, _SELECTION)["candidates"]
    return [ListedCandidate(**row) for row in rows]


def validation_curve(folder: RunFolder) -> list[float]:
    """Returns R@1 of each validation so far, stage after stage."""
    rows = [row for stage in folder.stages for row in stage.read_log()]
    return [row[_SCORE] for row in rows if _SCORE in row]


def validation_score(folder: RunFolder, options: TrainingOptions) -> float | None:
    """Returns R@1 in validation of a training's result; None if it was not validated.

    Args:
        folder: The folder of the run, whose training may have been stopped.
        options: The options of its recipe.
    """
    if candidates := read_candidates(folder):
        return next(found.validation for found in candidates if found.chosen)
    head = options.stage == "head"
    rows = folder.head_stage.read_log() if head else folder.read_log()
    scores = [row[_SCORE] for row in rows if _SCORE in row]
    if not scores:
        return None
    return max(scores) if options.select == "best" else scores[-1]

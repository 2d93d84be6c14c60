"""What a training scored in validation, read from its files."""

from dml._storage.run_folder import RunFolder
from dml.recipe import TrainingOptions

_SCORE = "val_recall_at_1"
_SELECTION = {"candidates": [{"validation": (float, int), "chosen": bool}]}


def validation_curve(folder: RunFolder) -> list[float]:
    """Returns R@1 of each validation so far, stage after stage."""
    rows = [*folder.head_stage.read_log(), *folder.read_log()]
    return [row[_SCORE] for row in rows if _SCORE in row]


def validation_score(folder: RunFolder, options: TrainingOptions) -> float | None:
    """Returns R@1 in validation of a training's result; None if it was not validated.

    Args:
        folder: Of the run, whose training may have been stopped.
        options: Of its recipe.
    """
    if folder.selection.exists():
        candidates = folder.read_json(folder.selection, _SELECTION)["candidates"]
        return next(found["validation"] for found in candidates if found["chosen"])
    head = options.stage == "head"
    rows = folder.head_stage.read_log() if head else folder.read_log()
    scores = [row[_SCORE] for row in rows if _SCORE in row]
    if not scores:
        return None
    return max(scores) if options.select == "best" else scores[-1]

"""The result of tuning: trials, and how much better the best of them is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dml._storage.study_folder import StudyFolder
from dml.tuning._trials import Trial, table_lines


@dataclass(frozen=True)
class Gain:
    """By how much the best trial is better than the recipe's own options, in validation.

    Args:
        value: The difference of R@1.
        low: Lower end of its 95 % interval for other classes.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Study:
    """The trials of a recipe's options in a folder, and the best of them.

    Args:
        path: The folder.
        trials: In order.
        best: The complete trial with the highest score.
        low: Lower end of the 95 % interval of its score for other classes. It does not cover that
            it is the best of several on the same classes.
        high: Upper end.
        gain: What it gains over the recipe's own options, in their last trial; None if it has
            them, too, or no such trial was completed.
        frozen: R@1 of the frozen network in validation.
    """

    path: Path
    trials: tuple[Trial, ...]
    best: Trial
    low: float
    high: float
    gain: Gain | None
    frozen: float | None

    @property
    def recipe(self) -> Path:
        """The file of the best trial's recipe, which `dml.load_recipe` reads."""
        return StudyFolder(self.path).best

    def lines(self) -> Iterator[str]:
        """Yields the table of the trials, the best first, and how far to trust it."""
        yield from table_lines(self.trials)
        if self.frozen is not None:
            yield f"frozen network: validation R@1 {100 * self.frozen:.1f}"
        best = self.best
        line = (
            f"best: trial {best.number}, validation R@1 {100 * (best.score or 0):.1f} "
            f"(95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"
        )
        if self.gain is not None:
            gain = self.gain
            line += (
                f", {100 * gain.value:+.1f} on the recipe's own options "
                f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
            )
            if gain.low <= 0:
                line += ": could be chance"
        yield line
        yield (
            f"note: it is the best of {len(self.trials)} on the same validation classes, so its "
            "score is optimistic, and an interval does not cover that; the test split was not read"
        )
        yield f"table: {StudyFolder(self.path).table}"
        yield f"train and test the best recipe: dml train {self.recipe}"

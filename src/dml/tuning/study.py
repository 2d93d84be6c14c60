"""The result of tuning: trials, and how much better the best of them is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from dml._storage.study_folder import StudyFolder
from dml._text import number_of
from dml.tuning._trials import Trial, lines_of


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
class Confirmation:
    """What the best options and the recipe's own reached when they were trained again.

    Both were trained with the same seeds and validation split, one pair after the other.

    Args:
        best: R@1 in validation with the best options, one for each repetition.
        own: The same with the recipe's own options.
        other_classes: Whether other classes were held out for validation than in the study.
        other_images: Whether other images were.
    """

    best: tuple[float, ...]
    own: tuple[float, ...]
    other_classes: bool
    other_images: bool = False

    def lines(self) -> Iterator[str]:
        """Yields means and standard deviations over the repetitions, as a table."""
        gains = tuple(a - b for a, b in zip(self.best, self.own, strict=True))
        others = "classes" if self.other_classes else "images" if self.other_images else ""
        split = f" and other validation {others}" if others else ""
        seeds = number_of(len(gains), "other seed")
        yield f"validation R@1 again with {seeds}{split}, mean and standard deviation:"
        rows = (("best options", self.best), ("recipe's own", self.own), ("difference", gains))
        for name, values in rows:
            sign = "+" if values is gains else ""
            spread = f" +- {100 * stdev(values):.1f}" if len(values) > 1 else ""
            each = ", ".join(f"{100 * value:{sign}.1f}" for value in values)
            yield f"  {name:12} {100 * mean(values):{sign}.1f}{spread}  ({each})"


@dataclass(frozen=True)
class Study:
    """The trials of a recipe's options in a folder, and the best of them.

    Args:
        path: The folder.
        trials: The trials in order.
        best: The complete trial with the highest score.
        low: Lower end of the 95 % interval of its score for other classes. It does not cover that
            it is the best of several on the same classes.
        high: Upper end.
        gain: What it gains over the recipe's own options, in their last trial; None if it has
            them, too, or no such trial was completed.
        frozen: R@1 of the frozen network in validation.
        confirmation: How well the best options did again; None if they were not trained again.

    Example:
        >>> study = dml.Tuner(recipe).run("tune/mine", trials=20)  # doctest: +SKIP
        >>> study.best.score, len(study.trials)  # doctest: +SKIP
        (0.93, 20)
    """

    path: Path
    trials: tuple[Trial, ...]
    best: Trial
    low: float
    high: float
    gain: Gain | None
    frozen: float | None
    confirmation: Confirmation | None = None

    @property
    def recipe(self) -> Path:
        """The file of the best trial's recipe, which `dml.load_recipe` reads."""
        return StudyFolder(self.path).best

    def lines(self) -> Iterator[str]:
        """Yields the table of the trials, the best first, and how far to trust it."""
        yield from lines_of(self.trials)
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
        compared = sum(trial.state in ("complete", "pruned") for trial in self.trials)
        yield (
            f"note: it is the best of {compared} on the same validation classes, so its "
            "score is optimistic, and an interval does not cover that; the test split was not read"
        )
        if self.confirmation is not None:
            yield from self.confirmation.lines()
        yield f"table: {StudyFolder(self.path).table}"
        yield f"train and test the best recipe: dml train {self.recipe}"

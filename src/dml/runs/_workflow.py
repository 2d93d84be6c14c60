"""The whole way from a folder of images to a search page, in steps that are each done once."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from dml._durations import minutes
from dml._options import check_positive
from dml._processes import check_alone
from dml._storage.records import misfit, read_sealed, write_sealed
from dml._storage.run_folder import RunFolder
from dml.datasets import RecordedItems
from dml.datasets._splits import SPLITS
from dml.errors import BusyError, DataError, OccupiedError, OptionError
from dml.recipe import Recipe, load_recipe, load_run_recipe, read_source
from dml.recipe._layers import layers_of
from dml.report._overview import write_overview
from dml.reporting import SILENT, Reporter
from dml.runs._descriptions import notes_on
from dml.runs._folders import check_out, claimed_folder, run_name
from dml.runs._looking import Look, look_at
from dml.runs._overview import AFTER_TRAINING, TRAINING_STEP, overview_of
from dml.runs._planning import Plan
from dml.runs._splits import TestSplit, dataset_label, unchanged_items, write_items
from dml.runs._stage_plan import StageName
from dml.runs.run import Run
from dml.runs.trainer import Trainer


@dataclass(frozen=True)
class Steps:
    """What a workflow was asked for, what it found, and how long each finished step took.

    Args:
        source: As `Workflow` takes it; a folder as an absolute path.
        budget: Seconds; None for any time.
        flags: The options.
        data: The five lines about the data.
        expected: Seconds of each stage of the plan.
        took: Seconds of each finished step; 0 for one that was interrupted in between.
    """

    source: str
    budget: float | None = None
    flags: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    expected: dict[str, float] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)

    def command(self, out: Path) -> str:
        """Returns the command that asks for this in a folder."""
        budget = []
        if self.budget is not None:
            budget = ["--budget", f"{np.format_float_positional(self.budget, trim='-')}s"]
        return shlex.join(["dml", "run", self.source, "--out", str(out), *budget, *self.flags])

    @classmethod
    def read(cls, path: Path) -> "Steps | None":
        """Returns what `write` wrote; None if there is no such file.

        Raises:
            DataError: It is damaged.
        """
        if not path.exists():
            return None
        hint = "remove it, and the same command continues without the times that it holds"
        value = read_sealed(path, _VERSION, hint)
        if name := misfit(value, _SHAPE):
            raise DataError(path, f"damaged: {name} is not what dml writes; {hint}")
        return cls(
            value["source"],
            value["budget"],
            tuple(value["flags"]),
            tuple(value["data"]),
            value["expected"],
            value["took"],
        )

    def write(self, path: Path) -> None:
        """Writes this as a file."""
        write_sealed(path, {"schema": _VERSION, **asdict(self)})


_VERSION = 1
_SHAPE = {
    **{"source": str, "budget": (int, float, type(None)), "flags": [str], "data": [str]},
    **{"expected": {str: (int, float)}, "took": {str: (int, float)}},
}


class Workflow:
    """Looks at a data set, plans, trains, evaluates, exports and indexes, and writes a page.

    Every step is done once: after an interruption, or on another call, `run` continues with the
    first step that is not finished.

    Args:
        source: A folder of class folders; or a recipe or a data set, as `dml.load_recipe` takes it.
        out: The folder of the run; by default `runs/NAME`.
        budget: Seconds that all steps may take together; None for any time. The epochs of the
            recipe are the most that are trained.
        flags: `--section.option value` as a flat list of strings.
        reporter: Receives lines of text and the progress of long work.

    Raises:
        DmlError: The source, an option or the budget is invalid.

    Example:
        >>> run = dml.Workflow("my_images", budget=20 * 60).run()  # doctest: +SKIP
        >>> run.evaluation().metrics["R@1"].value  # doctest: +SKIP
        0.81
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        out: str | os.PathLike[str] | None = None,
        budget: float | None = None,
        flags: Sequence[str] = (),
        reporter: Reporter = SILENT,
    ):
        check_alone("dml.Workflow: use dml.Trainer")
        if budget is not None:
            check_positive(budget=budget)
        self.folder = RunFolder(Path("runs") / run_name(source) if out is None else out)
        self._recipe: Recipe = load_recipe(source, flags, allow_parts=True)
        name = os.fspath(source)
        if self._recipe.dataset.named_by_root and not name.endswith(".toml"):
            name = self._recipe.dataset.absolute_root()
            # A damaged image among thousands is left out and named, rather than an error.
            lenient = ("--training.unreadable", "skip", *flags)
            self._recipe = load_recipe(source, lenient, allow_parts=True)
        self._asked = self._steps = Steps(name, budget, tuple(flags))
        self._reporter = reporter

    def plan(self) -> Plan:
        """Looks at the data, times a few batches and reports what would be done; writes nothing.

        Raises:
            DmlError: The data is invalid, or nothing can be done in the budget.
        """
        return self._planned()[1]

    def run(self) -> Run:
        """Does the steps that are not finished.

        Returns:
            The finished run. Its index holds all images that it was trained and evaluated on.

        Raises:
            DmlError: The data is invalid or was changed; or the folder holds something else.
        """
        folder, started = self.folder, time.monotonic()
        is_new = not folder.recipe.exists()
        self._steps = self._begun()
        if not (folder.metrics.exists() and folder.encoder.exists()):
            self._train()
        else:
            self._report_changes()
        run = Run(folder.path, allow_parts=True, reporter=self._reporter)
        if not folder.report.exists():
            run.rewrite_report()
        bundle = folder.path / "bundle"
        if not bundle.exists():
            self._do(StageName.EXPORT, lambda: export(run))
        if not run.index.exists():
            self._do(StageName.INDEX, lambda: self._build_index(run, bundle))
        self._write_page(run)
        if is_new:
            self._report_time(time.monotonic() - started)
        self._reporter.info(f"page: {folder.overview}")
        self._reporter.info(f"search: dml serve {shlex.quote(str(folder.index))}")
        return run

    def serve(self) -> None:
        """Serves the index, with a page to search it, until it is stopped."""
        from dml.serve import run_server

        run_server(self.folder.index, port=0, open_browser=True, reporter=self._reporter)

    def _begun(self) -> Steps:
        """Returns the steps of an earlier call, or none.

        Raises:
            OptionError: The folder holds a run that something else was asked for.
        """
        folder, asked = self.folder, self._asked
        found = Steps.read(folder.steps)
        if not folder.recipe.exists():
            folder.check_new()
            check_out(folder.path, self._recipe.dataset)
            for place in (folder.path / "bundle", folder.index):
                if place.exists():
                    raise OccupiedError(place, "is there already: choose another --out")
            with claimed_folder(folder.path, ""):
                return asked  # it can be written
        listed = {file for layer in layers_of(read_source(folder.recipe)) for file in layer.parts}
        if foreign := sorted(listed - set(self._recipe.parts)):
            text = f"{folder.path} holds a run with Python files of its own, {', '.join(foreign)}: "
            raise OptionError("--out", f"{text}choose another")
        recipe = load_run_recipe(folder, allow_parts=True)
        if recipe.dataset != self._recipe.with_absolute_paths().dataset:
            text = f"{folder.path} holds a run on {dataset_label(recipe.dataset)}: choose another"
            raise OptionError("--out", text)
        if found is None:  # of `dml train`
            with_flags = load_run_recipe(folder, asked.flags, allow_parts=True)
            if asked.budget is not None or with_flags.to_toml() != recipe.to_toml():
                text = f"{folder.path} holds a run of `dml train`, whose options can't be changed: "
                raise OptionError(
                    "--out", f"{text}leave out the budget and other options, or choose another"
                )
            return asked
        if (found.source, found.budget, found.flags) != (asked.source, asked.budget, asked.flags):
            command = found.command(folder.path)
            text = f"{folder.path} was begun by `{command}`: repeat that to continue it, or "
            raise OptionError("--out", f"{text}choose another")
        return found

    def _planned(self) -> tuple[Look, Plan]:
        """Looks at the data and plans, and reports both."""
        started, recipe = time.monotonic(), self._recipe
        items = recipe.dataset.items()
        name = dataset_label(recipe.dataset)
        TestSplit.of(items, name, recipe.evaluation.exclude)  # there must be something to test on
        look = look_at(items, name, recipe.training.threads, self._reporter)
        for line in look.lines():
            self._reporter.info(line)
        for line in notes_on(items):
            self._reporter.info(line)
        if recipe.training.unreadable == "skip":
            items = look.readable()
        spent, budget = time.monotonic() - started, self._asked.budget
        plan = Trainer(recipe, self._reporter)._plan(budget, AFTER_TRAINING, spent, items)
        for line in plan.lines():
            self._reporter.info(line)
        return look, plan

    def _train(self) -> None:
        """Trains and evaluates, or continues to."""
        folder = self.folder
        if folder.recipe.exists():
            Trainer.resume(folder.path, allow_parts=True, reporter=self._reporter)
            self._took(TRAINING_STEP, 0)
            return
        look, plan = self._planned()
        if folder.recipe.exists():
            raise BusyError(
                f"{folder.path}: another process has begun the run meanwhile; once it has ended, "
                "the same command continues"
            )
        expected = {stage.name: round(stage.seconds, 1) for stage in plan.stages}
        self._steps = replace(self._steps, data=tuple(look.lines()), expected=expected)
        self._steps.write(folder.steps)
        trainer = Trainer(plan.recipe, self._reporter)
        self._do(TRAINING_STEP, lambda: trainer._run(folder.path, describe=False))

    def _do(self, step, function) -> None:
        """Does a step and keeps how long it took."""
        started = time.monotonic()
        function()
        self._took(step, time.monotonic() - started)

    def _took(self, step: str, seconds: float) -> None:
        took = {**self._steps.took, step: round(seconds, 1)}
        self._steps = replace(self._steps, took=took)
        self._steps.write(self.folder.steps)

    def _build_index(self, run: Run, bundle: Path) -> None:
        """Indexes all images of the run that are still there."""
        from dml.index import index_images

        items, _ = self._items_now(run, ())
        write_items(items, self.folder.images)
        index_images(bundle, [self.folder.images], run.index, reporter=self._reporter)

    def _report_changes(self) -> None:
        """Reports how the images differ from those that a finished training has seen."""
        run = Run(self.folder, allow_parts=True)
        _, changes = self._items_now(run, SPLITS)
        if text := str(changes):
            self._reporter.warning(
                f"{text}; {self.folder.path} is of the images as they were: another --out trains "
                "on them as they are now"
            )

    def _items_now(self, run: Run, splits: tuple[str, ...]):
        """Returns the images of a run that are unchanged, and the changes; `splits` are read."""
        recorded = RecordedItems.read(self.folder.checked(self.folder.items))
        threads = run.recipe.training.threads
        return unchanged_items(recorded, run.recipe.dataset, splits, threads, self._reporter)

    def _write_page(self, run: Run) -> None:
        """Writes the page that links everything."""
        steps = self._steps
        select, evaluation = run.recipe.training.select, run.evaluation()
        times = steps.expected, steps.took
        page = overview_of(self.folder, evaluation, steps.data, *times, select)
        write_overview(self.folder.overview, page)

    def _report_time(self, seconds: float) -> None:
        """Reports how long everything took, next to what was expected."""
        expected, budget = sum(self._steps.expected.values()), self._asked.budget
        allowed = "" if budget is None else f"; allowed {minutes(budget)}"
        self._reporter.info(f"took {minutes(seconds)}, expected {minutes(expected)}{allowed}")


def export(run: Run) -> None:
    """Exports a run, by TensorFlow whatever backend it was trained on."""
    from keras import config

    if config.backend() == "tensorflow":
        run.export()
        return
    command = [sys.executable, "-m", "dml", "--backend", "tensorflow", "export", str(run.path)]
    if subprocess.run([*command, "--allow-parts"]).returncode:
        raise DataError(run.path, "can't be exported: the reason is above")

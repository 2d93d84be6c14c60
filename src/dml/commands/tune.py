"""`dml tune`: tries options of a recipe, and writes the recipe that is best in validation."""

import argparse

from dml._console.runtime import Runtime
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.errors import OptionError
from dml.reporting import Reporter

_AXES = ("rate", "decay", "loss", "margin", "augmentation")  # as `dml.tuning`, not loaded here
_EPILOG = """examples:
  dml tune my_images/ --trials 30 --budget 1.5h
  dml tune my_recipe.toml --search rate margin      # the other options stay as they are
  dml tune cars196-half --losses arcface circle --training.epochs 5 --out tune/cars
  dml tune tune/cars --resume                       # continue; or work on it in a further process
  dml tune tune/cars --resume --trials 60           # more trials
  dml tune tune/cars --resume --confirm 3           # is the best really better?
  dml train tune/cars/best.toml

With pretrained weights, the first half of the trials only trains the head stage, on features that
are computed once. Both halves begin with the recipe's own options. Trials are compared by their R@1
in validation; the test split is not read. The study's folder has best.toml, the table trials.tsv
and a run for each trial. Every option of a recipe is a flag, too: --section.option value, as for
`dml train`."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="RECIPE_OR_DATASET",
        help="as for `dml train`, or a study to resume",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="trials in all (default: 20)")
    parser.add_argument(
        "--budget", metavar="TIME", help="stop after this time: 90s, 20m, 1.5h (default: no limit)"
    )
    parser.add_argument(
        "--search",
        nargs="+",
        choices=_AXES,
        metavar="AXIS",
        help=f"what is searched (default: {' '.join(_AXES)})",
    )
    parser.add_argument(
        "--losses", nargs="+", metavar="LOSS", help="losses to try (default: a few that fit)"
    )
    parser.add_argument(
        "--confirm",
        type=int,
        default=0,
        metavar="N",
        help="train the best and the recipe's own options N times again, with other seeds and "
        "validation classes (default: 0)",
    )
    parser.add_argument("--out", metavar="DIR", help="the study's folder (default: tune/NAME)")
    parser.add_argument("--resume", action="store_true", help="continue a study, or join it")
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml._durations import seconds_of
    from dml._storage.study_folder import StudyFolder
    from dml.recipe import load_recipe
    from dml.runs._folders import run_name
    from dml.tuning import Tuner, spaces_of

    budget = None if options.budget is None else seconds_of(options.budget, "--budget")
    if options.resume:
        given = {"--out": options.out, "--search": options.search, "--losses": options.losses}
        others = [*options.flags[:1], *(name for name, value in given.items() if value)]
        if others:
            raise OptionError("--resume", f"uses the study's own settings: leave out {others[0]}")
        arguments = (options.source, options.trials, budget, options.allow_parts, reporter)
        Tuner.resume(*arguments, options.confirm)
        return
    if StudyFolder(options.source).manifest.exists():
        raise OptionError(options.source, "is a study: continue it with --resume")
    recipe = load_recipe(options.source, options.flags, allow_parts=True)
    spaces = spaces_of(recipe, options.search or _AXES, options.losses or ())
    trials = 20 if options.trials is None else options.trials
    name = run_name(options.source)
    Tuner(recipe, *spaces, reporter).run(options.out, trials, budget, name, options.confirm)


COMMAND = Command(
    "tune",
    "try options of a recipe, and write the one that is best on the validation classes",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    runtime=Runtime.KERAS,
    takes_flags=True,
    after_interrupt="`dml tune STUDY --resume` continues with the trial that was running",
    less_memory="smaller batches, a smaller backbone.input_size or training.chunks need less",
)

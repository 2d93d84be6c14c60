"""`dml train`: from a recipe to a run: a folder with a trained and evaluated encoder."""

import argparse
import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dml._console.runtime import Runtime
from dml._durations import seconds_of
from dml.commands._arguments import add_allow_parts, add_budget, naming_budget
from dml.commands._command import Command
from dml.errors import OptionError
from dml.reporting import Reporter

if TYPE_CHECKING:
    from dml.recipe import Recipe

_EPILOG = """examples:
  dml train glyphs                         the built-in data set: needs no files
  dml train my_images/                     a folder of class folders
  dml train 'shards/train-{000..015}.tar'  shards of WebDataset; likewise .parquet files, hf:NAME
  dml train glyphs --loss.name soft_triple --loss.margin 0.02 --training.epochs 9
  dml train my_recipe.toml --out runs/mine --budget 20m
  dml train my_images/ --dry-run           the expected time and memory; writes nothing
  dml train runs/mine --resume
  srun dml --backend jax train my_images/ --processes --training.devices all
  dml --backend jax train my_images/ --engine ray --training.devices all

Every option of a recipe is a flag, too: --section.option value. Sections: dataset backbone
embedding sampler augmentation loss miner reduction auxiliary_loss regularizer optimizer head memory
training head_stage second_stage evaluation. `dml parts` lists the options, `dml recipes` the
recipes."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="RECIPE_OR_DATASET",
        help="a recipe's name or file, a data set's name, a folder, table or shards of images, "
        "hf:NAME_OR_PATH[:SPLIT], or a run to resume",
    )
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    add_budget(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="build everything, time a few batches, and print the plan; write nothing",
    )
    parser.add_argument(
        "--processes",
        action="store_true",
        help="train as one of several processes (JAX), started by srun or mpirun, or with "
        "KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID",
    )
    parser.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="this process (default), or processes on the Ray cluster that RAY_ADDRESS names (JAX)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes on the cluster (default: one per GPU, or per machine if there are none)",
    )
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml._processes import join_processes
    from dml.recipe import load_recipe
    from dml.runs import Trainer
    from dml.runs._folders import run_name

    if options.resume:
        given = {"--out": options.out, "--budget": options.budget, "--dry-run": options.dry_run}
        others = [name for name, value in given.items() if value not in (None, False)]
        if others := [*options.flags[:1], *others]:
            raise OptionError("--resume", f"uses the run's own recipe: leave out {others[0]}")
    if options.engine == "ray":
        _train_on_cluster(options, reporter)
        return
    if options.workers is not None:
        raise OptionError("--workers", "is for --engine ray")
    if options.processes:
        join_processes()
    if options.resume:
        Trainer.resume(options.source, options.allow_parts, reporter=reporter)
        return
    recipe = load_recipe(options.source, options.flags, allow_parts=True)
    if options.budget is None and not options.dry_run:
        Trainer(recipe, reporter).run(options.out, run_name(options.source))
        return
    started = time.monotonic()
    budget = None if options.budget is None else seconds_of(options.budget, "--budget")
    if options.out is not None:  # before batches are timed
        _check_out(options.out, recipe)
    with naming_budget():
        plan = Trainer(recipe, reporter).plan(budget)
    for line in plan.lines() if options.dry_run else plan.times():
        reporter.info(line)
    if options.dry_run:
        return
    Trainer(plan.recipe, reporter).run(options.out, run_name(options.source))
    reporter.info(plan.kept(time.monotonic() - started))


def _train_on_cluster(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml._processes import require_jax
    from dml._storage.run_folder import RunFolder
    from dml.recipe import load_recipe, recipe_to_resume
    from dml.runs._cluster import ClusterTraining
    from dml.runs._folders import free_folder, run_name
    from dml.runs._sharing import Shares
    from dml.runs._splits import recorded_items

    require_jax("--engine", "local")
    given = {
        "--processes": options.processes,
        "--budget": options.budget,
        "--dry-run": options.dry_run,
    }
    if others := [name for name, value in given.items() if value]:
        raise OptionError(others[0], "is not for --engine ray: leave it out")
    if options.resume:
        run = RunFolder(options.source)
        run.check_begun()
        recipe = recipe_to_resume(run, options.allow_parts)
        items = functools.partial(recorded_items, run)
    else:
        recipe = load_recipe(options.source, options.flags, allow_parts=True)
        items = recipe.dataset.items
        if options.out is not None:
            _check_out(options.out, recipe)
    if recipe.training.devices != "all":
        raise OptionError(
            "training.devices", f"must be all with --engine ray; got {recipe.training.devices}"
        )
    shares = Shares.of(recipe, items)
    if options.resume:
        folder = Path(options.source)
    elif options.out is not None:
        folder = Path(options.out)
    else:
        folder = free_folder(Path("runs"), run_name(options.source))
    out = str(folder.absolute())
    # A new training may run the recipe's parts, and so may what continues it.
    parts = [] if options.resume and not options.allow_parts else ["--allow-parts"]
    ClusterTraining(
        folder.absolute(),
        begin=["train", options.source, *options.flags, "--out", out],
        resume=["train", out, "--resume", *parts],
        shares=shares,
        workers=options.workers,
    ).run(reporter)


def _check_out(out: str, recipe: "Recipe") -> None:
    """Raises an error for a folder in which the run can't be, before the long work."""
    from dml._storage.run_folder import RunFolder
    from dml.runs._folders import check_out

    RunFolder(out).check_new()
    check_out(out, recipe.dataset)


COMMAND = Command(
    "train",
    "train an encoder from a recipe, a data set or a folder of class folders",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    runtime=Runtime.KERAS,
    takes_flags=True,
    after_interrupt="`dml train RUN --resume` continues from the last epoch (repeat --backend, "
    "--processes and --engine)",
    less_memory="smaller batches, a smaller backbone.input_size or training.chunks need less",
)

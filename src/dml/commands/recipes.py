"""`dml recipes`: the shipped recipes, and what they resolve to."""

import argparse

from dml._console.runtime import Runtime, load_runtime
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.recipe import load_recipe, shipped_recipes
from dml.reporting import Reporter


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="RECIPE", help="print this recipe")
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    if options.name is None:
        for name, text in shipped_recipes().items():
            title = text.partition("\n")[0].removeprefix("# ")
            reporter.info(f"{name:28} {title}")
        return
    load_runtime(Runtime.KERAS)  # the parts that a recipe names need Keras; the list does not
    recipe = load_recipe(options.name, allow_parts=options.allow_parts)
    for line in recipe.to_toml().rstrip().split("\n"):
        reporter.info(line)


COMMAND = Command(
    "recipes",
    "list the shipped recipes, or print one, resolved, with every option",
    _add_arguments,
    _run,
)

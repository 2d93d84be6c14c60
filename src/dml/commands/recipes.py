"""`dml recipes`: the recipes that ship, and what they resolve to."""

import argparse

from dml._console.runtime import Runtime, load_runtime
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.recipe import load_recipe, shipped_recipes
from dml.reporting import Reporter


def recipes(name=None, allow_parts=False, report=print):
    """Lists the shipped recipes with their first line, or prints one with every option."""
    if name is not None:
        for line in load_recipe(name, (), allow_parts).to_toml().rstrip().split("\n"):
            report(line)
        return
    for recipe, path in shipped_recipes().items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        report(f"{recipe:28} {first.lstrip('# ')}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="RECIPE")
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    if options.name is not None:  # the parts that it names need Keras; the list does not
        load_runtime(Runtime.KERAS)
    recipes(options.name, options.allow_parts, report=reporter.info)


COMMAND = Command(
    "recipes",
    "list the recipes that ship, or print one with every option",
    _add_arguments,
    _run,
)

"""`dml parts`: lists the parts of a family and their options."""

import argparse
import dataclasses
import inspect
from collections.abc import Iterator

from dml._console.runtime import Runtime
from dml._registry import suggestion
from dml.commands._command import Command
from dml.errors import UnknownNameError
from dml.recipe import FAMILIES, options_of, toml_value
from dml.reporting import Reporter

_PLURALS = {"loss": "losses"}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", nargs="?", metavar="FAMILY", help="losses, miners, ...")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    sections = {  # an auxiliary loss is a loss
        _PLURALS.get(section, f"{section}s"): section
        for section in FAMILIES
        if section != "auxiliary_loss"
    }
    if options.family is None:
        for family, section in sections.items():
            known = sorted(FAMILIES[section].parts())
            reporter.info(f"{family} ({len(known)}): {', '.join(known)}")
        return
    if options.family not in sections:
        hint = suggestion(options.family, sections)
        raise UnknownNameError(f"no family {options.family!r}.{hint} Known: {', '.join(sections)}")
    section = sections[options.family]
    for name, part in sorted(FAMILIES[section].parts().items()):
        for line in _described(name, part, section):
            reporter.info(line)


def _described(name: str, part: type, section: str) -> Iterator[str]:
    """Yields what a part does, the licence of its weights, and a line for each option."""
    summary = (inspect.getdoc(part) or "").partition("\n")[0]  # python -OO keeps none
    yield f"{name}: {summary}" if summary else name
    if licence := getattr(part, "licence", ""):
        yield f"    licence: {licence}"
    for option in options_of(part):
        value = "none" if option.default is None else toml_value(option.default)
        required = option.default is dataclasses.MISSING
        yield f"    --{section}.{option.name} {'(required)' if required else value}"


COMMAND = Command(
    "parts",
    "list losses, miners, samplers, ... and their options",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
)

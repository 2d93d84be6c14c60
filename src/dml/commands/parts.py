"""`dml parts`: the parts of a family, and their options."""

import argparse
import dataclasses
import inspect

from dml._console.runtime import Runtime
from dml.commands._command import Command
from dml.recipe import FAMILIES, options_of, toml_value
from dml.registry import suggestion
from dml.reporting import Reporter

PLURALS = {"loss": "losses"}


def parts(family=None, report=print):
    """Lists the parts of a family with what they do and their options; or the families.

    Args:
        family: `losses`, `miners`, `samplers`, ...; None lists the families.
        report: Called with each line.

    Raises:
        ValueError: There is no such family.
    """
    families = {  # an auxiliary loss is one, too
        PLURALS.get(section, f"{section}s"): section
        for section in FAMILIES
        if section != "auxiliary_loss"
    }
    if family is None:
        for name, section in families.items():
            known = sorted(registry_of(section))
            report(f"{name} ({len(known)}): {', '.join(known)}")
        return
    if family not in families:
        raise ValueError(
            f"no family {family!r}.{suggestion(family, families)} Known: {', '.join(families)}"
        )
    for name, part in sorted(registry_of(families[family]).items()):
        said = (inspect.getdoc(part) or "").partition("\n")[0]  # python -OO keeps none
        report(f"{name}: {said}" if said else name)
        for field in options_of(part):
            default = "none" if field.default is None else toml_value(field.default)
            required = field.default is dataclasses.MISSING
            report(f"    --{families[family]}.{field.name} {'(required)' if required else default}")


def registry_of(section):
    """Returns the registry of the parts that a section names."""
    return FAMILIES[section].parts()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", nargs="?", metavar="FAMILY", help="losses, miners, ...")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    parts(options.family, report=reporter.info)


COMMAND = Command(
    "parts",
    "list the losses, miners, samplers, ... with their options",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
)

"""What README and docs name exists, is exported and documented; nothing else is public."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dml

SOURCE = Path(dml.__file__).parent
ROOT = Path(__file__).parents[1]
INTERNAL = {"commands", "cli.py"}  # the command line has its own interface
TEXTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *SOURCE.rglob("*.py")]


def is_public(path):
    parts = path.relative_to(SOURCE).parts
    private = any(part.startswith("_") and part != "__init__.py" for part in parts)
    return not private and INTERNAL.isdisjoint(parts)


FILES = sorted(path for path in SOURCE.rglob("*.py") if is_public(path))
PACKAGES = [path.parent for path in FILES if path.name == "__init__.py"]
# What their package exports whole.
MODULES = {SOURCE / "errors.py", SOURCE / "reporting.py"}


def name_of(path):
    """Returns the dotted name of a module's file or of a package's folder."""
    return ".".join(["dml", *path.relative_to(SOURCE).parts]).removesuffix(".py")


def defined_in(path):
    """Returns the functions, classes and constants that a module defines without an underscore."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {
                part.id
                for target in node.targets
                for part in ast.walk(target)
                if hasattr(part, "id")
            }
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def resolve(dotted):
    """Returns what a dotted name stands for.

    Raises:
        AttributeError, ModuleNotFoundError: It stands for nothing.
    """
    path, *others = dotted.split(".")
    found = importlib.import_module(path)
    for part in others:
        path += f".{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            if not inspect.ismodule(found):
                raise
            found = importlib.import_module(path)
    return found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_texts_name_exists(path):
    text = path.read_text(encoding="utf-8")
    for dotted in set(re.findall(r"(?<![\w./-])dml(?:\.[A-Za-z]\w*)+", text)) - {"dml.json"}:
        resolve(dotted)


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_what_is_exported_is_documented(package):
    module = importlib.import_module(name_of(package))
    assert module.__doc__
    for name in module.__all__:
        found = getattr(module, name)
        if callable(found) and not isinstance(found, dict):  # a registry is a dictionary of parts
            text = inspect.getdoc(found) or ""
            # A dataclass without a docstring gets its signature for one.
            assert text and not text.startswith(f"{name}("), f"{name_of(package)}.{name}"


@pytest.mark.parametrize("path", [path for path in FILES if path not in MODULES], ids=name_of)
def test_what_a_module_defines_is_exported_or_begins_with_an_underscore(path):
    package = importlib.import_module(name_of(path.parent))
    left = defined_in(path) - set(package.__all__)
    assert not left, f"{name_of(path)}: {', '.join(sorted(left))}"


def test_packages_are_there_after_import_dml():
    code = """
import sys, dml
print(dml.__version__, dml.index.open_index.__name__, dml.OnnxEncoder.__name__)
assert "keras" not in sys.modules
print(dml.reductions.REDUCTIONS)
"""
    loads_fast = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=loads_fast
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{dml.__version__} open_index OnnxEncoder")

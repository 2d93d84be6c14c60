"""The scripts beside the library."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    p.relative_to(ROOT) for d in ("benchmarks", "tools") for p in (ROOT / d).glob("*.py")
)


@pytest.mark.parametrize("script", [str(path) for path in SCRIPTS])
def test_what_they_import_from_dml_is_there(script):
    for node in ast.walk(ast.parse((ROOT / script).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dml":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):  # then it is a module
                    importlib.import_module(f"{node.module}.{alias.name}")

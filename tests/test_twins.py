"""A module without a test fails here.

The twin of `src/dml/a/b.py` or `src/dml/a/_b.py` is `tests/a/test_b.py`. One exception: in a family
of parts, a module that registers a part, and the `base.py` that they share, have the family's
`test_contract.py` for a twin, which runs over the registry; they have a file of their own where
they are peculiar.
"""

import importlib
from pathlib import Path

import pytest

import dml
from dml.recipe import FAMILIES

SOURCE = Path(dml.__file__).parent
TESTS = Path(__file__).parent
MODULES = sorted(
    path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if not path.name.startswith("__")
)
REGISTRIES = {
    **{f.package.split(".")[-1]: (f.package, f.registry) for f in FAMILIES.values()},
    "miners": ("dml.miners", "MINERS"),
}


def has_contract(module):
    """Returns whether the contract test of its family exists and covers this module."""
    family = module.parent.name
    contract = TESTS / family / "test_contract.py"
    if family not in REGISTRIES or not contract.exists():
        return False
    package, name = REGISTRIES[family]
    assert name in contract.read_text(encoding="utf-8"), f"{contract} does not run over {name}"
    registry = getattr(importlib.import_module(package), name)
    homes = {part.__module__.split(".")[-1] for part in registry.values()}
    return module.stem == "base" or module.stem in homes


def test_finds_the_modules():
    assert Path("training/learner.py") in MODULES and Path("losses/proxy_anchor.py") in MODULES


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_a_twin(module):
    folders = [folder.lstrip("_") for folder in module.parent.parts]
    twin = TESTS.joinpath(*folders, f"test_{module.name.lstrip('_')}")
    assert twin.exists() or has_contract(module), f"{module} is tested by no {twin.name}"

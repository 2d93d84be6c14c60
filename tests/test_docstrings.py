"""The examples in docstrings run as written."""

import doctest
import importlib
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest

import dml
from dml.augmentations import AUGMENTATIONS
from dml.losses import LOSSES
from dml.miners import MINERS
from dml.regularizers import REGULARIZERS
from dml.samplers import SAMPLERS

SOURCE = Path(dml.__file__).parent
EXAMPLES = sorted(
    ".".join(["dml", *path.relative_to(SOURCE).parts]).removesuffix(".py")
    for path in SOURCE.rglob("*.py")
    if "\n    Example:" in path.read_text(encoding="utf-8")
)
PARTS = [LOSSES, MINERS, REGULARIZERS, SAMPLERS, AUGMENTATIONS]
NOT_RUN = {  # and why
    "dml.losses.base.PairLoss": "it registers a part; tests/losses/test_base.py runs it",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    given = {**vars(module), "dml": dml, "keras": keras, "np": np}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for found in doctest.DocTestFinder().find(module, extraglobs=given):
        if found.name in NOT_RUN:
            continue
        assert found.examples or "Example:" not in (found.docstring or ""), f"{found.name}: no >>>"
        report = []
        runner.run(found, out=report.append)
        assert not runner.failures, "".join(report)


@pytest.mark.parametrize(
    "public",
    [
        *(getattr(dml, name) for name in dml.__all__ if name != "__version__"),
        *(parts[name] for parts in PARTS for name in parts),
    ],
    ids=lambda public: public.__name__,
)
def test_what_users_begin_with_has_an_example(public):
    assert isinstance(public, ModuleType) or "Example:" in public.__doc__

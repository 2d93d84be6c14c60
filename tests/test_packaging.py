"""What the wheel and the source distribution hold, and what is tried of each extra."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.tools import load_tool

ROOT = Path(__file__).parents[1]
LICENSE = "dml-1.dist-info/licenses/LICENSE"


@pytest.fixture(scope="module")
def packaging():
    """The script that looks into what was built and tries it."""
    return load_tool("try_installs")


@pytest.mark.slow
def test_what_is_built_holds_the_package_and_nothing_else(packaging, tmp_path):
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("src", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    build = [sys.executable, "-m", "build", "--no-isolation", tmp_path]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    assert packaging.problems(tmp_path / "dist") == []


@pytest.fixture
def source(tmp_path):
    """A package of two files."""
    for name in ("__init__.py", "py.typed", "__pycache__/__init__.pyc"):
        path = tmp_path / "dml" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_what_a_wheel_lacks_or_should_not_hold(packaging, source):
    complete = {"dml/__init__.py", "dml/py.typed", "dml-1.dist-info/METADATA", LICENSE}
    assert not list(packaging.wheel_problems(complete, source))
    found = packaging.wheel_problems({"dml/__init__.py", "tests/test_cli.py"}, source)
    assert list(found) == ["lacks dml/py.typed", "holds tests/test_cli.py", "lacks LICENSE"]


def test_what_a_source_distribution_lacks_or_should_not_hold(packaging, source):
    package = {"src/dml/__init__.py", "src/dml/py.typed", "src/dml.egg-info/SOURCES.txt"}
    files = {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "PKG-INFO", "setup.cfg"}
    complete = {f"dml-1/{name}" for name in package | files}
    assert not list(packaging.sdist_problems(complete, source))
    changed = (complete | {"dml-1/tests/test_cli.py"}) - {"dml-1/LICENSE"}
    found = list(packaging.sdist_problems(changed, source))
    assert found == ["lacks LICENSE", "holds tests/test_cli.py"]


def test_something_is_tried_with_each_extra(packaging):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(packaging.CHECKS) == {"none", *project["optional-dependencies"]}

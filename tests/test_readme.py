"""The Python code of the README and the guides runs as printed, and their commands exist."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from dml.cli import build_parser, find_commands, split_flags
from tests.datasets.layouts import write_image

ROOT = Path(__file__).parents[1]
TEXT = "".join(path.read_text() for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))])
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
RECIPE = """
[dataset]
name = "folder"
root = "photos"

[backbone]
name = "conv4"
filters = 8
input_size = 16
resize_side = 16

[sampler]
batch_size = 8

[training]
epochs = 1
"""


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_runs_and_is_short(number, tmp_path, monkeypatch, capsys):
    for i in range(40):
        write_image(tmp_path / "photos" / f"class {i // 4}" / f"{i}.jpg", i, side=40)
    (tmp_path / "other_images").symlink_to(tmp_path / "photos")
    (tmp_path / "my_recipe.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = {
        "images": rng.integers(0, 256, (40, 28, 28, 3), dtype="uint8"),
        "labels": np.repeat(np.arange(10), 4),
        "test_images": rng.integers(0, 256, (12, 28, 28, 3), dtype="uint8"),
        "test_labels": np.repeat(np.arange(3), 4),
        "vectors": rng.normal(size=(40, 8)),
    }
    lines = [line for line in BLOCKS[number].splitlines() if line.strip()]
    assert len(lines) <= 15
    exec(BLOCKS[number].replace("epochs=10", "epochs=1"), names)
    assert "nan" not in capsys.readouterr().out


def test_there_are_examples_of_runs_of_arrays_of_a_folder_of_features_and_of_evaluation():
    assert len(BLOCKS) == 5


COMMANDS = sorted(set(re.findall(r"^ {4}(dml [^#\n]+?) *(?:#.*)?$", TEXT, re.MULTILINE)))


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line):
    arguments, _ = split_flags(shlex.split(line)[1:])
    build_parser(find_commands()).parse_args(arguments)


def test_there_are_commands():
    assert len(COMMANDS) > 15

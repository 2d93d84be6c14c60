"""Everything that the README and the pages of docs/ show runs, or is at least understood.

Python code runs as printed, with fewer epochs; recipes are read; every command is parsed with its
options; and the commands of a search, which need no training, run.
"""

import ast
import importlib.util
import re
import shlex
import shutil
import sys
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml.cli import build_parser, find_commands, main, split_flags
from dml.losses import LOSSES
from dml.recipe import FAMILIES, SECTIONS, load_dataset, load_recipe, option_names
from tests.bundles import write_bundle
from tests.datasets.layouts import write_image

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
OTHERS = {"pytorch_metric_learning", "oml", "tensorflow_similarity"}  # shown beside dml
RECIPE = """
[dataset]
name = "folder"
root = "my_images"

[backbone]
name = "conv4"
filters = 8
input_size = 16
resize_side = 16

[sampler]
batch_size = 8

[training]
epochs = 1

[head_stage]
epochs = 1

[evaluation]
clustering_seeds = 0
"""
TINY = """--backbone.name conv4 --backbone.filters 4 --backbone.input_size 16
--backbone.resize_side 16 --sampler.batch_size 8 --training.epochs 1 --head_stage.epochs 1"""
FEWER = {"epochs=10": "epochs=1", "budget=5 * 60": f"flags={TINY.split()}"}


@dataclass(frozen=True)
class Block:
    """Code on a page.

    Args:
        page: The page.
        line: Its first line.
        language: As after the fence; "sh" for indented commands.
        title: The file that it stands for; empty for none.
        code: The code.
    """

    page: Path
    line: int
    language: str
    title: str
    code: str

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(
        r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE
    ):
        title = re.search(r'title="(.*?)"', match[3])
        line = text[: match.start()].count("\n") + 2
        yield Block(page, line, match[2], title[1] if title else "", textwrap.dedent(match[4]))
    for match in re.finditer(r"(?<=\n\n)((?: {4}(?:dml|make|pip) [^\n]+\n)+)", text):
        line = text[: match.start()].count("\n") + 1
        yield Block(page, line, "sh", "", textwrap.dedent(match[1]))


BLOCKS = {page: list(blocks_of(page)) for page in PAGES}
ALL = [block for blocks in BLOCKS.values() for block in blocks]
COMMANDS = [
    pytest.param(line, id=f"{block}: {line}")
    for block in ALL
    if block.language == "sh"
    for line in block.code.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]


@pytest.fixture(autouse=True)
def own_parts_are_forgotten():
    """Forgets the parts that the pages register."""
    registries = [family.parts() for family in FAMILIES.values()]
    known = [dict(registry) for registry in registries]
    yield
    for registry, parts in zip(registries, known, strict=True):
        registry.clear()
        registry.update(parts)
    for name in [name for name in sys.modules if name.startswith("dml_parts_")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A folder with what the pages name: images, a table, a recipe, the files that they show."""
    folder = tmp_path_factory.mktemp("shown")
    for i in range(40):
        write_image(folder / "my_images" / f"class {i // 4}" / f"{i}.jpg", i, side=40)
    for name in ("other_images", "photos", "more_photos"):
        shutil.copytree(folder / "my_images", folder / name)
    shutil.copy(folder / "my_images/class 1/4.jpg", folder / "query.jpg")
    rows = (f"my_images/class {i // 4}/{i}.jpg,class {i // 4}" for i in range(40))
    (folder / "photos.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    shot = {"image": [b""], "label": ["cat"]}
    pq.write_table(pa.table(shot), folder / "images.parquet")
    (folder / "my_recipe.toml").write_text(RECIPE)
    for block in ALL:
        if Path(block.title).suffix in (".py", ".toml"):
            (folder / block.title).write_text(block.code)
    write_bundle(folder / "runs/mine/bundle")
    return folder


@pytest.fixture
def folder(shown, tmp_path, monkeypatch):
    """A copy of it, which is the current folder."""
    copy = shutil.copytree(shown, tmp_path / "copy")
    monkeypatch.chdir(copy)
    return copy


def names():
    """Returns the arrays that the pages name."""
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (40, 28, 28, 3), dtype="uint8"),
        "labels": np.repeat(np.arange(10), 4),
        "test_images": rng.integers(0, 256, (12, 28, 28, 3), dtype="uint8"),
        "test_labels": np.repeat(np.arange(3), 4),
        "vectors": rng.normal(size=(40, 8)).astype("float32"),
    }


def imported(code):
    """Returns the packages that some code imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


WITH_PYTHON = [page for page in PAGES if any(b.language == "python" for b in BLOCKS[page])]


@pytest.mark.slow
@pytest.mark.usefixtures("eager_training")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_python_runs_and_is_short(page, folder, capsys):
    known = {}
    for block in BLOCKS[page]:
        if block.language != "python" or block.title.endswith(".py"):
            continue
        known.update(names())
        assert len([line for line in block.code.splitlines() if line.strip()]) <= 30, block
        code = block.code
        for whole, tiny in FEWER.items():
            code = code.replace(whole, tiny)
        compiled = compile(code, str(block), "exec")
        missing = {name for name in set(imported(code)) & OTHERS if not find(name)}
        if not missing:
            exec(compiled, known)
    assert "nan" not in capsys.readouterr().out


def find(package):
    return importlib.util.find_spec(package)


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "toml"], ids=str)
def test_recipes_are_read(block, folder):
    path = folder / (block.title or "shown.toml")
    path.write_text(block.code)
    load_recipe(path, allow_parts=True)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line, shown, monkeypatch):
    monkeypatch.chdir(shown)
    words = shlex.split(line, comments=True)
    while "=" in words[0]:  # a variable of the environment
        del words[0]
    if words[0] in ("srun", "mpirun"):
        del words[: words.index("dml")]
    if words[0] == "dml":
        check_command(words[1:])
    elif words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), line
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        wanted = re.findall(r"\[(.*)\]", words[2])
        assert {name for part in wanted for name in part.split(",")} <= set(
            extras["optional-dependencies"]
        ), line
    else:
        assert words[0] in ("curl", "ray", "export", "python"), line


def check_command(words):
    """Parses a command; of those that train, reads the recipe with the flags."""
    arguments, flags = split_flags(words)
    options = build_parser(find_commands()).parse_args(arguments)
    if options.command in ("train", "run", "tune") and not getattr(options, "resume", False):
        source = options.source
        if Path(source).suffix == ".toml" and not Path(source).exists():
            source = "my_recipe.toml"  # one that another command has written
        load_recipe(source, flags, allow_parts=True)
    elif options.command == "data":
        load_dataset(options.name, flags)
    elif flags:
        load_recipe("glyphs", flags)


def test_options_in_the_text_exist():
    known = {place for places in option_names().values() for place in places}
    known |= {f"{section}.name" for section in SECTIONS}
    sections = "|".join(SECTIONS)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(rf"`-{{0,2}}((?:{sections})\.[a-z_]+)\b(?!\.)", text):
            assert name in known, f"{page.name}: {name}"


def test_commands_in_the_text_exist():
    commands = find_commands()
    for page in PAGES:
        for name in re.findall(r"`dml ([a-z]+)", page.read_text(encoding="utf-8")):
            assert name in commands, f"{page.name}: dml {name}"


def test_the_commands_of_a_search_run(folder, capsys):
    """Those of the page that have the output of training as their input, in their order."""
    ran = 0
    for block in BLOCKS[ROOT / "docs/search.md"]:
        for line in block.code.splitlines() if block.language == "sh" else ():
            words = shlex.split(line, comments=True)
            if words[:1] != ["dml"] or words[1] not in ("index", "search", "embed"):
                continue
            if "milvus" in line or "--engine" in words:
                continue
            assert main(words[1:]) == 0, f"{line}: {capsys.readouterr()}"
            ran += 1
    assert ran >= 6


@pytest.mark.parametrize("words", ["recipes", "recipes adapt", "parts losses", "parts"])
def test_commands_that_list_run(words, capsys):
    assert main(words.split()) == 0
    assert capsys.readouterr().out


def test_there_is_something_to_run():
    assert len(COMMANDS) > 15 and len(WITH_PYTHON) >= 2


def test_the_mathematics_has_every_loss():
    text = (ROOT / "docs/mathematics.md").read_text(encoding="utf-8")
    # Other tests of the process may have registered losses of their own.
    shipped = {name for name, loss in LOSSES.items() if loss.__module__.startswith("dml.")}
    assert set(re.findall(r"<!-- loss (\w+) -->", text)) == shipped

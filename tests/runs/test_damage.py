"""Damage to each kind of file in a run gives a result, or one line and exit code 2."""

import io
import json
import random
import shutil
import tomllib
import zipfile

import numpy as np
import pandas as pd
import pytest

from dml._storage.records import write_sealed
from dml._storage.run_folder import RunFolder
from dml.cli import main
from dml.encoding.encoder import load_encoder
from dml.recipe import load_recipe, toml_value
from dml.reporting import SILENT
from dml.runs import Trainer
from dml.training._checkpoint import Checkpoint
from tests.damage import damaged
from tests.runs.running import Lines, flags, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_training")]

TRIALS = 12
ODD = [None, True, -1, 0, 10**30, 1e308, float("nan"), "", "x", "a\x00b", [], [1], {}, {"a": 1}]
REFUSALS = (ValueError, KeyError, OSError)  # what the command makes one line of


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    changes = {"training__epochs": 2, "evaluation__clustering_seeds": 0}
    changes |= {"evaluation__verification": "false"}
    path = tmp_path_factory.mktemp("runs") / "run"
    return train("glyphs", flags(**changes), out=path)


@pytest.fixture
def run(whole, tmp_path):
    return RunFolder(shutil.copytree(whole.path, tmp_path / "run"))


def fields(value, path=()):
    """Yields the path of each field within a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in inner:
        yield (*path, key)
        if isinstance(part, (dict, list)):
            yield from fields(part, (*path, key))


def with_odd_field(rng, value):
    """Returns a JSON value in which one field is something else, or is missing."""
    value = json.loads(json.dumps(value))
    *path, last = rng.choice(list(fields(value)))
    inside = value
    for key in path:
        inside = inside[key]
    if rng.random() < 0.2:
        del inside[last]
    else:
        inside[last] = rng.choice(ODD)
    return value


def one_line_or_a_result(capsys, *arguments):
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    errors = capsys.readouterr().err
    lines = [line for line in errors.splitlines() if line.startswith("dml: ")]
    assert (code, len(lines)) in ((0, 0), (2, 1)) and "Traceback" not in errors, errors
    return code


FILES = {
    "manifest.json": "evaluate",
    "recipe.toml": "report",
    "items.parquet": "evaluate",
    "encoder.keras": "evaluate",
    "frozen.json": "evaluate",
    "parameters.json": "report",
    "versions.json": "report",
    "metrics.json": "export",
    "log.jsonl": "report",
    "evaluation/glyphs/metrics.json": "report",
    "evaluation/glyphs/vectors.npy": "report",
    "evaluation/glyphs/items.parquet": "compare",
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes(run, whole, capsys, name):
    rng, file = random.Random(name), run.path / name
    data = file.read_bytes()
    more = [whole.path] if FILES[name] == "compare" else []
    refused = 0
    for _ in range(4 if name == "log.jsonl" else TRIALS):
        file.write_bytes(damaged(rng, data))
        refused += one_line_or_a_result(capsys, FILES[name], run.path, *more) == 2
    assert refused == 0 if name == "log.jsonl" else refused > TRIALS / 2


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".json")])
def test_odd_fields_that_the_manifest_knows(run, capsys, name):
    rng, file = random.Random(name), run.path / name
    value = json.loads(file.read_text())
    manifest = run.manifest.read_bytes()
    for _ in range(5):
        odd = with_odd_field(rng, value)
        run.manifest.write_bytes(manifest)
        if file == run.manifest:
            odd.pop("sha256", None)
            write_sealed(run.manifest, odd)
        else:
            run.write_json(file, odd)
        one_line_or_a_result(capsys, FILES[name], run.path)


@pytest.mark.parametrize("name", ["vectors.npy", "items.parquet"])
def test_other_arrays_and_tables_that_the_manifest_knows(run, whole, capsys, name):
    file = run.evaluation("glyphs") / name
    table = pd.read_parquet(run.evaluation("glyphs") / "items.parquet")
    claims = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        claims, {"descr": "<f4", "fortran_order": False, "shape": (10**8, 10**6)}
    )
    arrays = [
        claims.getvalue(),
        *(
            np.zeros(shape, kind)
            for shape, kind in (((36,), "f4"), ((36, 8), "f8"), ((9, 8), "f4"))
        ),
        np.array([{}] * 36, dtype=object),
    ]
    tables = [table[[]], table.drop(columns="class"), table[:9], table.assign(id=None)]
    for value in arrays if name == "vectors.npy" else tables:
        if isinstance(value, bytes):
            file.write_bytes(value)
        elif isinstance(value, np.ndarray):
            np.save(file, value)
        else:
            value.to_parquet(file)
        run.record(file)
        for command in (("report", run.path), ("compare", whole.path, run.path)):
            assert one_line_or_a_result(capsys, *command) == 2


def test_an_encoder_by_itself(whole, tmp_path):
    rng, file = random.Random(0), tmp_path / "encoder.keras"
    data = whole.encoder.read_bytes()
    for _ in range(100):
        file.write_bytes(damaged(rng, data))
        try:
            load_encoder(file)
        except ValueError as error:
            assert str(file) in str(error) and "\n" not in str(error)
    with zipfile.ZipFile(whole.encoder) as whole_file:
        members = {name: whole_file.read(name) for name in whole_file.namelist()}
    config = json.loads(members["config.json"])
    for _ in range(25):
        members["config.json"] = json.dumps(with_odd_field(rng, config))
        with zipfile.ZipFile(file, "w") as odd:
            for name, text in members.items():
                odd.writestr(name, text)
        try:
            load_encoder(file)
        except ValueError as error:
            assert str(file) in str(error)


def test_checkpoints(run, whole):
    rng, recipe = random.Random(0), load_recipe(whole.recipe)
    learner = Trainer(recipe)._build(recipe, recipe.dataset.items().select("train")).learner
    assert Checkpoint(run).load(learner, learner.encoder.variables, SILENT).epoch == 2
    for name in ("epoch-0002.npz", "best-*.npz"):
        (file, *_) = sorted(run.checkpoints.glob(name), reverse=True)
        data = file.read_bytes()
        with np.load(file) as arrays:
            arrays = dict(arrays)
        fields = json.loads(arrays["state"].item())
        for trial in range(100):
            if trial % 2:
                file.write_bytes(damaged(rng, data))
            else:
                odd = {key: rng.choice((value, None, "x", -1, [])) for key, value in fields.items()}
                other = rng.choice([np.zeros(3), np.array("x"), np.zeros((0, 4)), arrays["v0"]])
                np.savez(file, **{**arrays, "v0": other, "state": np.array(json.dumps(odd))})
            reporter = Lines()
            try:
                state = Checkpoint(run).load(learner, learner.encoder.variables, reporter)
            except ValueError as error:
                assert str(run.checkpoints) in str(error)
            else:
                assert state.epoch == 2 or reporter
        file.write_bytes(data)


def test_recipes(whole, tmp_path):
    rng, file = random.Random(0), tmp_path / "mine.toml"
    data = whole.recipe.read_bytes()
    table = tomllib.loads(data.decode())
    for trial in range(200):
        if trial % 2:
            file.write_bytes(damaged(rng, data))
        else:
            odd = with_odd_field(rng, table)
            lines = []
            for section, options in odd.items():
                if isinstance(options, dict):
                    lines.append(f"[{section}]")
                    lines += [f"{key} = {toml(value)}" for key, value in options.items()]
                else:
                    lines.insert(0, f"{section} = {toml(options)}")
            file.write_text("\n".join(lines))
        try:
            load_recipe(file)
        except REFUSALS as error:
            assert "\n" not in str(error).strip()


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(part)}" for key, part in value.items()) + "}"
    return '"none"' if value is None else toml_value(value)

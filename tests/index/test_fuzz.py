"""Files of an index, of a bundle and of vectors, damaged in any way: a result, or one line."""

import json
import shutil

import numpy as np
import pyarrow.parquet as parquet
import pytest

from dml._storage.records import sha256, write_sealed
from dml.cli import main
from dml.encoding._collection import embed_to_file
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index._faiss_index import FaissIndex
from tests.bundles import DIMENSION, write_bundle, write_images
from tests.index.clusters import clusters
from tests.index.shops import items

pytestmark = pytest.mark.slow

TRIALS = 40
VALUES = [
    None, True, -1, 0, 1, 7, 2**31, 2**63, 10**30, 1e308, float("nan"), "", "x", "../x", [], ["x"],
    {}, {"x": 1},
]  # fmt: skip


def damaged(data, rng):
    """Returns bytes with one damage, of a kind drawn at random."""
    data = bytearray(data)
    place, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
    kind = rng.integers(6)
    if kind == 0:
        data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        del data[place : place + length]
    elif kind == 3:
        data[place : place + length] = rng.bytes(length)
    elif kind == 4:
        data[place:place] = rng.bytes(length)
    else:
        data[place : place + 4] = b"\xff\xff\xff\x7f"
    return bytes(data)


def with_another_value(value, rng):
    """Returns a copy of a JSON value with one of its values replaced, or removed."""
    value = json.loads(json.dumps(value))
    at = value
    while True:
        key = list(at)[rng.integers(len(at))] if isinstance(at, dict) else rng.integers(len(at))
        inside = at[key]
        if isinstance(inside, dict | list) and inside and rng.random() < 0.7:
            at = inside
            continue
        if rng.random() < 0.2:
            del at[key]
        else:
            at[key] = VALUES[rng.integers(len(VALUES))]
        return value


def said(capsys, command):
    """Runs a command; returns its exit code after a look at what it says."""
    code = main([str(part) for part in command])
    text = capsys.readouterr()
    assert code in (0, 2), text.err
    assert text.err.count("\n") == (code == 2) and "Traceback" not in text.err
    return code


@pytest.fixture(scope="module", params=["flat", "hnsw"])
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    encoder = OnnxEncoder(write_bundle(folder / "bundle"))
    write_images(folder / "photos")
    count = 300
    FaissIndex.build(
        folder / "shop", encoder, items(count), clusters(count, DIMENSION), request.param
    )
    return folder


@pytest.fixture
def shop(built, tmp_path):
    shutil.copytree(built, tmp_path / "here")
    return tmp_path / "here" / "shop"


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "items-1.parquet", "vectors-1.f32", "codes-1.faiss", "bundle/dml.json",
     "bundle/encoder.onnx"],
)  # fmt: skip
def test_damage_to_an_index_is_always_found(shop, capsys, name):
    file = shop / name
    if not file.exists():
        pytest.skip("a flat index has no codes")
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(TRIALS):
        data = damaged(whole, rng)
        file.write_bytes(data)
        if not the_same(name, data, whole):
            assert said(capsys, ["index", "verify", shop]) == 2
    file.write_bytes(whole)
    assert said(capsys, ["index", "verify", shop]) == 0


def the_same(name, data, whole):
    """Returns whether a damage changes nothing."""
    if name.endswith(".f32"):  # what is behind the vectors is of a change that was stopped
        return data[: len(whole)] == whole
    try:
        return name.endswith(".json") and json.loads(data) == json.loads(whole)
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["manifest.json", "bundle/dml.json"])
def test_untrusted_text_gives_a_result_or_one_line(shop, capsys, name):
    outside = shop.parent / "x"
    outside.write_text("mine")
    whole = json.loads((shop / name).read_text())
    del whole["sha256"]
    rng = np.random.default_rng(1)
    query = shop.parent / "photos" / "class 0" / "0.png"
    for _ in range(TRIALS):
        write_sealed(shop / name, with_another_value(whole, rng))
        if name != "manifest.json":
            manifest = json.loads((shop / "manifest.json").read_text())
            del manifest["sha256"]
            write_sealed(shop / "manifest.json", {**manifest, "bundle": sha256(shop / name)})
        for command in (
            ["index", "info", shop],
            ["index", "verify", shop],
            ["search", shop, query, "--where", "price < 9"],
            ["search", shop, query, "--threshold", "calibrated"],
            ["embed", shop / "bundle", query, "--out", shop.parent / "out.parquet"],
        ):
            said(capsys, command)
    assert outside.read_text() == "mine"


def test_untrusted_items_give_a_result_or_one_line(shop, capsys):
    table = parquet.read_table(shop / "items-1.parquet")
    empty = table.slice(0, 0)
    more = {
        "none": empty,
        "fewer": table.slice(1),
        **{f"no {name}": table.drop_columns([name]) for name in table.column_names},
        **{
            f"{name} as {other}": table.drop_columns([name]).append_column(name, table[other])
            for name in table.column_names
            for other in ("label", "weight", "sold")
            if name != other
        },
        "twice": table.append_column("label", table["label"]),
    }
    manifest = json.loads((shop / "manifest.json").read_text())
    del manifest["sha256"]
    query = shop.parent / "photos" / "class 0" / "0.png"
    for changed in more.values():
        parquet.write_table(changed, shop / "items-1.parquet")
        entry = manifest["files"]["items"]
        entry["bytes"] = (shop / "items-1.parquet").stat().st_size
        entry["sha256"] = sha256(shop / "items-1.parquet")
        write_sealed(shop / "manifest.json", manifest)
        said(capsys, ["index", "verify", shop])
        said(capsys, ["search", shop, query])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    write_images(tmp_path / "photos")
    return tmp_path


def test_damaged_vectors_are_a_result_or_one_line(here, capsys):
    embed_to_file("bundle", ["photos"], "v.parquet")
    whole = (here / "v.parquet").read_bytes()
    rng = np.random.default_rng(0)
    expected = FaissIndex.build("good", OnnxEncoder("bundle"), *vectors_of("v.parquet"))
    for trial in range(2 * TRIALS):
        (here / "v.parquet").write_bytes(damaged(whole, rng))
        code = said(capsys, ["index", "build", "bundle", "v.parquet", "--out", f"shop{trial}"])
        if code == 0:
            index = FaissIndex.open(f"shop{trial}")
            np.testing.assert_array_equal(index.snapshot.vectors, expected.snapshot.vectors)
    assert not list(here.glob("*.unfinished")) and not list(here.glob(".writing-*"))


def vectors_of(path):
    frame = parquet.read_table(path).to_pandas()
    return frame.drop(columns="vector"), np.stack(frame["vector"])


def test_another_mark_on_vectors_is_a_result_or_one_line(here, capsys):
    embed_to_file("bundle", ["photos"], "v.parquet")
    table = parquet.read_table("v.parquet")
    mark = json.loads(table.schema.metadata[b"dml"])
    rng = np.random.default_rng(0)
    marks = [json.dumps(with_another_value(mark, rng)) for _ in range(TRIALS)]
    for trial, text in enumerate([*marks, "", "[]", "7", "{", "null"]):
        parquet.write_table(
            table.replace_schema_metadata({**table.schema.metadata, b"dml": text}), "w.parquet"
        )
        said(capsys, ["index", "build", "bundle", "w.parquet", "--out", f"shop{trial}"])


def test_damaged_parts_are_measured_again(here, capsys, monkeypatch):
    monkeypatch.setattr("dml.encoding._collection._PART", 3)
    embed_to_file("bundle", ["photos"], "whole.parquet")
    _, expected = vectors_of("whole.parquet")
    monkeypatch.setattr("dml.encoding._collection.write_vectors", interrupted)
    assert main(["embed", "bundle", "photos", "--out", "v.parquet"]) == 130
    capsys.readouterr()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    shutil.copytree("v.parquet.unfinished", "kept")
    rng = np.random.default_rng(0)
    for _ in range(TRIALS):
        shutil.copytree("kept", "v.parquet.unfinished", dirs_exist_ok=True)
        part = sorted((here / "v.parquet.unfinished").glob("*.part"))[rng.integers(4)]
        part.write_bytes(damaged(part.read_bytes(), rng))
        assert said(capsys, ["embed", "bundle", "photos", "--out", "v.parquet"]) == 0
        np.testing.assert_allclose(vectors_of("v.parquet")[1], expected, atol=1e-6)


def interrupted(*arguments):
    raise KeyboardInterrupt

"""An index in a folder is complete or absent; test_interface tests the common interface."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dml._storage.bundle import Bundle
from dml._storage.records import write_sealed
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.index._faiss_index import FaissIndex
from dml.index._kinds import KINDS
from tests.bundles import DIMENSION, write_bundle
from tests.index.clusters import clusters
from tests.index.shops import items

COUNT = 1500


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return OnnxEncoder(write_bundle(tmp_path_factory.mktemp("bundle") / "bundle"))


@pytest.fixture(scope="module", params=KINDS)
def built(request, encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / request.param
    FaissIndex.build(path, encoder, items(COUNT), clusters(COUNT, DIMENSION), request.param, 0.9)
    return path


@pytest.fixture
def path(built, tmp_path):
    shutil.copytree(built, tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def flat(encoder, tmp_path):
    return FaissIndex.build(tmp_path / "flat", encoder, items(50), clusters(50, DIMENSION))


def name_of(index, which):
    """Returns the name of one of an index's files."""
    return index.snapshot.manifest.files[which].name


def test_wide_filters_go_through_the_codes(path, monkeypatch):
    monkeypatch.setattr("dml.index._snapshot.LARGEST_EXACT", 10)
    index = FaissIndex.open(path)
    _, rows = index.snapshot.nearest(clusters(20, DIMENSION, seed=3), 10, "price < 1200")
    assert rows.shape == (20, 10) and index.snapshot.items["price"][rows.ravel()].max() < 1200


def test_many_removed_items_make_room(path):
    index = FaissIndex.open(path)
    index.remove([f"i{n}" for n in range(100)])
    assert len(index.snapshot.items) == COUNT and index.info().removed == 100
    index.remove([f"i{n}" for n in range(100, 500)])  # more than a quarter: rebuilt
    index = FaissIndex.open(path)
    assert len(index) == len(index.snapshot.items) == COUNT - 500
    index.verify()
    for id in ("i500", "i1499"):
        near = index.snapshot.nearest(index.vector(id)[None], 1)[1]
        assert index.snapshot.items["id"][near[0, 0]] == id
    expected = clusters(COUNT, DIMENSION)
    for id, row in index.snapshot.row_of.items():
        np.testing.assert_array_equal(index.snapshot.vectors[row], expected[int(id[1:])])


def test_wrong_use_is_named(flat, encoder, tmp_path):
    with pytest.raises(KeyError, match="has no item 'i499'; did you mean 'i49'"):
        flat.remove(["i499"])
    with pytest.raises(FileNotFoundError, match="not an index"):
        FaissIndex.open(tmp_path)
    other = write_bundle(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="built with another encoder"):
        flat.encoder(other)


def test_two_writers_at_once_are_refused(flat):
    with (
        flat.changing(),
        pytest.raises(ValueError, match=r"flat: process \d+ on .* is writing it"),
        FaissIndex.open(flat.folder.path).changing(),
    ):
        pass


def test_a_writer_takes_up_what_another_has_written(flat):
    late = FaissIndex.open(flat.folder.path)
    flat.remove(["i3"])
    late.remove(["i4"])
    assert len(FaissIndex.open(flat.folder.path)) == 48


def test_a_change_that_failed_is_not_made_by_the_next(path, monkeypatch):
    index, vectors = FaissIndex.open(path), clusters(COUNT, DIMENSION)
    for work in (
        lambda: index.remove(["i3", "i4"]),
        lambda: index.add(items(5, first=3), clusters(5, DIMENSION, seed=8)),
        lambda: index.add(items(900, first=9000), clusters(900, DIMENSION, seed=9)),
        lambda: index.remove([f"i{n}" for n in range(COUNT // 2)]),
    ):
        with monkeypatch.context() as full:
            full.setattr("dml._storage.records.write_json", refuse)
            with pytest.raises(OSError, match="No space left"):
                work()
        assert len(index) == COUNT
        near = [near[0][1]["id"] for near in index.search(vectors[:100], 1)]
        assert np.mean([id == f"i{n}" for n, id in enumerate(near)]) > 0.95
    index.remove(["i7"])
    index = FaissIndex.open(path)
    index.verify()
    assert len(index) == COUNT - 1
    np.testing.assert_array_equal(index.vector("i3"), vectors[3])


def test_a_change_that_failed_and_can_not_be_read_again_is_not_made_either(flat, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("dml._storage.records.write_json", refuse)
        broken.setattr("dml.index._snapshot._load", refuse)
        with pytest.raises(OSError, match="No space left"):
            flat.remove(["i3"])
    assert len(flat) == 50
    flat.remove(["i4"])
    assert len(flat) == 49 and flat.item("i3")["id"] == "i3"


def refuse(*arguments):
    raise OSError(28, "No space left on device")


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 9))
def test_a_flipped_bit_is_always_found(path, place, bit, which):
    index = FaissIndex.open(path)
    names = [entry.name for entry in index.snapshot.manifest.files.values()] + ["manifest.json"]
    file = path / names[which % len(names)]
    data = bytearray(file.read_bytes())
    spot = int(place * len(data))
    data[spot] ^= 1 << bit
    whole = file.read_bytes()
    file.write_bytes(data)
    try:
        with pytest.raises(ValueError, match=r"damaged|not valid JSON|another version"):
            FaissIndex.open(path)
    finally:
        file.write_bytes(whole)
    assert len(FaissIndex.open(path)) == len(index)


DIARY = "dear diary"


def sealed(path, change):
    """Changes an index's manifest, whose own SHA-256 fits; as a stranger could."""
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sha256"]
    change(manifest)
    write_sealed(path / "manifest.json", manifest)


@pytest.mark.parametrize("which", ["vectors", "items"])
@pytest.mark.parametrize("name", ["../diary.txt", "{diary}", "manifest.json", "link", "", 7, None])
def test_an_untrusted_manifest_can_not_name_files_outside(flat, tmp_path, which, name):
    path, diary = flat.folder.path, tmp_path / "diary.txt"
    diary.write_text(DIARY)
    if name == "link":
        name = name_of(flat, which)
        (path / name).unlink()
        (path / name).symlink_to(diary)
    elif isinstance(name, str):
        name = name.format(diary=diary)
    about = {
        "name": name,
        "bytes": len(DIARY),
        "sha256": hashlib.sha256(DIARY.encode()).hexdigest(),
    }
    sealed(path, lambda manifest: manifest["files"][which].update(about))
    for work in (
        lambda: FaissIndex.open(path),
        lambda: flat.remove(["i3"]),
        lambda: flat.add(items(5, first=100), clusters(5, DIMENSION)),
    ):
        with pytest.raises(ValueError, match=r"damaged|not a regular file"):
            work()
    assert diary.read_text() == DIARY


def test_a_number_that_no_file_name_holds_is_found(flat):
    sealed(flat.folder.path, lambda manifest: manifest.update(number=10**400))
    with pytest.raises(ValueError, match="damaged: not the manifest of an index"):
        FaissIndex.open(flat.folder.path)


def test_a_link_to_a_file_as_it_should_be_is_refused_as_well(flat, tmp_path):
    for entry in flat.snapshot.manifest.files.values():
        file = flat.folder.path / entry.name
        file.rename(tmp_path / entry.name)
        file.symlink_to(tmp_path / entry.name)
        with pytest.raises(ValueError, match=f"{entry.name}: not a regular file"):
            flat.remove(["i3"])
        file.unlink()
        (tmp_path / entry.name).rename(file)
    flat.remove(["i3"])
    (flat.folder.path / ".lock").unlink()
    (flat.folder.path / ".lock").symlink_to(tmp_path / "diary.txt")
    (tmp_path / "diary.txt").write_text(DIARY)
    with pytest.raises(OSError, match=r"\.lock"):
        flat.remove(["i4"])
    assert (tmp_path / "diary.txt").read_text() == DIARY


def test_pipes_are_not_read(flat):
    for name in (
        "manifest.json",
        name_of(flat, "vectors"),
        name_of(flat, "items"),
    ):
        file = flat.folder.path / name
        whole = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(ValueError, match=f"{name}: not a regular file"):
            FaissIndex.open(flat.folder.path)
        file.unlink()
        file.write_bytes(whole)
    assert len(FaissIndex.open(flat.folder.path)) == 50


@pytest.mark.parametrize("replaced", ["thresholds", "dimension", "preparation"])
def test_a_bundle_that_is_not_the_indexes_own_is_found(flat, replaced):
    bundle = flat.folder.bundle
    about = json.loads((bundle / "dml.json").read_text())
    new = {"thresholds": [], "dimension": 7, "preparation": SQUARE}[replaced]
    del about["sha256"]
    Bundle(bundle).describe({**about, replaced: new})
    with pytest.raises(ValueError, match=r"not the one|another encoder|an encoder maps"):
        flat.verify()


SQUARE = {"resize_side": 30, "input_size": 20, "aspect": "keep"}


def test_a_file_cut_short_or_missing_is_named(flat):
    file = flat.folder.path / name_of(flat, "vectors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="cut short by 10 bytes"):
        FaissIndex.open(flat.folder.path)
    file.unlink()
    with pytest.raises(ValueError, match="is missing: the index is damaged"):
        FaissIndex.open(flat.folder.path)


def test_a_full_disk_leaves_the_old_index(flat, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        flat.add(items(5, first=100), clusters(5, DIMENSION))
    monkeypatch.undo()
    index = FaissIndex.open(flat.folder.path)
    index.verify()
    assert len(index) == 50
    index.add(items(5, first=100), clusters(5, DIMENSION))
    assert len(FaissIndex.open(flat.folder.path)) == 55


@pytest.fixture(scope="module")
def processes():
    """Makes processes that have imported this module before they start."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([__name__])
    return made


def started(processes, function, *arguments):
    """Starts a function with a connection, in a process; returns both."""
    ours, theirs = processes.Pipe()
    process = processes.Process(target=function, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def add_and_remove(connection, path):
    """Adds 40 items and removes one of them, again and again."""
    index = FaissIndex.open(path)
    connection.send("ready")
    while True:
        first = 10_000 + 1000 * index.snapshot.manifest.number
        index.add(items(40, first=first), clusters(40, DIMENSION, seed=first))
        connection.send("added")
        index.remove([f"i{first}"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_killed_at_any_moment_the_index_is_the_old_or_the_new(kind, encoder, processes, tmp_path):
    path = tmp_path / "index"
    FaissIndex.build(path, encoder, items(200), clusters(200, DIMENSION), kind)
    rng = np.random.default_rng(0)
    before = 200
    for trial in range(10):
        writer, connection = started(processes, add_and_remove, path)
        assert connection.recv() == "ready"
        added = trial % 2
        assert not added or connection.recv() == "added"
        time.sleep(rng.uniform(0.0, 0.15))  # at a moment that chance chooses
        writer.kill()
        writer.join()
        index = FaissIndex.open(path)
        index.verify()
        numbers = np.array([int(name[1:]) for name in index.snapshot.row_of])
        assert len(index) >= before + 39 * added and (numbers < 200).sum() == 200
        _, sizes = np.unique(numbers[numbers >= 200] // 1000, return_counts=True)
        assert set(sizes) <= {39, 40}  # what was added came whole, removed or not yet
        before = len(index)


def build_until(connection, path, bundle, kind, last):
    """Builds an index and sends the number of its steps, or is killed before one of them.

    Args:
        connection: Where to send it.
        path, bundle, kind: Of the index.
        last: The step, from 1, which is a file's flush or a rename; 0 for none.
    """
    steps = 0

    def counted(function):
        def step(*arguments, **options):
            nonlocal steps
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return step

    for name in ("fsync", "replace", "rename"):
        setattr(os, name, counted(getattr(os, name)))
    FaissIndex.build(path, OnnxEncoder(bundle), items(200), clusters(200, DIMENSION), kind)
    connection.send(steps)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_build_that_is_killed_leaves_a_whole_index_or_none(kind, encoder, processes, tmp_path):
    path = tmp_path / "index"
    _, connection = started(processes, build_until, path, encoder.path, kind, 0)
    steps = connection.recv()
    shutil.rmtree(path)
    there = []
    for last in range(1, steps + 1):
        builder, _ = started(processes, build_until, path, encoder.path, kind, last)
        builder.join()
        assert builder.exitcode == -signal.SIGKILL
        there.append(path.exists())
        if path.exists():
            index = FaissIndex.open(path)
            index.verify()
            assert len(index) == 200
            shutil.rmtree(path)
    assert not there[0] and there[-1]


FILLED = """
import resource, signal, sys
sys.path[:0] = sys.argv[3:]
from tests.index.test_faiss_index import *
index = FaissIndex.open(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
most = os.path.getsize(index.folder.path / name_of(index, "vectors")) + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    index.add(items(5000, first=10_000), clusters(5000, DIMENSION, seed=1))
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("kind, room", [("flat", 10_000), ("hnsw", 10_000), ("hnsw", 300_000)])
def test_files_that_can_grow_no_more_leave_the_old_index(kind, room, encoder, tmp_path):
    path = tmp_path / "index"
    FaissIndex.build(path, encoder, items(200), clusters(200, DIMENSION), kind)
    done = subprocess.run(
        [sys.executable, "-c", FILLED, str(path), str(room), "", *sys.path],
        capture_output=True,
        text=True,
    )
    assert "File too large" in done.stdout and done.stderr == ""
    index = FaissIndex.open(path)
    index.verify()
    assert len(index) == 200
    index.add(items(5, first=1000), clusters(5, DIMENSION, seed=1))
    assert len(FaissIndex.open(path)) == 205
    assert not [file for file in path.iterdir() if file.name.startswith(".writing-")]


@pytest.mark.parametrize(
    "values, kind", [([1.5, None], float), ([3, 4], int), ([True, None], bool)]
)
def test_a_field_without_values_gets_the_type_of_the_first(values, kind, encoder, tmp_path):
    table = items(20)[["id", "path", "label"]].assign(price=None, colour="red")
    FaissIndex.build(tmp_path / "shop", encoder, table, clusters(20, DIMENSION))
    index = FaissIndex.open(tmp_path / "shop")
    more = items(2, first=20)[["id", "path", "label"]].assign(price=values)
    assert index.add(more, clusters(2, DIMENSION, seed=1)) == (2, 0)
    index = FaissIndex.open(tmp_path / "shop")
    assert index.fields == ["id", "path", "label", "price", "colour"]
    assert index.field_types["price"] is kind and index.item("i0")["price"] is None
    assert [index.item(id)["price"] for id in ("i20", "i21")] == values
    with pytest.raises(ValueError, match=r"column 'price' .* got text, such as 'dear'"):
        index.add(more.assign(price="dear"), clusters(2, DIMENSION, seed=1))
    index.add(items(1, first=30)[["id"]], clusters(1, DIMENSION, seed=2))
    assert index.item("i30") == dict.fromkeys(index.fields) | {"id": "i30"}


def test_an_empty_label_stays_a_text(encoder, tmp_path):
    table = items(5)[["id", "path"]].assign(label=None)
    index = FaissIndex.build(tmp_path / "shop", encoder, table, clusters(5, DIMENSION))
    index.add(table.assign(label=7), clusters(5, DIMENSION))
    assert index.item("i0")["label"] == "7"


def test_its_size_is_that_of_all_its_files(flat):
    files = [path for path in flat.folder.path.rglob("*") if path.is_file()]
    assert flat.info().bytes == sum(path.stat().st_size for path in files if path.name != ".lock")

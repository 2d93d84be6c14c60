"""The images for validation and testing: few classes, a growing folder, other folders."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dml._storage.run_folder import RunFolder
from dml.datasets import Items
from dml.errors import OptionError
from dml.reporting import SILENT
from dml.runs._comparison import differences, read_scored_runs
from dml.runs._splits import TestSplit, has_positives
from tests.datasets.layouts import write_image
from tests.runs.running import (
    InterruptAt,
    Lines,
    evaluate,
    losses,
    rebuild,
    resume,
    train,
    words,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_training")]

OPTIONS = {
    "backbone.name": "conv4",
    "backbone.weights": "none",
    "backbone.input_size": 16,
    "backbone.resize_side": 16,
    "backbone.filters": 8,
    "embedding.dim": 8,
    "sampler.batch_size": 8,
    "training.epochs": 2,
    "training.stage": "full",
    "training.interpolate": "none",
    "training.select_aspect": False,
    "evaluation.clustering_seeds": 0,
}
QUICK = ["--evaluation.clustering_seeds", "0"]


def photos(root, classes=15, count=4):
    for i in range(classes * count):
        write_image(root / f"class {i // count:02}" / f"{i}.jpg", i)
    return root


def run_on(root, out, reporter=SILENT, name=None, **changes):
    options = {**OPTIONS, **{k.replace("__", "."): v for k, v in changes.items()}}
    return train(str(root), words(options), out, reporter, name=name)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    parent = tmp_path_factory.mktemp("original")
    run_on(photos(parent / "photos"), parent / "run")
    return parent


@pytest.fixture
def trained(original, tmp_path):
    """A run and its images, to be changed at will."""
    shutil.copytree(original / "photos", tmp_path / "photos")
    shutil.copytree(original / "run", tmp_path / "run")
    moved = (tmp_path / "run" / "recipe.toml").read_text().replace(str(original), str(tmp_path))
    (tmp_path / "run" / "recipe.toml").write_text(moved)
    return tmp_path


def measured(run):
    return list(pd.read_parquet(run / "evaluation" / "folder" / "items.parquet")["id"])


def of_split(run, *splits):
    table = pd.read_parquet(run / "items.parquet")
    return list(table["id"][table["split"].isin(splits)])


def test_a_class_that_comes_later_is_no_part_of_the_test(trained):
    before = measured(trained / "run")
    assert sorted(before) == sorted(of_split(trained / "run", "test"))
    for i in range(3):
        write_image(trained / "photos" / "a new class" / f"{i}.jpg", 90 + i)
    lines = Lines()
    metrics = evaluate(trained / "run", reporter=lines)
    assert measured(trained / "run") == before and metrics["protocol"] == "zero-shot"
    assert metrics["since_training"] == {"added": 3, "missing": 0, "changed": 0}
    assert lines[0].startswith("note: since the training 3 images of 1 class were added (a new c")
    assert metrics["notes"][0][1:] in (trained / "run" / "report.html").read_text()


def test_what_is_gone_or_another_image_is_named_and_the_rest_measured(trained):
    before = measured(trained / "run")
    (trained / "photos" / before[0]).unlink()
    write_image(trained / "photos" / before[1], 99)
    (trained / "photos" / of_split(trained / "run", "train")[0]).unlink()
    metrics = evaluate(trained / "run")
    assert measured(trained / "run") == before[2:]
    assert metrics["since_training"] == {"added": 0, "missing": 2, "changed": 1}
    rebuild(trained / "run")  # from the evaluation's files alone
    shutil.rmtree(trained / "photos")
    (trained / "run" / "report.html").unlink()
    rebuild(trained / "run")
    assert "unreadable" in (trained / "run" / "report.html").read_text()
    (trained / "photos" / "other").mkdir(parents=True)
    for i in range(9):
        write_image(trained / "photos" / f"other {i // 3}" / f"{i}.jpg", i)
    with pytest.raises(ValueError, match="no test images, or none is left"):
        evaluate(trained / "run")


def test_a_run_continues_with_its_original_split(original, trained):
    with pytest.raises(KeyboardInterrupt):
        run_on(trained / "photos", trained / "again", InterruptAt("epoch   1/"))
    for i in range(3):
        write_image(trained / "photos" / "a new class" / f"{i}.jpg", 90 + i)
    image = trained / "photos" / of_split(trained / "again", "train")[0]
    content = image.read_bytes()
    write_image(image, 99)
    with pytest.raises(ValueError, match=r"1 image has changed \(train 1: .* train again"):
        resume(trained / "again")
    image.write_bytes(content)
    lines = Lines()
    folder = resume(trained / "again", lines)
    assert any(
        "were added" in line and "continues with its original images" in line for line in lines
    )
    assert measured(trained / "again") == measured(original / "run")
    assert losses(folder) == losses(RunFolder(original / "run"))


def test_other_folders_are_measured_whole_and_their_protocol_is_found_out(original, trained):
    run, own = trained / "run", (trained / "run" / "metrics.json").read_text()
    unseen = photos(trained / "b" / "photos", classes=3)
    for i, folder in enumerate(sorted(unseen.iterdir())):
        folder.rename(unseen / f"unseen {i}")
    for i, image in enumerate(sorted(unseen.rglob("*.jpg"))):
        write_image(image, 200 + i)
    lines = Lines()
    on_itself = evaluate(run, on=str(trained / "photos"), options=QUICK, reporter=lines)
    assert on_itself["protocol"] == "seen-class" and on_itself["queries"] == 60
    assert on_itself["seen"] == {"classes": 12, "images": 48}
    assert any(line.endswith("of this run: 48 of 60 test images") for line in lines)
    on_unseen = evaluate(run, on=str(unseen), options=QUICK)
    assert on_unseen["protocol"] == "zero-shot" and on_unseen["queries"] == 12
    assert on_unseen["seen"] == {"classes": 0, "images": 0} and not on_unseen["notes"]
    assert len(list((run / "evaluation").iterdir())) == 3
    assert (run / "metrics.json").read_text() == own
    shutil.copy(next((trained / "photos").rglob("0.jpg")), unseen / "unseen 1" / "copy.jpg")
    assert json.loads(own)["seen"] == {"classes": 0, "images": 0}
    with_copy = evaluate(run, on=str(unseen), options=QUICK)
    assert with_copy["protocol"] == "seen-class" and with_copy["seen"]["images"] == 1


def test_another_folder_is_measured_by_the_runs_options(trained):
    run = trained / "run"
    recipe = (run / "recipe.toml").read_text()
    assert "\nks = []\n" in recipe
    (run / "recipe.toml").write_text(recipe.replace("\nks = []\n", "\nks = [1, 3]\n"))
    found = evaluate(run, on=str(trained / "photos"), options=QUICK)
    assert {"R@1", "R@3"} <= set(found["metrics"]) and "R@2" not in found["metrics"]
    flags = [*QUICK, "--evaluation.ks", "2"]
    found = evaluate(run, on=str(trained / "photos"), options=flags)
    assert "R@2" in found["metrics"] and "R@3" not in found["metrics"]


def test_a_test_split_of_its_own_is_what_is_measured(trained):
    other = trained / "other"
    photos(other / "train", classes=2)
    for i in range(8):
        write_image(other / "test" / f"new {i // 4}" / f"{i}.jpg", 300 + i)
    metrics = evaluate(trained / "run", on=str(other), options=QUICK)
    assert metrics["queries"] == 8 and metrics["protocol"] == "zero-shot"
    half = ["--dataset.test_fraction", "0.4"]
    metrics = evaluate(trained / "run", on=str(trained / "photos"), options=half)
    assert metrics["queries"] == 24


def test_reports_and_compares_an_evaluation_on_another_folder(trained, monkeypatch):
    runs = [str(trained / name) for name in ("run", "same")]
    shutil.copytree(*runs)
    monkeypatch.chdir(trained)
    for run in runs:
        with pytest.raises(FileNotFoundError, match=r"dml evaluate .* --on photos"):
            rebuild(run, on="photos")
        with pytest.raises(FileNotFoundError, match=r"dml evaluate .* --on photos"):
            read_scored_runs(runs, on="photos")
        evaluate(run, on="photos/", options=QUICK)
    scored = read_scored_runs(runs, on=str(trained / "photos"))
    assert scored[0].dataset == "photos" and len(scored[0].values) == 60
    assert differences(*scored)["R@1"].difference == 0
    page = next((trained / "run" / "evaluation").glob("photos-*")) / "report.html"
    before = page.read_text()
    page.unlink()
    rebuild(runs[0], on="photos", options=QUICK)
    assert page.read_text() == before


def test_exact_copies_are_known_again_without_the_training_images(trained):
    other = photos(trained / "other", classes=2)
    for i, folder in enumerate(sorted(other.iterdir())):
        folder.rename(other / f"other {i}")
    shutil.rmtree(trained / "photos")
    found = evaluate(trained / "run", on=str(other), options=QUICK)
    known = {i.split("/")[1] for i in of_split(trained / "run", "train", "val")}
    expected = np.isin([f"{i}.jpg" for i in range(8)], list(known)).sum()
    assert found["seen"] == {"classes": 0, "images": expected}


def test_the_last_epoch_is_kept_where_validation_has_one_class(tmp_path):
    root, lines = tmp_path / "photos", Lines()
    for split, classes in (("train", 4), ("val", 1), ("test", 2)):
        photos(root / split, classes)
    folder = run_on(root, tmp_path / "run", lines)
    assert len(of_split(folder.path, "val")) == 4
    assert any("too few to measure R@1: nothing is chosen by it" in line for line in lines)
    assert not any("val_recall_at_1" in row for row in folder.read_log())
    assert not list(folder.checkpoints.glob("best-*"))
    with pytest.raises(OptionError, match=r"training\.patience needs two validation classes"):
        run_on(root, tmp_path / "stops", training__patience=2)
    assert not (tmp_path / "stops").exists()


def test_a_folder_that_is_trained_from_within_names_its_run_and_is_no_class(tmp_path, monkeypatch):
    monkeypatch.chdir(photos(tmp_path / "pho.tos", classes=5))
    folder = run_on(".", None, name="pho.tos", training__epochs=1, dataset__test_fraction=0)
    assert folder.path == Path("runs/pho.tos") and folder.encoder.exists()
    write_image(folder.path / "found" / "1.jpg")
    lines = Lines()
    again = run_on(
        "../pho.tos/", None, lines, "pho.tos", training__epochs=1, dataset__test_fraction=0
    )
    assert again.path == Path("runs/pho.tos-2")
    assert of_split(again.path, "train", "val") == of_split(folder.path, "train", "val")
    assert any("in a run's folder" in line for line in lines)
    with pytest.raises(ValueError, match=r"runs: holds runs, such as pho\.tos: choose an --out"):
        run_on(".", "runs")


def test_few_classes_are_validated_by_images(tmp_path):
    root, lines = photos(tmp_path / "photos", classes=3, count=6), Lines()
    folder = run_on(root, tmp_path / "run", lines, dataset__test_fraction=0)
    assert len({i[:8] for i in of_split(folder.path, "val")}) == 3
    assert all("val_recall_at_1" in row for row in folder.read_log())
    assert list(folder.checkpoints.glob("best-*"))
    assert any("20% of 3 training classes is fewer than two classes" in line for line in lines)


def test_a_single_class_is_neither_trained_nor_tested_on(trained, tmp_path):
    photos(tmp_path / "few/train", classes=1)
    photos(tmp_path / "few/test", classes=2)
    with pytest.raises(ValueError, match="few: there is only one class to train on"):
        run_on(tmp_path / "few", tmp_path / "few-run")
    assert not (tmp_path / "few-run").exists()
    only = photos(tmp_path / "only", classes=1)
    with pytest.raises(ValueError, match="only: all test images are of one class, class 00"):
        evaluate(trained / "run", on=str(only), options=QUICK)
    write_image(only / "test" / "a" / "1.jpg")
    shutil.move(only / "class 00", only / "train" / "b")
    photos(only / "train", classes=3)
    with pytest.raises(ValueError, match="only: all test images are of one class, a"):
        run_on(only, tmp_path / "only-run")
    assert not (tmp_path / "only-run").exists()


def test_unreadable_images_are_left_out_of_every_split(tmp_path):
    for split, classes in (("train", "abcd"), ("val", "ef"), ("test", "ghi")):
        for n, name in enumerate(classes):
            for i in range(4):
                write_image(tmp_path / "photos" / split / name / f"{i}.jpg", 10 * n + i)
        file = tmp_path / "photos" / split / classes[0] / "0.jpg"
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"0\.jpg: truncated or corrupt JPEG"):
        run_on(tmp_path / "photos", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    lines, skip = Lines(), {"training__unreadable": "skip", "training__select_aspect": True}
    folder = run_on(tmp_path / "photos", tmp_path / "run", lines, **skip)
    left_out = {"train": 1, "val": 1, "test": 1}
    metrics = folder.read_json(folder.metrics)
    assert metrics["unreadable"] == left_out and metrics["queries"] == 11
    assert any("as unreadable: train 1, val 1, test 1 (" in line for line in lines)
    assert len(losses(folder)) == 2
    for split in ("train", "test"):  # the same classes, so that a linear classifier reads all
        for name in "gh":
            for i in range(4):
                write_image(tmp_path / "other" / split / name / f"{i}.jpg", i)
        (tmp_path / "other" / split / "g" / "1.jpg").write_bytes(b"no image")
    metrics = evaluate(folder.path, on=str(tmp_path / "other"), options=QUICK)
    assert metrics["unreadable"] == {"test": 1, "train": 1} and metrics["queries"] == 7


def items(protocol, splits):
    names = [f"class {i // 2}" for i in range(len(splits))]
    paths = [f"{i}.jpg" for i in range(len(splits))]
    return Items.build(paths, names, splits, paths, protocol)


def test_test_images_search_each_other():
    split = TestSplit.of(items("zero-shot", ["train"] * 4 + ["test"] * 4), "mine", "none")
    assert not split.has_gallery and len(split.items) == 4
    np.testing.assert_array_equal(split.query_rows, split.gallery_rows)


def test_queries_search_the_gallery(tmp_path):
    split = TestSplit.of(
        items("query-gallery", ["train"] * 2 + ["query", "gallery"] * 2), "mine", "none"
    )
    assert split.has_gallery
    assert split.query_rows.tolist() == [0, 2] and split.gallery_rows.tolist() == [1, 3]
    split.write(tmp_path / "items.parquet")
    table = pd.read_parquet(tmp_path / "items.parquet")
    assert list(table["split"]) == ["query", "gallery"] * 2
    assert list(table["path"]) == [os.path.abspath(f"{i}.jpg") for i in (2, 3, 4, 5)]


def test_a_split_is_read_as_it_was_written(tmp_path):
    split = TestSplit.of(items("query-gallery", ["query", "gallery"] * 3), "mine", "none")
    split.write(tmp_path / "items.parquet")
    read = TestSplit.read(tmp_path / "items.parquet", "query-gallery", "mine", "none")
    assert read.has_gallery and read.query_rows.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(read.items.labels, split.items.labels)
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"items\.parquet: damaged"):
        TestSplit.read(tmp_path / "items.parquet", "query-gallery", "mine", "none")


def test_a_query_leaves_out_what_its_camera_took_of_its_class(tmp_path):
    paths = [f"{i}.jpg" for i in range(5)]
    splits = ["query", "query", "gallery", "gallery", "gallery"]
    cameras = ["1", None, "1", "2", "1"]
    items = Items.build(paths, list("aaaab"), splits, paths, "query-gallery", cameras=cameras)
    split = TestSplit.of(items, "mine", "camera")
    assert split.query_left_out.tolist() == [(0, "1"), None]
    assert split.gallery_left_out.tolist() == [(0, "1"), (0, "2"), (1, "1")]
    split.write(tmp_path / "items.parquet")
    read = TestSplit.read(tmp_path / "items.parquet", "query-gallery", "mine", "camera")
    assert read.left_out.tolist() == split.left_out.tolist() and read.has_positives
    assert TestSplit.of(items, "mine", "none").left_out is None
    with pytest.raises(ValueError, match=r"evaluation\.exclude is sequence, but the data set ha"):
        TestSplit.of(items, "mine", "sequence")


@pytest.mark.parametrize(
    "names, keys, queries, expected",
    [
        ("a b", None, None, False),
        ("a a b", None, None, True),
        ("a a b", ["a1", "a1", None], None, False),
        ("a a b", ["a1", None, None], None, True),  # the second may find the first
        ("a a b", ["a1", "a2", None], None, True),
        ("a a a b", ["a1", "a1", "a1", "b1"], 1, False),
        ("a a a b", ["a1", "a1", "a2", "b1"], 1, True),
        ("a a a b", [None, "a1", "a1", "b1"], 1, True),
        ("a b b", None, 1, False),
        ("a|b b|c", None, None, True),
        ("a|b c", None, None, False),
        ("a|b c|d b|d", None, 2, True),
        ("a|b c|d a b", None, 1, True),
        ("a|b b c d", None, 2, False),  # the queries are a|b and b
    ],
)
def test_positives_are_those_that_are_not_left_out(names, keys, queries, expected):
    names = names.split()
    several = "|" if "|" in "".join(names) else ""
    items = Items.build(names, names, "test", range(len(names)), "zero-shot", separator=several)
    rows = () if queries is None else np.split(np.arange(len(names)), [queries])
    keys = None if keys is None else np.array(keys, object)
    assert has_positives(items, keys, *rows) is expected


@pytest.mark.parametrize(
    "protocol, splits",
    [("zero-shot", ["train"] * 4), ("query-gallery", ["train", "train", "query", "query"])],
)
def test_nothing_to_test_on_is_an_error(protocol, splits):
    with pytest.raises(ValueError, match="mine: there are no test images"):
        TestSplit.of(items(protocol, splits), "mine", "none")


def test_paths_of_archive_members_and_drawings_are_kept_as_they_are_read(tmp_path):
    paths = ["a.zip!./b/../1.png", "glyph:seed=0,size=28,class=3,sample=0", "b/../2.png"]
    items = Items.build(paths, list("aab"), ["test"] * 3, paths, "zero-shot")
    TestSplit.of(items, "mine", "none").write(tmp_path / "items.parquet")
    here = os.getcwd()
    written = pd.read_parquet(tmp_path / "items.parquet")["path"].tolist()
    assert written == [f"{here}/a.zip!./b/../1.png", paths[1], f"{here}/2.png"]

"""`dml data` prints what a check finds, and downloads."""

import argparse
import shutil

import cv2

from dml.commands.data import COMMAND
from dml.datasets import DATASETS
from dml.errors import DmlError
from tests.datasets.layouts import folder
from tests.reporters import Lines


def run(action, name, *flags):
    """Returns what the command prints; its error as the last line."""
    reporter = Lines()
    try:
        COMMAND.run(argparse.Namespace(action=action, name=str(name), flags=list(flags)), reporter)
    except DmlError as error:
        reporter.append(f"error: {error}")
    return "\n".join(reporter)


def checked(root, *flags):
    return run("check", root, "--dataset.test_fraction", "0.4", *flags)


def test_counts_sizes_and_names_of_a_sound_data_set(tmp_path):
    text = checked(folder(tmp_path))
    assert "folder (zero-shot): 10 images" in text
    assert "test            4 images of 2 classes" in text
    assert "unreadable images: 0" in text and "error" not in text
    assert "shorter side: 20 to 20 pixels" in text


def test_unreadable_images_are_named(tmp_path):
    file = folder(tmp_path) / "class 1" / "deep" / "2.png"
    file.write_bytes(file.read_bytes()[:100])
    text = checked(tmp_path)
    assert "unreadable images: 1" in text and "2.png" in text
    assert "error: folder: 1 of 10 images can't be read" in text


def test_lone_images_are_named(tmp_path):
    (folder(tmp_path) / "class 3" / "deep" / "6.png").unlink()
    assert "classes with an image without a match: 1\n  class 3" in checked(tmp_path)


def test_duplicates_across_splits_are_named_by_bytes_and_by_pixels(tmp_path):
    folder(tmp_path)
    dataset = DATASETS["folder"](root=str(tmp_path), test_fraction=0.4)
    items = dataset.items()
    trained, tested = items.select("train").paths[0], items.select("test").paths[0]
    shutil.copy(trained, tested)
    text = checked(tmp_path)
    assert "images with equal bytes: 2 in 1 group, 1 of which are in more than one" in text
    assert "images with equal decoded pixels: 2 in 1 group, 1 of which are in more" in text
    cv2.imwrite(tested, cv2.imread(trained), [cv2.IMWRITE_PNG_COMPRESSION, 1])  # other bytes
    text = checked(tmp_path)
    assert "images with equal bytes: 0" in text
    assert "images with equal decoded pixels: 2 in 1 group, 1 of which" in text


def test_duplicates_within_a_split_are_counted_and_not_called_across(tmp_path):
    folder(tmp_path)
    trained = DATASETS["folder"](root=str(tmp_path), test_fraction=0.4).items().select("train")
    shutil.copy(trained.paths[0], trained.paths[1])
    text = checked(tmp_path, "--dataset.validation_fraction", "0")
    assert "images with equal bytes: 2 in 1 group, 0 of which are in more than one" in text


def test_drawn_images_can_be_checked():
    text = run("check", "glyphs", "--dataset.classes", "4", "--dataset.samples", "2")
    assert text.startswith("glyphs (zero-shot): 8 images") and "error" not in text


def test_other_flags_are_refused():
    assert "only --dataset options" in run("check", "glyphs", "--loss.name", "triplet")
    assert "Did you mean 'glyphs'" in run("check", "glyphz")


def test_data_sets_without_an_address_can_not_be_downloaded():
    assert run("get", "glyphs").startswith("error: glyphs: no public address")

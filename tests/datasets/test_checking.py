"""A check finds unreadable images, single-image classes and duplicates."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dml.datasets import DATASETS, check_images
from tests.datasets.layouts import folder
from tests.reporters import Lines


@pytest.fixture
def items(tmp_path):
    folder(tmp_path)
    return DATASETS["folder"](root=str(tmp_path), test_fraction=0.4).items()


def row_of(items, split):
    return items.splits.tolist().index(split)


def test_a_sound_data_set(items):
    reporter = Lines()
    result = check_images(items, reporter=reporter)
    assert not result.unreadable and not result.lone_classes
    assert result.equal_bytes.groups == result.equal_pixels.groups == ()
    assert result.shorter_sides.tolist() == [20] * 10
    assert reporter.done == {"reading": (10, 10)}


def test_unreadable_and_lone_images(items):
    file = Path(items.paths[3])
    file.write_bytes(file.read_bytes()[:100])
    alone = items.take([row for row in range(10) if items.labels[row] or row == 0])
    result = check_images(alone)
    (row,) = result.unreadable
    assert alone.paths[row] == result.unreadable[row].path == str(file)
    assert result.lone_classes == (alone.class_names[0],)
    assert len(result.shorter_sides) == len(alone) - 1


@pytest.mark.parametrize(
    "split, lone",
    [
        (["train", "train", "train", "test", "test"], ()),
        (["train", "train", "train", "train", "test"], ("class 0",)),
        (["train", "train", "train", "val", "test"], ("class 0",)),
        (["train", "train", "test", "test", "val"], ("class 0",)),
        (["train", "query", "gallery", "gallery", "gallery"], ()),
        (["train", "train", "gallery", "gallery", "gallery"], ()),
        (["train", "train", "train", "query", "query"], ("class 0",)),
    ],
)
def test_an_image_has_its_match_where_it_searches(items, split, lone):
    five = replace(items.take([0] * 5), splits=np.array(split))
    assert check_images(five).lone_classes == lone


def test_copies_across_splits_are_leaks(items):
    first, second = sorted((row_of(items, "train"), row_of(items, "test")))
    shutil.copy(items.paths[first], items.paths[second])
    for threads in (1, 4):
        result = check_images(items, threads)
        assert result.equal_bytes.groups == result.equal_bytes.leaks == ((first, second),)
        assert result.equal_pixels == result.equal_bytes and result.equal_bytes.images == 2
    image = cv2.imread(items.paths[first])
    cv2.imwrite(items.paths[second], image, [cv2.IMWRITE_PNG_COMPRESSION, 1])  # other bytes
    result = check_images(items)
    assert result.equal_bytes.groups == () and result.equal_pixels.leaks == ((first, second),)


def test_copies_within_a_split_are_no_leaks(items):
    rows = [row for row in range(10) if items.splits[row] == "test"]
    for row in rows[1:3]:
        shutil.copy(items.paths[rows[0]], items.paths[row])
    result = check_images(items)
    assert result.equal_bytes.groups == (tuple(rows[:3]),) and result.equal_bytes.leaks == ()
    assert result.equal_bytes.images == 3

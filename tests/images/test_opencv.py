"""OpenCV's number of threads is restored when the last reader has ended."""

import threading

import cv2
import numpy as np
import pytest

from dml.augmentations import AUGMENTATIONS
from dml.datasets import DATASETS
from dml.encoding._interface import Preparation
from dml.encoding._squares import read_squares
from dml.images import _opencv
from dml.images._opencv import single_threaded_opencv
from dml.samplers import SAMPLERS
from dml.training import training_batches


@pytest.fixture(autouse=True)
def three_threads():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    assert cv2.getNumThreads() == 3 and _opencv._blocks == 0
    cv2.setNumThreads(before)


def test_it_is_restored_after_an_error():
    with pytest.raises(KeyError), single_threaded_opencv():
        assert cv2.getNumThreads() == 1
        raise KeyError


def test_blocks_overlap_in_any_order():
    first, second = single_threaded_opencv(), single_threaded_opencv()
    first.__enter__()
    thread = threading.Thread(target=second.__enter__)
    thread.start()
    thread.join()
    first.__exit__(None, None, None)
    assert cv2.getNumThreads() == 1
    second.__exit__(None, None, None)
    assert cv2.getNumThreads() == 3


WANTED = Preparation(resize_side=8, input_size=8, aspect="stretch")


def test_embedding_reads_without_opencvs_threads_and_restores_them(monkeypatch):
    paths = [f"glyph:seed=0,size=20,class={c},sample=0" for c in range(5)]
    seen = []
    monkeypatch.setattr(
        "dml.encoding._squares.read_image",
        lambda *_: seen.append(cv2.getNumThreads()) or np.zeros((8, 8, 3), np.uint8),
    )
    assert len(list(read_squares(paths, WANTED, threads=2, ahead=1))) == 5
    assert seen == [1] * 5 and cv2.getNumThreads() == 3
    squares = read_squares(paths, WANTED, threads=2, ahead=1)
    next(squares)
    squares.close()  # not read to the end


def test_training_reads_without_opencvs_threads_and_restores_them(monkeypatch):
    items = DATASETS["glyphs"](classes=8, samples=4, size=20).items().select("train")
    seen = []
    monkeypatch.setattr(
        "dml.training.loader.read_image",
        lambda *_: seen.append(cv2.getNumThreads()) or np.zeros((20, 20, 3), np.uint8),
    )
    sampler = SAMPLERS["m_per_class"](classes_per_batch=2, images_per_class=2)
    batches = training_batches(items, sampler, AUGMENTATIONS["none"](), size=16)
    batches.reader(0)
    assert seen == [1] * 4 and cv2.getNumThreads() == 3

"""What each of several processes does in tests/test_processes.py.

KERAS_DISTRIBUTION_PROCESS_ID=0 ... python -m tests.processes four FOLDER
"""

import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest

import dml
from dml import _processes
from dml.cli import main as command
from dml.errors import DmlError, OptionError
from dml.training._callbacks import Checkpoint
from tests.runs.on_devices import OPTIONS, results
from tests.runs.running import flags, resume, train

ALL = {"training__devices": "all"}
DIVIDED = {**ALL, "training__shard_proxies": "true"}


@contextlib.contextmanager
def after_checkpoints(count, action):
    """Calls a function after so many checkpoints were written."""
    save, saved = Checkpoint.save, []

    def saving(self, *arguments):
        save(self, *arguments)
        saved.append(1)
        if len(saved) == count:
            action()

    with mock.patch.object(Checkpoint, "save", saving):
        yield


def stop():
    raise KeyboardInterrupt


def features_of(folder):
    """Writes the features of 18 images and a view of each, which the processes share."""
    items = dml.datasets.Glyphs(classes=9, samples=2, size=32).items()
    with dml.on_devices("all"):
        keras.utils.set_random_seed(0)
        encoder = dml.build_encoder(dml.backbones.Conv4(filters=8, input_size=16, resize_side=16))
        augmentation = dml.augmentations.Strong()
        cache = dml.FeatureCache(folder, encoder, items.paths, augmentation, views=1, batch_size=4)
    rows = np.arange(len(cache))
    np.save(folder.with_suffix(".npy"), [cache.batch(rows, 0 * rows + view) for view in (0, 1)])


def of_four(folder):
    """Trains a run with divided proxies, and keeps its state after an epoch."""
    dml.join_processes()

    def copy():
        if os.environ["KERAS_DISTRIBUTION_PROCESS_ID"] == "0":
            shutil.copytree(folder / "four", folder / "fewer")

    with after_checkpoints(1, copy):
        train("glyphs", flags(**OPTIONS, **DIVIDED), folder / "four", evaluate=False)


def of_two(folder):
    """Trains a run with whole proxies, resumes that of four, and is killed in another one."""

    def arguments(name):
        return ["train", "glyphs", *flags(**OPTIONS, **ALL), "--out", str(folder / name)]

    number = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])
    with mock.patch.object(_processes, "_TICK", 0.5):  # seconds, fewer than an evaluation takes
        assert command([*arguments("two"), "--processes"]) == 0
    features_of(folder / f"features-{number}")
    with pytest.raises(DmlError, match="process 1 of 2 has another recipe than process 0"):
        train("glyphs", flags(**OPTIONS, **ALL, training__seed=number), folder / "other")
    with pytest.raises(OptionError, match=r"training.devices must be all or 2"):
        train("glyphs", flags(**OPTIONS), folder / "other")
    assert not (folder / "other").exists()
    with pytest.raises(KeyboardInterrupt), after_checkpoints(1, stop):
        resume(folder / "fewer", evaluate=False)

    def kill():
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with after_checkpoints(1, kill):
        sys.exit(command(arguments("killed")))


def of_one(folder):
    """Resumes the runs that more processes have begun, and compares all with its own."""
    from tests.on_devices import distance

    train("glyphs", flags(**OPTIONS), folder / "one")
    resume(folder / "fewer", evaluate=False)
    resume(folder / "killed", evaluate=False)
    expected = results(folder / "one")
    report = {
        name: distance(results(folder / name), expected)
        for name in ("two", "four", "fewer", "killed")
    }
    metrics = [
        json.loads((folder / name / "metrics.json").read_text())["metrics"]
        for name in ("one", "two")
    ]
    features_of(folder / "features")
    expected = np.load(folder / "features.npy")
    report["features"] = max(
        float(np.abs(np.load(folder / f"features-{number}.npy") - expected).max())
        for number in range(2)
    )
    report["metrics"] = max(
        abs(metrics[1][name]["value"] - metric["value"]) for name, metric in metrics[0].items()
    )
    print(json.dumps(report))


if __name__ == "__main__":
    {
        "four": of_four,
        "two": of_two,
        "one": of_one,
    }[sys.argv[1]](Path(sys.argv[2]))

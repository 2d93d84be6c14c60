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
from types import SimpleNamespace
from unittest import mock

import keras
import numpy as np
import pytest

import dml
from dml import _processes
from dml._devices import whole
from dml._processes import exchanged
from dml.cli import main as command
from dml.errors import BusyError, DmlError, OptionError
from dml.losses import ProxyAnchor
from dml.training._checkpoint import Checkpoint
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


def features_of(folder, number=None):
    """Writes the features of 18 images and a view of each, which the processes share.

    Args:
        folder: Where they are.
        number: Of the process; the first one of several loses them and is helped by the others.
    """
    items = dml.datasets.Glyphs(classes=9, samples=2, size=32).items()
    with dml.on_devices("all"):
        keras.utils.set_random_seed(0)
        encoder = dml.build_encoder(dml.backbones.Conv4(filters=8, input_size=16, resize_side=16))
        augmentation = dml.augmentations.Strong()
        options = {"views": 1, "batch_size": 4}
        cache = dml.FeatureCache(folder, encoder, items.paths, augmentation, **options)
        if number is not None:
            if number == 0:
                shutil.rmtree(folder)
            cache = dml.FeatureCache(folder, encoder, items.paths, augmentation, **options)
            with pytest.raises(BusyError, match="is writing it"):  # in both
                shared = folder.with_name("features-of-both")
                dml.FeatureCache(shared, encoder, items.paths, augmentation, **options)
    rows = np.arange(len(cache))
    np.save(folder.with_suffix(".npy"), [cache.batch(rows, 0 * rows + view) for view in (0, 1)])


def learner_of_two(folder):
    """Predicts and saves with divided proxies, and does not train where it would be apart."""
    from tests.on_devices import data, learner_of

    x, labels = (each[:16] for each in data())
    items = SimpleNamespace(labels=labels, paths=[""] * 16, super_labels=None, ids=None)
    sampler = dml.samplers.MPerClass(3, 1)
    augmentation = dml.augmentations.GlyphWarp()
    uneven = dml.training_batches(items, sampler, augmentation, 8)
    with dml.on_devices("all", shard_proxies=True):
        learner = learner_of(ProxyAnchor(), of_images=True)
        with pytest.raises(OptionError, match=r"sampler\.batch_size must be .* of the 2 dev"):
            learner.fit(uneven, steps_per_epoch=1)
        learner = learner_of(ProxyAnchor())
        expected = learner.embed(x)
        for found in (learner.predict(x, batch_size=8, verbose=0), learner.predict_on_batch(x)):
            np.testing.assert_allclose(found, expected, atol=1e-6)
        learner.optimizer.build(learner.trainable_variables)  # with divided moments
        learner.save(folder / "learner.keras")
        proxies = whole(learner.head.proxies.value)
    saved = keras.saving.load_model(folder / "learner.keras")
    np.testing.assert_array_equal(saved.head.proxies.numpy(), proxies)


def of_four(folder):
    """Trains a run with divided proxies, keeps its state after an epoch, and is ended."""
    dml.join_processes()
    number = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])

    def copy():
        if number == 0:
            shutil.copytree(folder / "four", folder / "fewer")

    with after_checkpoints(1, copy):
        train("glyphs", flags(**OPTIONS, **DIVIDED), folder / "four", evaluate=False)
    exchanged(np.zeros(1))  # all are done
    (folder / f"done-{number}").touch()
    if number == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    exchanged(np.zeros(1))  # which the others can't do without it
    (folder / "unharmed").touch()


def of_two(folder):
    """Trains a run with whole proxies, resumes that of four, and is killed in another one."""

    def arguments(name):
        return ["train", "glyphs", *flags(**OPTIONS, **ALL), "--out", str(folder / name)]

    number = int(os.environ["KERAS_DISTRIBUTION_PROCESS_ID"])
    with mock.patch.object(_processes, "_TICK", 0.5):  # seconds, fewer than an evaluation takes
        assert command([*arguments("two"), "--processes"]) == 0
    learner_of_two(folder)
    features_of(folder / f"features-{number}", number)
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

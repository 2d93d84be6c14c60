"""Runs on four devices, resumed on fewer of them: a part of tests/on_devices.py."""

import shutil
from pathlib import Path
from unittest import mock

import keras
import numpy as np

from dml._storage.run_folder import RunFolder
from dml.encoding.encoder import load_encoder
from tests.runs.running import InterruptAt, Lines, flags, losses, resume, train

OPTIONS = {  # a memory and proxies
    "loss__name": "multi_similarity",
    "memory__size": 24,
    "memory__start": 2,
    "auxiliary_loss__name": "proxy_anchor",
    "sampler__classes_per_batch": 2,
    "sampler__images_per_class": 4,
    "training__select": "last",
}
ON_FOUR = {"training__devices": 4, "training__shard_proxies": "true"}


def stopped_after(epoch, action):
    """Calls what trains with a reporter, and stops it after an epoch."""
    try:
        action(InterruptAt(f"epoch   {epoch}/"))
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not stopped")


def results(path):
    """Returns the losses of a run's epochs and the weights of its encoder."""
    folder = RunFolder(path)
    return [np.array(losses(folder)), *load_encoder(folder.encoder).get_weights()]


def run_results(folder: Path):
    """Returns the results of each way to train the same run.

    Returns:
        `one`, `four` and `all` devices; `same`, stopped and resumed on four; `fewer`, resumed on
        two and then on one, and the lines that this reported.
    """
    listed, found = keras.distribution.list_devices(), {}
    runs = {name: folder / name for name in ("one", "four", "same", "fewer")}
    train("glyphs", flags(**OPTIONS), runs["one"], evaluate=False)
    train("glyphs", flags(**OPTIONS, **ON_FOUR), runs["four"])
    stopped_after(
        1,
        lambda reporter: train(
            "glyphs", flags(**OPTIONS, **ON_FOUR), runs["same"], reporter, evaluate=False
        ),
    )
    shutil.copytree(runs["same"], runs["fewer"])
    resume(runs["same"], evaluate=False)
    lines = Lines()
    with mock.patch.object(keras.distribution, "list_devices", lambda *kind: listed[:2]):
        stopped_after(2, lambda reporter: resume(runs["fewer"], reporter, evaluate=False))
    with mock.patch.object(keras.distribution, "list_devices", lambda *kind: listed[:1]):
        resume(runs["fewer"], lines, evaluate=False)
    found = {name: results(path) for name, path in runs.items()}
    return found, list(lines)

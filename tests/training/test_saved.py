"""A saved learner is loaded where nothing else of the package is in use."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import dml
from dml.errors import DataError


def small_learner():
    encoder = dml.build_encoder(dml.backbones.Conv4(filters=4, input_size=16, resize_side=16))
    learner = dml.Learner(encoder, dml.losses.ProxyAnchor(), classes=2)
    learner.compile()
    return learner


@pytest.mark.slow
def test_a_new_process_needs_no_other_import(tmp_path):
    learner, path = small_learner(), tmp_path / "learner.keras"
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype="uint8")
    learner.fit(images, [0, 0, 1, 1], verbose=0)
    learner.save(path)
    np.save(tmp_path / "images.npy", images)
    code = (
        "import dml, numpy as np\n"
        f"learner = dml.load_learner({os.fspath(path)!r})\n"
        "assert int(learner.optimizer.iterations) == 1\n"
        f"images = np.load({os.fspath(tmp_path / 'images.npy')!r})\n"
        "print(*learner.embed(images)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.array(done.stdout.split(), "float32")
    np.testing.assert_allclose(found, learner.embed(images)[0], atol=1e-6)


@pytest.mark.filterwarnings("error:Skipping variable loading")
def test_one_that_has_not_been_trained_loads_as_well(tmp_path):
    learner = small_learner()
    learner.save(tmp_path / "learner.keras")
    assert int(dml.load_learner(tmp_path / "learner.keras").optimizer.iterations) == 0


def test_another_file_is_named(tmp_path):
    path = tmp_path / "encoder.keras"
    small_learner().encoder.save(path)
    with pytest.raises(DataError, match=r"encoder\.keras: holds no learner"):
        dml.load_learner(path)
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(DataError, match=r"encoder\.keras: holds no learner"):
        dml.load_learner(path)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"encoder\.keras: can't be read as a learner"):
        dml.load_learner(path)

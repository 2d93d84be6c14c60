"""Several devices train as one does; each test has a process with as many processors as devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import dml
from dml.errors import OptionError
from dml.losses import LOSSES

ROOT = Path(__file__).parents[1]


def environment(devices):
    """Returns the environment of a process with a number of devices."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".venv/jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",  # of which the flag makes several, also where there is a GPU
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        # Without fusion emitters, compiling takes half the time.
        # However busy the machine, devices wait for each other.
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
        "--xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_collective_call_terminate_timeout_seconds=600",
    }


def report_of(count, folder):
    """Returns what tests/on_devices.py prints with a number of devices."""
    command = [sys.executable, "-m", "tests.on_devices", str(folder)]
    done = subprocess.run(command, env=environment(count), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_training_is_that_of_one_device(count, tmp_path):
    report = report_of(count, tmp_path)
    assert len(set(LOSSES) & set(report)) >= len(LOSSES) // 3
    arrays = report.pop("largest array")
    assert len(arrays) >= 4
    # Neither B x C nor C x D is whole; some have a column more.
    assert all(share < 1.01 for share in arrays.values()), arrays
    off = {
        f"{case}, {how}": number
        for case, found in report.items()
        for how, number in found.items()
        if number > 1e-5
    }
    assert not off


def test_one_device_needs_no_block():
    with dml.on_devices(1) as count:
        assert count == 1
        assert keras.distribution.distribution() is None


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="trains on several")
@pytest.mark.parametrize("devices", [2, "all"])
def test_other_backends_refuse_several_devices(devices):
    with (
        pytest.raises(OptionError, match=r"devices must be 1 on .*: .*`dml --backend jax`"),
        dml.on_devices(devices),
    ):
        pass

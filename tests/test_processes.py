"""Several processes train as one does, one of them may be killed, and others may go on."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

import dml
from dml import _devices, _processes
from dml.errors import DmlError, OptionError
from tests.test_devices import ROOT, environment

PROGRAM = [sys.executable, "-m", "tests.processes"]


def run(count, what, folder):
    """Returns (exit code, standard output, standard error) of each of some processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for index in range(count):
        own = {
            **environment(devices=1),
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [*PROGRAM, what, str(folder)]
        processes.append(subprocess.Popen(command, env=own, cwd=ROOT, **pipes))
    try:
        printed = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *texts) for p, texts in zip(processes, printed, strict=True)]


@pytest.mark.slow
def test_training_is_that_of_one_process(tmp_path):
    *others, ended = run(4, "four", tmp_path)
    assert all((tmp_path / f"done-{number}").exists() for number in range(4)), (*others, ended)
    assert ended[0] == -signal.SIGTERM and all(code != 0 for code, *_ in others), (*others, ended)
    assert not (tmp_path / "unharmed").exists()
    first, killed = run(2, "two", tmp_path)
    assert killed[0] == -signal.SIGKILL, killed
    assert first[0] not in (0, 1), first  # neither in order, nor with a traceback
    lines = [line for line in first[2].splitlines() if line.startswith("dml: ")]
    assert len(lines) == 1 and "train RUN --resume --processes` continues" in lines[0], first[2]
    assert "epoch   3/3" in first[1] and "report: " in first[1]
    assert not killed[1]  # only the first prints
    assert killed[2].startswith("dml: process 1 of 2 was ended"), killed[2]
    ((code, printed, errors),) = run(1, "one", tmp_path)
    assert code == 0, errors
    report = json.loads(printed.splitlines()[-1])
    assert len(report) == 6
    assert {name: number for name, number in report.items() if number > 1e-5} == {}


def test_processes_are_started_by_something(monkeypatch):
    for name in ("KERAS_DISTRIBUTION_NUM_PROCESSES", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    text = (
        "processes are unknown: start the command with srun"
        if keras.backend.backend() == "jax"
        else "processes must be 1 on .*: .*`dml --backend jax`"
    )
    with pytest.raises(OptionError, match=text):
        dml.join_processes()


def test_what_several_can_not_do_together_is_refused(monkeypatch):
    monkeypatch.setattr("dml._processes.process_count", lambda: 2)
    recipe = dml.load_recipe("glyphs")
    for start in (
        lambda: dml.Workflow("glyphs"),
        lambda: dml.Tuner(recipe),
        lambda: dml.Trainer(recipe).plan(),
    ):
        with pytest.raises(OptionError, match=r"^processes must be 1 for "):
            start()


@pytest.mark.parametrize(
    ("count", "number"),
    [
        ("KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"),
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("SLURM_NTASKS", "SLURM_PROCID"),
    ],
)
def test_one_process_waits_for_no_other(monkeypatch, count, number):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")  # which has nothing to do for one
    monkeypatch.setenv(count, "1")
    monkeypatch.setenv(number, "0")
    assert dml.join_processes() == 1
    monkeypatch.setenv(number, "1")
    with pytest.raises(OptionError, match=r"index must be in \[0, 1\); got 1"):
        dml.join_processes()
    monkeypatch.setenv(number, "first")
    with pytest.raises(OptionError, match=rf"{number} must be a number; got 'first'"):
        dml.join_processes()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),  # all
        ({"SLURM_LOCALID": "3"}, [3]),
        ({"SLURM_LOCALID": "3", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, [3]),
        ({"SLURM_LOCALID": "3", "CUDA_VISIBLE_DEVICES": "3"}, None),  # the only one it is shown
        ({"SLURM_LOCALID": "3", "JAX_LOCAL_DEVICE_IDS": "0,1"}, [0, 1]),
    ],
)
def test_devices_of_a_process(monkeypatch, environment, expected):
    for name in ("SLURM_LOCALID", "CUDA_VISIBLE_DEVICES", "JAX_LOCAL_DEVICE_IDS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _processes._own_devices("SLURM_LOCALID") == expected
    if "JAX_LOCAL_DEVICE_IDS" not in environment:
        assert _processes._own_devices("") is None  # other launchers say nothing about it
    monkeypatch.setenv("JAX_LOCAL_DEVICE_IDS", "a")
    with pytest.raises(OptionError, match="JAX_LOCAL_DEVICE_IDS must be numbers"):
        _processes._own_devices("SLURM_LOCALID")


def test_processes_that_only_jax_has_joined_are_refused(monkeypatch):
    jax = pytest.importorskip("jax")
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    for count in (2, 1):  # of a job with one, there is nothing to say
        monkeypatch.setattr(jax, "process_count", lambda count=count: count)
        refused = pytest.raises(DmlError, match=r"JAX has joined 2 processes, .*dml.join_processes")
        with refused if count == 2 else contextlib.nullcontext(), dml.on_devices(1):
            pass


def test_processes_share_batches_evenly_or_not_at_all(monkeypatch):
    monkeypatch.setattr(_devices, "process_count", lambda: 2)
    with pytest.raises(DmlError, match=r"process 0 of 2 would train alone, .* dml.on_devices"):
        _devices.check_shared(8)
    devices = SimpleNamespace(count=4, processes=2)
    monkeypatch.setattr(_devices, "_current", lambda: devices)
    _devices.check_shared(8)
    for size, nearest in ((10, "8 or 12"), (3, "4")):
        with pytest.raises(OptionError, match=f"a multiple of the 4 devices .*: {nearest}$"):
            _devices.check_shared(size)


def test_an_address_has_a_port(monkeypatch):
    monkeypatch.setattr(_processes, "require_jax", lambda option: None)
    with pytest.raises(OptionError, match=r"address must be HOST:PORT .*; got 10\.0\.0\.1"):
        dml.join_processes("10.0.0.1", count=2, index=0)


def test_the_folder_of_a_process_goes_with_it():
    code = (
        "from dml._processes import _Joined; it = _Joined(0, 2); it.tell('ended'); print(it.folder)"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        process.stderr.close()  # its reader was killed as well
        folder = Path(process.stdout.read().strip())
    while folder.exists():  # its watcher is about to remove it
        time.sleep(0.01)


def test_a_copy_of_a_run_has_its_files_without_those_of_one_machine(tmp_path):
    for name in ("recipe.toml", "wandb/id", "head/wandb/id", "features/a/.lock", "features/a/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(_processes._files(tmp_path, {"wandb", ".lock"})) == ["features/a/b", "recipe.toml"]

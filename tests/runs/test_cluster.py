"""A run is trained by the processes of a Ray cluster, also when one of them is lost."""

import queue
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from dml.cli import main
from dml.errors import DmlError, MissingDataError, OptionError
from dml.runs._cluster import ClusterTraining, _watch, _Worker
from tests.clusters import started_cluster
from tests.reporters import Lines
from tests.runs.on_devices import OPTIONS, results
from tests.runs.running import flags
from tests.test_devices import ROOT, environment

ON_ALL = flags(**OPTIONS, training__devices="all")


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of two machines, as RAY_ADDRESS names it."""
    pytest.importorskip("ray", reason="needs dml[ray]")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    for name, value in environment(devices=1).items():  # which dml passes on
        if name.startswith(("JAX_", "XLA_")):
            monkeypatch.setenv(name, value)
    made, workers = started_cluster()
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made, workers
    made.shutdown()


@pytest.mark.slow
def test_a_training_goes_on_without_a_lost_machine(tmp_path, cluster):
    cluster, machines = cluster
    one, two = tmp_path / "one", tmp_path / "two"
    log = two / "log.jsonl"

    def remove_a_machine():
        while not log.exists() or log.read_text().count("\n") < 2:  # one is in a checkpoint
            time.sleep(0.05)
        cluster.remove_node(machines[0], allow_graceful=False)  # SIGKILL

    thread = threading.Thread(target=remove_a_machine, daemon=True)
    thread.start()
    lines = Lines()
    ClusterTraining(
        two,
        begin=["train", "glyphs", *ON_ALL, "--out", str(two)],
        resume=["train", str(two), "--resume"],
        share=8,
    ).run(lines)
    thread.join()
    text = "\n".join(lines)
    assert [line.split(" on ")[0] for line in lines if line.startswith("training in ")] == [
        "training in 2 processes",
        "training in 1 process",
    ]
    assert "was lost; going on from the last checkpoint" in text
    assert "resuming after epoch" in text and "report: " in text

    command = [sys.executable, "-m", "dml", "train", "glyphs", *ON_ALL, "--out", str(one)]
    done = subprocess.run(
        [*command, "--engine", "ray", "--workers", "1"],
        env=environment(devices=1),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "training in 1 process on " in done.stdout and "report: " in done.stdout
    for ours, expected in zip(results(two), results(one), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


FIRST, SECOND = _Worker(None, "10.0.0.1"), _Worker(None, "10.0.0.2")


def watched(*events):
    """Returns what was reported, and the machine that was lost."""
    waiting, lines = queue.SimpleQueue(), Lines()
    for event in events:
        waiting.put(event)
    return lines, _watch([FIRST, SECOND], waiting, lines)


def test_the_first_worker_is_heard():
    lines, lost = watched(
        (FIRST, "stdout", "epoch 1"),
        (SECOND, "stdout", "nothing that anyone hears"),
        (FIRST, "stderr", "warning: few classes"),
        (SECOND, "stderr", "warning: few classes"),
        (SECOND, "code", 0),
        (FIRST, "stdout", "report: here"),
        (FIRST, "code", 0),
    )
    assert lines == ["epoch 1", "few classes", "report: here"]
    assert lines.warnings == ["few classes"]
    assert lost is None


def test_errors_of_workers_are_told_once():
    same = [(w, "stderr", "dml: dataset.root is missing") for w in (FIRST, SECOND)]
    with pytest.raises(DmlError, match=r"^dataset.root is missing$"):
        watched(*same, (FIRST, "code", 2), (SECOND, "code", 2))
    with pytest.raises(RuntimeError, match="a bug"):
        watched((FIRST, "stderr", "dml: a bug"), (FIRST, "code", 70), (SECOND, "code", -6))
    with pytest.raises(MissingDataError, match=r"/runs/a: not found on 10.0.0.2: .* share"):
        watched((SECOND, "missing", "/runs/a"))


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        ([(SECOND, "lost", None)], "10.0.0.2"),  # with its machine
        ([(SECOND, "code", -9)], "10.0.0.2"),
        ([(FIRST, "code", 70), (SECOND, "code", -9)], "10.0.0.2"),  # a step fails without the other
        ([(FIRST, "code", -6), (SECOND, "code", -6)], "10.0.0.1"),  # the network between them
    ],
)
def test_a_lost_worker_is_no_error(events, lost):
    assert watched(*events)[1] == lost


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        (3, r"must share a batch of 8 images evenly; got 3\. The nearest .* are 2 and 4"),
        (9, "must be at least 1 and at most 4, the CPUs of the cluster; got 9"),
        (0, "must be at least 1"),
    ],
)
def test_workers_are_counted_before_they_start(tmp_path, workers, text):
    class Ray:
        def cluster_resources(self):
            return {"CPU": 4.0, "memory": 1e9}

    training = ClusterTraining(tmp_path / "run", [], [], share=8, workers=workers)
    with pytest.raises(OptionError, match=text):
        training._first_count(Ray())
    assert training._count_now(Ray(), most=3) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--engine", "ray"], "training.devices must be all with --engine ray; got 1"),
        (["--engine", "ray", *ON_ALL, "--budget", "5m"], "--budget is not for --engine ray"),
        (["--engine", "ray", *ON_ALL, "--dry-run"], "--dry-run is not for --engine ray"),
        (["--workers", "2"], "--workers is for --engine ray"),
    ],
)
def test_what_the_engine_can_not_do_is_refused(tmp_path, monkeypatch, capsys, given, text):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    assert main(["train", "glyphs", *given]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_other_backends_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    assert main(["train", "glyphs", "--engine", "ray", *ON_ALL]) == 2
    assert (
        "--engine must be local on torch: training on several needs JAX" in capsys.readouterr().err
    )

"""A run is trained by the processes of a Ray cluster, also when one of them is lost."""

import contextlib
import json
import queue
import subprocess
import sys

import pytest

from dml.cli import main
from dml.errors import DmlError, MissingDataError, OptionError
from dml.runs._cluster import ClusterTraining, _Cluster, _watch, _with, _Worker
from dml.runs._sharing import Shares
from tests.clusters import started_cluster
from tests.reporters import Lines
from tests.runs.on_devices import OPTIONS
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
    out, options = tmp_path / "run", ["--engine", "ray", "--evaluation.clustering_seeds", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "dml", "train", "glyphs", *ON_ALL, *options, "--out", str(out)],
        env=environment(devices=1),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as command:
        lines = []
        for line in command.stdout:
            lines.append(line)
            if line.startswith("epoch   2/3") and machines:  # the first is in a checkpoint
                cluster.remove_node(machines.pop(), allow_graceful=False)  # SIGKILL
    text = "".join(lines)
    assert command.returncode == 0, text
    assert [line.split(" on ")[0] for line in lines if line.startswith("training in ")] == [
        "training in 2 processes",
        "training in 1 process",
    ]
    assert "going on from the last checkpoint" in text and "resuming after epoch" in text
    assert "report: " in text
    epochs = [json.loads(row)["epoch"] for row in (out / "log.jsonl").read_text().splitlines()]
    assert epochs[-3:] == [1, 2, 3]


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
    with pytest.raises(DmlError, match=r"on 10.0.0.2 can't run dml: No module named 'dml'"):
        watched((SECOND, "failed", "No module named 'dml'"))


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        ([(SECOND, "lost", None)], "on 10.0.0.2"),  # with its machine
        ([(SECOND, "code", -9)], "on 10.0.0.2"),
        # A step fails without the other.
        ([(FIRST, "code", 70), (SECOND, "code", -9)], "on 10.0.0.2"),
        ([(FIRST, "code", -6), (SECOND, "code", -6)], "on 10.0.0.1"),  # the network between them
    ],
)
def test_a_lost_worker_is_no_error(events, lost):
    assert watched(*events)[1] == lost


class FourProcessors:
    """What `ray` says of a cluster."""

    def cluster_resources(self):
        return {"CPU": 4.0, "memory": 1e9}


def training_of(folder, share=8, workers=None, proxies=()):
    return ClusterTraining(folder, ["train"], ["resume"], Shares(share, proxies), workers)


@pytest.mark.parametrize(
    ("workers", "share", "text"),
    [
        (3, 8, r"must share a batch of 8 images evenly; got 3\. The nearest that can: 2, 4"),
        (4, 6, r"must share a batch of 6 images evenly; got 4\. The nearest that can: 3"),
        (4, 2, r"must share a batch of 2 images evenly; got 4\. The nearest that can: 2"),
        (9, 8, "must be at least 1 and at most 4, the CPUs of the cluster; got 9"),
        (0, 8, "must be at least 1"),
    ],
)
def test_workers_are_counted_before_they_start(tmp_path, workers, share, text):
    training = training_of(tmp_path / "run", share, workers)
    with pytest.raises(OptionError, match=text):
        training._first_count(_Cluster.of(FourProcessors()))


def test_fewer_workers_go_on_if_they_can_share_a_batch(tmp_path):
    training = training_of(tmp_path, share=8, workers=4)
    assert training._count_now(_Cluster.of(FourProcessors()), most=4) == 4
    assert training._count_now(_Cluster.of(FourProcessors()), most=3) == 2
    divided = training_of(tmp_path, share=24, workers=4, proxies=((10, 8),))
    assert divided._count_now(_Cluster.of(FourProcessors()), most=4) == 4
    assert divided._count_now(_Cluster.of(FourProcessors()), most=3) == 2
    without = _Cluster(FourProcessors(), "GPU")  # all of its machines with one are gone
    assert training._count_now(without, most=4) == 1 and without.devices() == 0


def test_it_is_given_up_when_nothing_is_gained(tmp_path, monkeypatch):
    folder, attempts, lines = tmp_path / "run", [], Lines()
    saved = ["epoch-0001.npz", None, "epoch-0002.npz"]

    def train(self, cluster, most, reporter):
        attempts.append(most)
        checkpoints = folder / "second" / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        (checkpoints / "best-0000.npz").write_bytes(bytes(len(attempts)))  # written by each
        if saved and (name := saved.pop(0)):
            (checkpoints / name).write_bytes(b"")
        return "on 10.0.0.2"

    monkeypatch.setattr("dml.runs._cluster.joined_cluster", contextlib.nullcontext)
    monkeypatch.setattr(_Cluster, "of", lambda ray: _Cluster(FourProcessors(), "CPU"))
    monkeypatch.setattr(ClusterTraining, "_train", train)
    with pytest.raises(DmlError, match=r"3 times in a row .* at last on 10.0.0.2: .* continues"):
        training_of(folder, workers=2).run(lines)
    assert attempts == [2] * 5 and len(lines.warnings) == 4


def test_variables_are_passed_on(monkeypatch, tmp_path):
    sent = []

    class Actor:
        class address:
            remote = staticmethod(lambda: "10.0.0.1:6000")

        class output:
            remote = staticmethod(lambda command, environment, *folders: sent.append(environment))

    monkeypatch.setattr("dml.runs._cluster._follow", lambda *arguments: None)
    monkeypatch.setattr(FourProcessors, "get", lambda self, found, timeout: found, raising=False)
    for name in ("WANDB_MODE", "DML_DATA", "OTHER"):
        monkeypatch.setenv(name, "a")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # by which Ray hides GPUs from an actor
    for own in ("", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", own)
        _Cluster.of(FourProcessors()).start([_Worker(Actor, "10.0.0.1")], ["train"], tmp_path)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray sets it
        environment = _with(sent[-1])
        assert environment.get("OMP_NUM_THREADS", "") == own
        assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert sent[0]["WANDB_MODE"] == sent[0]["DML_DATA"] == "a" and "OTHER" not in sent[0]


def test_addresses_of_ray_client_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
    (tmp_path / "run").mkdir()  # as the command has made it
    with pytest.raises(OptionError, match="RAY_ADDRESS must be HOST:PORT of the cluster"):
        training_of(tmp_path / "run").run(Lines())
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


def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch, capsys):
    pytest.importorskip("ray", reason="needs dml[ray]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert main(["train", "glyphs", "--engine", "ray", *ON_ALL]) == 2
    assert "no Ray cluster answers at RAY_ADDRESS 127.0.0.1:1" in capsys.readouterr().err
    assert list((tmp_path / "runs").iterdir()) == []
    assert main(["train", "runs/none", "--engine", "ray", "--resume"]) == 2
    assert "runs/none: there is no run to resume" in capsys.readouterr().err


def test_other_backends_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras.backend.backend", lambda: "torch")
    assert main(["train", "glyphs", "--engine", "ray", *ON_ALL]) == 2
    assert (
        "--engine must be local on torch: training on several needs JAX" in capsys.readouterr().err
    )

"""Training in processes on the machines of a Ray cluster, which goes on without lost ones."""

import contextlib
import ctypes
import functools
import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dml._console.failures import BAD_INPUT
from dml._ray import check_not_client, joined_cluster
from dml._storage.atomic import make_folder
from dml._text import number_of
from dml.errors import DmlError, MissingDataError, OptionError
from dml.reporting import Reporter
from dml.runs._sharing import Shares

_VAIN_ATTEMPTS = 3  # in a row, without a new checkpoint, after which it is given up
_PLACING = 60  # seconds for the cluster to find room for the workers
_NOTICING = 5  # seconds after which it is asked again how much room there is
# Environment variables that begin like this.
_PASSED_ON = ("DML_", "JAX_", "KERAS_", "WANDB_", "XLA_")
_OF_RAY = "OMP_NUM_THREADS"  # which Ray sets to the processors of an actor, unless it is set
_KILLED = (signal.SIGKILL, signal.SIGTERM, signal.SIGBUS, signal.SIGSEGV)
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux' prctl


@dataclass(frozen=True)
class ClusterTraining:
    """The training of a run in processes on the machines of a Ray cluster.

    Args:
        folder: The folder of the run, on a disk that all machines share.
        begin: Arguments of the `dml` command that begins it.
        resume: Arguments of the command that continues it.
        shares: What the devices must be able to share evenly.
        workers: Processes, with one device each; None for one on each GPU of the cluster or, if
            there is none, on each machine.
    """

    folder: Path
    begin: Sequence[str]
    resume: Sequence[str]
    shares: Shares
    workers: int | None = None

    def run(self, reporter: Reporter) -> None:
        """Trains to the end, and reports what the first worker does.

        If a worker is lost, the training continues from its last checkpoint on as many of the
        others as can share a batch evenly.

        Args:
            reporter: Receives lines of text.

        Raises:
            OptionError: The cluster has no room for the workers, or they can't share a batch or the
                proxies.
            MissingDataError: A machine does not see the run's folder.
            DmlError: A worker has failed; or workers were lost again and again.
        """
        with _removed_if_empty(self.folder), _joined() as ray:
            make_folder(self.folder)
            cluster = _Cluster.of(ray)
            count = self._first_count(cluster)
            in_vain, before = 0, self._checkpoints()
            while (lost := self._train(cluster, count, reporter)) is not None:
                now = self._checkpoints()
                in_vain = in_vain + 1 if now == before else 1
                before = now
                if in_vain == _VAIN_ATTEMPTS:
                    raise DmlError(
                        f"{in_vain} times in a row a worker was lost before a new checkpoint, at "
                        f"last {lost}: look for the reason there (its memory?), then `dml "
                        f"--backend jax {shlex.join(self.resume)} --engine ray` continues"
                    )
                reporter.warning(f"lost a worker {lost}; going on from the last checkpoint")

    def _first_count(self, cluster: "_Cluster") -> int:
        """Returns how many workers to begin with.

        Raises:
            OptionError: There is no room for `workers`, or they can't share a batch.
        """
        most = cluster.devices()
        count = cluster.usual() if self.workers is None else self.workers
        if not 1 <= count <= most:
            raise OptionError(
                "--workers",
                f"must be at least 1 and at most {most}, the {cluster.kind}s of the cluster; got "
                f"{count}",
            )
        if not self.shares.fit(count):
            fitting = [n for n in range(1, most + 1) if self.shares.fit(n)]
            nearest = [
                *[n for n in fitting if n < count][-1:],
                *[n for n in fitting if n > count][:1],
            ]
            raise OptionError(
                "--workers",
                f"must share {self.shares} evenly; got {count}. The nearest that can: "
                f"{', '.join(map(str, nearest))}",
            )
        return count

    def _count_now(self, cluster: "_Cluster", most: int) -> int:
        """Returns on how many workers to train: as many as there is room for, and no more."""
        room = cluster.usual() if self.workers is None else cluster.devices()
        return self.shares.most(max(1, min(most, room)))

    def _checkpoints(self) -> set[tuple[Path, int]]:
        """Returns the checkpoints of epochs, and when they were written."""
        found = self.folder.glob("**/checkpoints/epoch-*.npz")
        return {(path, path.stat().st_mtime_ns) for path in found}

    def _train(self, cluster: "_Cluster", most: int, reporter: Reporter) -> str | None:
        """Trains until the end, or until a worker is lost, and returns where: "on 10.0.0.2"."""
        begun = (self.folder / "recipe.toml").exists()
        command = [*(self.resume if begun else self.begin), "--processes"]
        errors = cluster.ray.exceptions
        try:
            with cluster.workers(functools.partial(self._count_now, cluster, most)) as workers:
                hosts = ", ".join(worker.host for worker in workers)
                reporter.info(f"training in {number_of(len(workers), 'process')} on {hosts}")
                events = cluster.start(workers, command, self.folder)
                return _watch(workers, events, reporter)
        except errors.RayTaskError as error:
            raise DmlError(f"a worker can't run dml: {_last_line(error)}") from error
        except errors.RayError:  # as the workers were placed
            return "that had not started yet"


@contextlib.contextmanager
def _joined() -> Iterator[Any]:
    """Yields the module `ray`, joined to the cluster of RAY_ADDRESS as one of its machines."""
    check_not_client()
    with joined_cluster() as ray:
        yield ray


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Removes a folder after the block in which nothing was written to it."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


@dataclass(frozen=True, eq=False)
class _Worker:
    """A process of the cluster.

    Args:
        actor: Ray's handle of its `_Process`.
        host: The address of its machine.
    """

    actor: Any
    host: str


def _watch(
    workers: Sequence[_Worker],
    events: "queue.SimpleQueue[tuple[_Worker, str, Any]]",
    reporter: Reporter,
) -> str | None:
    """Reports what the first worker prints until all have ended, or one is lost.

    Returns:
        Where a worker was lost: "on 10.0.0.2".

    Raises:
        DmlError: A worker found an error that the user can fix, or can't run dml.
        RuntimeError: A worker failed.
    """
    codes: dict[_Worker, int] = {}
    errors: dict[str, None] = {}  # in order, each once: all workers print most of them
    while len(codes) < len(workers):
        worker, kind, value = events.get()
        match kind:
            case "missing":
                raise MissingDataError(
                    value,
                    f"not found on {worker.host}: all machines of the cluster must see the run's "
                    "folder and the current one, on a disk that they share",
                )
            case "failed":
                raise DmlError(f"the worker on {worker.host} can't run dml: {value}")
            case "lost":
                return f"on {worker.host}"
            case "code":
                codes[worker] = value
                if -value in _KILLED:
                    return f"on {worker.host}"
            case "stderr" if not value.startswith("warning: "):
                errors.setdefault(value.removeprefix("dml: "))
            case _ if worker is workers[0]:
                report = reporter.info if kind == "stdout" else reporter.warning
                report(value.removeprefix("warning: "))
    text = "; ".join(errors)
    if BAD_INPUT in codes.values():
        raise DmlError(text)
    if any(code > 0 for code in codes.values()):
        raise RuntimeError(text)
    # Aborted by JAX, which has lost the others.
    return next((f"on {worker.host}" for worker, code in codes.items() if code), None)


@dataclass(frozen=True)
class _Cluster:
    """A Ray cluster, and what each worker takes one of.

    Args:
        ray: The module, joined to the cluster.
        kind: "GPU" or, if the cluster had none at the start, "CPU".
    """

    ray: Any
    kind: str

    @classmethod
    def of(cls, ray) -> "_Cluster":
        return cls(ray, "GPU" if ray.cluster_resources().get("GPU") else "CPU")

    def devices(self) -> int:
        """Returns how many GPUs, or else processors, there are now."""
        return int(self.ray.cluster_resources().get(self.kind, 0))

    def usual(self) -> int:
        """Returns how many workers are started unless told otherwise."""
        if self.kind == "GPU":
            return self.devices()
        nodes = self.ray.nodes()
        return sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in nodes)

    @contextlib.contextmanager
    def workers(self, room: Callable[[], int]) -> Iterator[list[_Worker]]:
        """Yields workers on the machines, spread evenly; they end with the block.

        Args:
            room: Returns how many there can be now.

        Raises:
            OptionError: There is no room for them.
        """
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        group, actors = self._placed(room), []
        try:
            for index in range(group.bundle_count):
                process = self.ray.remote(_Process).options(
                    num_cpus=1,
                    num_gpus=int(self.kind == "GPU"),
                    scheduling_strategy=PlacementGroupSchedulingStrategy(group, index),
                )
                actors.append(process.remote())
            hosts = self.ray.get([actor.host.remote() for actor in actors], timeout=_PLACING)
            yield [_Worker(actor, host) for actor, host in zip(actors, hosts, strict=True)]
        finally:
            for actor in actors:
                self.ray.kill(actor)
            self.ray.util.remove_placement_group(group)

    def _placed(self, room):
        """Returns a placement group of as many workers as there is room for."""
        deadline = time.monotonic() + _PLACING
        while True:  # Ray notices after the loss of a worker that its machine is gone
            count = room()
            bundles = [{"CPU": 1, self.kind: 1}] * count
            group = self.ray.util.placement_group(bundles, strategy="SPREAD")
            if group.wait(_NOTICING):
                return group
            self.ray.util.remove_placement_group(group)
            if time.monotonic() > deadline:
                raise OptionError(
                    "--workers",
                    f"found no {number_of(count, f'free {self.kind}')} in the cluster within "
                    f"{_PLACING} seconds",
                )

    def start(
        self, workers: Sequence[_Worker], command: Sequence[str], folder: Path
    ) -> "queue.SimpleQueue[tuple[_Worker, str, Any]]":
        """Starts a command in all workers, and returns the queue of what happens there."""
        events: queue.SimpleQueue[tuple[_Worker, str, Any]] = queue.SimpleQueue()
        passed_on = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)}
        address = self.ray.get(workers[0].actor.address.remote(), timeout=_PLACING)
        for index, worker in enumerate(workers):
            environment = {
                **passed_on,
                "KERAS_BACKEND": "jax",
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                "KERAS_DISTRIBUTION_NUM_PROCESSES": str(len(workers)),
                "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
            }
            # JAX computes with all processors, as in a process that anything else starts.
            environment[_OF_RAY] = os.environ.get(_OF_RAY, "")
            output = worker.actor.output.remote(command, environment, os.getcwd(), folder)
            arguments = self.ray, worker, output, events.put
            threading.Thread(target=_follow, args=arguments, daemon=True).start()
        return events


def _follow(ray, worker, output, put) -> None:
    """Passes on what a worker prints and returns, or that it is lost or has failed."""
    try:
        for part in output:
            put((worker, *ray.get(part)))
    except ray.exceptions.RayTaskError as error:
        put((worker, "failed", _last_line(error)))
    except ray.exceptions.RayError:
        put((worker, "lost", None))
    except Exception as error:  # otherwise it would be waited for
        put((worker, "failed", f"{type(error).__name__}: {error}"))


def _last_line(error: Exception) -> str:
    """Returns the last line of a text with a traceback."""
    return str(error).strip().rpartition("\n")[2]


class _Process:
    """The actor that runs a command of dml on a machine of the cluster."""

    def host(self) -> str:
        import ray

        return ray.util.get_node_ip_address()

    def address(self) -> str:
        """Returns the address of this machine, with a free port."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{self.host()}:{free.getsockname()[1]}"

    def output(
        self, arguments: Sequence[str], environment: dict[str, str], current: str, folder: Path
    ) -> Iterator[tuple[str, Any]]:
        """Runs a command and yields its lines, ("stdout" or "stderr", line), and ("code", number).

        Yields ("missing", path) only if one of the folders is not there.
        """
        for path in (current, folder):
            if not os.path.isdir(path):
                yield "missing", os.fspath(path)
                return
        process = subprocess.Popen(
            [sys.executable, "-m", "dml", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            cwd=current,
            env=_with(environment),
            preexec_fn=_end_with_parent,
        )
        lines: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()
        for name in ("stdout", "stderr"):
            stream = getattr(process, name)
            threading.Thread(target=_read, args=(name, stream, lines.put), daemon=True).start()
        open_streams = 2
        while open_streams:
            name, line = lines.get()
            if line is None:
                open_streams -= 1
            else:
                yield name, line
        yield "code", process.wait()


def _with(passed_on: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment with variables of the one that started it."""
    environment = {**os.environ, **passed_on}
    if not environment.get(_OF_RAY):
        environment.pop(_OF_RAY, None)
    return environment


def _read(name, stream, put):
    for line in stream:
        put((name, line.rstrip("\n")))
    put((name, None))


def _end_with_parent():
    """Lets Linux kill this process when the actor is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)

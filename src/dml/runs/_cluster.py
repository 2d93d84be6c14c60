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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dml._console.failures import BAD_INPUT
from dml._ray import joined_cluster
from dml._storage.atomic import make_folder
from dml._text import number_of
from dml.errors import DmlError, MissingDataError, OptionError
from dml.reporting import Reporter

_LOSSES = 3  # in a row, without a new checkpoint, after which it is given up
_PLACING = 60  # seconds for the cluster to find room for the workers
_NOTICING = 5  # seconds after which it is asked again how much room there is
_PASSED_ON = ("DML_", "JAX_", "KERAS_", "XLA_")  # environment variables that begin like this
_KILLED = (signal.SIGKILL, signal.SIGTERM, signal.SIGBUS, signal.SIGSEGV)
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux' prctl


@dataclass(frozen=True)
class ClusterTraining:
    """The training of a run in processes on the machines of a Ray cluster.

    Args:
        folder: Of the run, on a disk that all machines share.
        begin: Arguments of the `dml` command that begins it.
        resume: Arguments of the command that continues it.
        share: Images that the devices must be able to divide evenly: a batch or a chunk of it.
        workers: Processes, with one device each; None for one on each GPU of the cluster or, if
            there is none, on each machine.
    """

    folder: Path
    begin: Sequence[str]
    resume: Sequence[str]
    share: int
    workers: int | None = None

    def run(self, reporter: Reporter) -> None:
        """Trains to the end, and reports what the first worker does.

        If a worker is lost, the training continues from its last checkpoint on as many of the
        others as can share a batch evenly.

        Args:
            reporter: Receives lines of text.

        Raises:
            OptionError: The cluster has no room for the workers, or they can't share a batch.
            MissingDataError: A machine does not see the run's folder.
            DmlError: A worker has failed; or workers were lost again and again.
        """
        with joined_cluster() as ray:
            count = self._first_count(ray)
            losses, before = 0, self._checkpoints()
            while (lost := self._train(ray, count, reporter)) is not None:
                now = self._checkpoints()
                losses = losses + 1 if now == before else 1
                before = now
                if losses == _LOSSES:
                    raise DmlError(
                        f"{losses} times in a row a worker was lost before a new checkpoint, at "
                        f"last on {lost}: look for the reason there (its memory?), then `dml "
                        f"{shlex.join(self.resume)} --engine ray` continues"
                    )
                reporter.warning(
                    f"the worker on {lost} was lost; going on from the last checkpoint"
                )

    def _first_count(self, ray) -> int:
        """Returns how many workers to begin with.

        Raises:
            OptionError: There is no room for `workers`, or they can't share a batch.
        """
        kind, most = _devices(ray)
        count = _room(ray) if self.workers is None else self.workers
        if not 1 <= count <= most:
            raise OptionError(
                "--workers",
                f"must be at least 1 and at most {most}, the {kind}s of the cluster; got {count}",
            )
        if self.share % count:
            lower = next(n for n in range(count, 0, -1) if self.share % n == 0)
            upper = next(n for n in range(count, self.share + 1) if self.share % n == 0)
            raise OptionError(
                "--workers",
                f"must share a batch of {self.share} images evenly; got {count}. The nearest "
                f"numbers that do are {lower} and {upper}",
            )
        return count

    def _count_now(self, ray, most: int) -> int:
        """Returns on how many workers to train: as many as there is room for, and no more."""
        room = _room(ray) if self.workers is None else _devices(ray)[1]
        most = max(1, min(most, room))
        return next(count for count in range(most, 0, -1) if self.share % count == 0)

    def _checkpoints(self) -> set[tuple[Path, int]]:
        """Returns what is in the folders of checkpoints, and when it was written."""
        found = self.folder.glob("**/checkpoints/*")
        return {(path, path.stat().st_mtime_ns) for path in found}

    def _train(self, ray, most: int, reporter: Reporter) -> str | None:
        """Trains until the end, or until a worker is lost, whose machine is returned."""
        begun = (self.folder / "recipe.toml").exists()
        command = [*(self.resume if begun else self.begin), "--processes"]
        passed_on = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)}
        make_folder(self.folder)
        room = functools.partial(self._count_now, ray, most)
        with _removed_if_empty(self.folder), _placed(ray, room) as workers:
            hosts = ", ".join(worker.host for worker in workers)
            reporter.info(f"training in {number_of(len(workers), 'process')} on {hosts}")
            events: queue.SimpleQueue[tuple[_Worker, str, Any]] = queue.SimpleQueue()
            address = ray.get(workers[0].actor.address.remote())
            for index, worker in enumerate(workers):
                environment = {
                    **passed_on,
                    "KERAS_BACKEND": "jax",
                    "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                    "KERAS_DISTRIBUTION_NUM_PROCESSES": str(len(workers)),
                    "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
                }
                output = worker.actor.output.remote(command, environment, os.getcwd(), self.folder)
                follow = threading.Thread(
                    target=_follow, args=(ray, worker, output, events.put), daemon=True
                )
                follow.start()
            return _watch(workers, events, reporter)


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
        The machine of the lost worker.

    Raises:
        DmlError: A worker found an error that the user can fix.
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
            case "lost":
                return worker.host
            case "code":
                codes[worker] = value
                if -value in _KILLED:
                    return worker.host
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
    return next((worker.host for worker, code in codes.items() if code), None)


@contextlib.contextmanager
def _placed(ray, room: Callable[[], int]) -> Iterator[list[_Worker]]:
    """Yields workers on the machines of the cluster, spread evenly; they end with the block.

    Raises:
        OptionError: There is no room for them.
    """
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    kind, _ = _devices(ray)
    needs = {"CPU": 1, kind: 1}
    deadline = time.monotonic() + _PLACING
    group = None
    while group is None:  # Ray notices after the loss of a worker that its machine is gone
        count = room()
        tried = ray.util.placement_group([needs] * count, strategy="SPREAD")
        if tried.wait(_NOTICING):
            group = tried
            continue
        ray.util.remove_placement_group(tried)
        if time.monotonic() > deadline:
            raise OptionError(
                "--workers",
                f"found no {number_of(count, f'free {kind}')} in the cluster within {_PLACING} "
                "seconds",
            )
    actors = []
    try:
        for index in range(count):
            place = PlacementGroupSchedulingStrategy(group, index)
            process = ray.remote(_Process).options(
                num_cpus=1, num_gpus=int(kind == "GPU"), scheduling_strategy=place
            )
            actors.append(process.remote())
        hosts = ray.get([actor.host.remote() for actor in actors])
        yield [_Worker(actor, host) for actor, host in zip(actors, hosts, strict=True)]
    finally:
        for actor in actors:
            ray.kill(actor)
        ray.util.remove_placement_group(group)


def _devices(ray) -> tuple[str, int]:
    """Returns what a worker takes one of, "GPU" or "CPU", and how many the cluster has."""
    there = ray.cluster_resources()
    kind = "GPU" if there.get("GPU") else "CPU"
    return kind, int(there.get(kind, 0))


def _room(ray) -> int:
    """Returns the GPUs of the cluster or, if there are none, its machines with processors."""
    kind, count = _devices(ray)
    machines = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    return count if kind == "GPU" else len(machines)


def _follow(ray, worker, output, put) -> None:
    """Passes on what a worker prints and returns, and whether it is lost."""
    try:
        for part in output:
            put((worker, *ray.get(part)))
    except ray.exceptions.RayError:
        put((worker, "lost", None))


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
            env={**os.environ, **environment},
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


def _read(name, stream, put):
    for line in stream:
        put((name, line.rstrip("\n")))
    put((name, None))


def _end_with_parent():
    """Lets Linux kill this process when the actor is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)

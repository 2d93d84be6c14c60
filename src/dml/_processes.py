"""Training in several processes, on one or more machines: what they tell each other (JAX)."""

import atexit
import contextlib
import hashlib
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dml._options import check_at_least, check_interval
from dml.errors import DmlError, OptionError

T = TypeVar("T")

_ADDRESSES = ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "JAX_COORDINATOR_ADDRESS")
_LAUNCHERS = (  # how many processes there are, which one this is, also among those of a machine
    ("KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID", ""),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"),
)
_OWN_DEVICES = "JAX_LOCAL_DEVICE_IDS"
GOES_ON = "`dml --backend jax train RUN --resume --processes` continues from the last epoch"
_NOT_YET = b"\xff" * 8  # no number of bytes: the others are to wait further
_TICK = 300  # seconds after which they are told so: JAX waits for half an hour on processors
_PATIENCE = 300  # seconds to wait for the others
_FIRST_BLOCK, _BLOCK = 2**12, 2**26  # bytes that are sent at once: a new size is compiled anew

# Runs beside each process and prints, when that ends, the last line that it was told: a process can
# be killed, or be aborted by a library because another one was.
_WATCHER = """
import os, shutil, sys
line = ""
for line in sys.stdin:  # which ends with the process
    pass
try:
    if line.strip():
        os.write(2, line.encode())
except OSError:  # nobody reads it any more
    pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""
_joined: "_Joined | None" = None
# Whether this thread does what the others wait for; threads that it starts share their batches.
_alone: ContextVar[bool] = ContextVar("_alone", default=False)


class _Joined:
    """This process's part in a group of them.

    Args:
        index: Its number, from 0.
        count: The number of processes.
    """

    def __init__(self, index: int, count: int):
        self.index = index
        self.count = count
        self.folder = Path(tempfile.mkdtemp(prefix="dml-process-"))  # which the watcher removes
        self.watcher = subprocess.Popen(
            [sys.executable, "-I", "-c", _WATCHER, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
            start_new_session=True,  # Ctrl-C is for the process itself
        )

    def __str__(self):
        return f"process {self.index} of {self.count}"

    def tell(self, line: str) -> None:
        """Sets the line that is printed when this process ends; empty for none."""
        assert self.watcher.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.watcher.stdin.write(f"{line}\n".encode())
            self.watcher.stdin.flush()

    def finish(self, line: str = "") -> None:
        """Tells the last line, and waits until it is printed."""
        self.tell(line)
        self.watcher.communicate()


def join_processes(
    address: str | None = None, count: int | None = None, index: int | None = None
) -> int:
    """Makes this process one of several that train together, on JAX.

    Call it in each of them, before JAX computes anything. `dml.on_devices("all")` then takes the
    devices of all processes; each reads its share of the batches of `dml.training_batches` only,
    and `dml.Trainer` writes the run in the first one. All must do the same work in the same order:
    what else is given to a learner must be equal in all of them, random numbers included.

    Args:
        address: "HOST:PORT" of the first process, at a free port; by default
            KERAS_DISTRIBUTION_JOB_ADDRESSES or JAX_COORDINATOR_ADDRESS, or what JAX learns from
            Slurm and from Open MPI up to version 4.
        count: Number of processes; by default KERAS_DISTRIBUTION_NUM_PROCESSES, or what Open MPI or
            Slurm say. With 1, nothing is done.
        index: The number of this process, from 0; by default KERAS_DISTRIBUTION_PROCESS_ID, or what
            Open MPI or Slurm say.

    Returns:
        The number of processes.

    Raises:
        OptionError: The backend is not JAX; or it is not known which processes there are.
        DmlError: JAX has computed something already; or the others can't be reached.

    Example:
        >>> dml.join_processes("10.0.0.1:6000", count=2, index=0)  # doctest: +SKIP
        2
        >>> with dml.on_devices("all"):  # doctest: +SKIP
        ...     run = dml.Trainer(recipe).run("runs/mine")
    """
    global _joined
    require_jax("processes")
    if _joined is not None:
        raise DmlError("this process has joined others already")
    address = address or _first_of(_ADDRESSES)
    local = None
    known = [names for names in _LAUNCHERS if names[0] in os.environ]
    if count is None and known:
        count, local = _number(known[0][0]), known[0][2]
    if index is None and known:
        index = _number(known[0][1])
    if count is None or index is None:
        raise OptionError(
            "processes",
            "are unknown: start the command with srun or mpirun, or set "
            "KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID",
        )
    check_at_least(1, count=count)
    check_interval(f"[0, {count})", index=index)
    devices = _own_devices(local)
    if count > 1:
        if address and not re.fullmatch(r".+:\d+", address.split(",")[0]):
            raise OptionError("address", f"must be HOST:PORT of the first process; got {address}")
        joined = _Joined(index, count)
        joined.tell(  # JAX aborts the process if it can't reach the first one
            f"dml: {joined} can't reach the others within {_PATIENCE} seconds: start all of them, "
            "with the same address of the first"
        )
        try:
            _connect(address, count, index, devices)
        except BaseException:
            joined.finish()
            raise
        joined.tell(f"dml: {joined} was ended, or ended as another one did; {GOES_ON}")
        _joined = joined
        atexit.register(_at_exit)
        _share_seed()
    return count


def require_jax(option: str, elsewhere: str = "1") -> None:
    """Raises an OptionError for an option that other backends don't have.

    Args:
        option: Its name, for the message.
        elsewhere: What it must be on other backends.
    """
    import keras

    if (backend := keras.backend.backend()) != "jax":
        raise OptionError(
            option,
            f"must be {elsewhere} on {backend}: training on several needs JAX, `dml --backend jax` "
            "or KERAS_BACKEND=jax",
        )


def _own_devices(local: str | None) -> list[int] | None:
    """Returns the numbers of this process's devices on its machine; None for all.

    Args:
        local: The variable with this process's number among those of the machine, if there is one:
            Open MPI and Slurm start as many as there are devices.
    """
    listed, shown = os.environ.get(_OWN_DEVICES), os.environ.get("CUDA_VISIBLE_DEVICES", ",")
    if listed:
        try:
            return [int(number) for number in listed.split(",")]
        except ValueError:
            raise OptionError(
                _OWN_DEVICES, f"must be numbers, such as 0,1; got {listed!r}"
            ) from None
    # A launcher may also show each process its own device only.
    return [_number(local)] if local and local in os.environ and "," in shown else None


def _connect(address, count, index, devices):
    import jax

    options: dict[str, Any] = {"cluster_detection_method": "deactivate"} if address else {}
    # Otherwise it takes SIGTERM for a notice, and the process goes on.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            address and address.split(",")[0],
            num_processes=count,
            process_id=index,
            local_device_ids=devices,
            initialization_timeout=_PATIENCE,
            **options,
        )
    except ValueError as error:  # no coordinator is known
        raise OptionError(
            "processes",
            f"can't be reached: {error} Set KERAS_DISTRIBUTION_JOB_ADDRESSES to HOST:PORT of the "
            "first one",
        ) from None
    except RuntimeError as error:  # JAX has computed something, or the port is taken
        raise DmlError(
            f"process {index} of {count} can't join the others: {' '.join(str(error).split())}"
        ) from None


def _share_seed():
    """Seeds Keras alike in all processes, as `keras.distribution.initialize` does."""
    import keras

    seed = from_first(lambda: int.from_bytes(os.urandom(4)))
    keras.utils.set_random_seed(seed)


def _first_of(names):
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _number(name):
    try:
        return int(os.environ[name])
    except (KeyError, ValueError):
        raise OptionError(
            name, f"must be a number; got {os.environ.get(name, 'nothing')!r}"
        ) from None


def process_count() -> int:
    """Returns how many processes do together what this thread does now."""
    return 1 if _joined is None or _alone.get() else _joined.count


def process_index() -> int:
    """Returns the number of this process, from 0."""
    return 0 if _joined is None else _joined.index


def check_joined() -> None:
    """Raises a DmlError if JAX has joined others and dml has not: each would train alone."""
    jax = sys.modules.get("jax")
    if _joined is not None or jax is None or not jax.distributed.is_initialized():
        return
    if (count := jax.process_count()) > 1:
        raise DmlError(
            f"JAX has joined {count} processes, of which dml does not know: join them by "
            "dml.join_processes instead, or start the command with --processes"
        )


def new_folder() -> Path:
    """Returns a new folder of this process alone, which is removed when it ends."""
    assert _joined is not None
    return Path(tempfile.mkdtemp(dir=_joined.folder))


def own_part() -> Callable[[int], slice]:
    """Returns a function from a number of rows to this process's part of them.

    The processes must be able to share the rows evenly. Any thread may call the function.
    """
    index, count = process_index(), process_count()
    return lambda size: slice(index * (size // count), (index + 1) * (size // count))


def from_first(make: Callable[[], T]) -> T:
    """Returns what a function returns in the first process, in all of them; or raises its error.

    It is called there only. So a decision is the same in all processes, which may round otherwise.
    """
    if process_count() == 1:
        return make()
    sent = b""
    if process_index() == 0:
        token = _alone.set(True)
        with _others_waiting():
            try:
                sent = pickle.dumps((make(), None))
            except DmlError as error:
                sent = pickle.dumps((None, error))
            finally:
                _alone.reset(token)
    value, error = pickle.loads(_broadcast(sent))
    if error is not None:
        raise error
    return value


@contextlib.contextmanager
def _others_waiting() -> Iterator[None]:
    """Tells the other processes from time to time that the `with` block is not done yet."""
    done = threading.Event()

    def tell():
        while not done.wait(_TICK):
            _send(_NOT_YET, _FIRST_BLOCK)

    with ThreadPoolExecutor(1) as pool:
        telling = pool.submit(tell)
        try:
            yield
        finally:
            done.set()
        telling.result()


def _send(block: bytes, size: int) -> bytes:
    """Returns the first process's bytes, with zeros up to a size."""
    from jax.experimental import multihost_utils

    padded = np.zeros(size, np.uint8)
    padded[: len(block)] = np.frombuffer(block, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes()


def _broadcast(data: bytes) -> bytes:
    """Returns the bytes of the first process."""
    head = _NOT_YET
    while head.startswith(_NOT_YET):
        head = _send(len(data).to_bytes(8) + data[: _FIRST_BLOCK - 8], _FIRST_BLOCK)
    length = int.from_bytes(head[:8])
    blocks, done = [head[8:]], _FIRST_BLOCK - 8
    while done < length:
        size = min(_BLOCK, 1 << (length - done - 1).bit_length())
        blocks.append(_send(data[done : done + size], size))
        done += size
    return b"".join(blocks)[:length]


def check_alone(what: str) -> None:
    """Raises an OptionError for what several processes can't do together."""
    if process_count() > 1:
        raise OptionError("processes", f"must be 1 for {what}")


def check_same(things: Callable[[], Mapping[str, str]]) -> None:
    """Raises a DmlError, in all processes, unless each of them has the same things.

    Args:
        things: Returns {what it is, for the message: its content}; not called in a process alone.
    """
    if process_count() == 1:
        return
    contents = things()
    own = [np.frombuffer(hashlib.sha256(x.encode()).digest(), np.uint8) for x in contents.values()]
    digests = exchanged(np.stack(own))
    for place, name in enumerate(contents):
        other = np.flatnonzero((digests[:, place] != digests[0, place]).any(axis=1))
        if len(other):
            raise DmlError(
                f"process {other[0]} of {process_count()} has another {name} than process 0: give "
                "all of them the same command, files and versions of packages"
            )


def exchanged(values: np.ndarray) -> np.ndarray:
    """Returns the values of all processes, (processes, ...); their shapes must be equal."""
    if process_count() == 1:
        return values[None]
    from jax.experimental import multihost_utils

    found = np.asarray(multihost_utils.process_allgather(values))
    return found.reshape(process_count(), *values.shape)


def from_each(value: T) -> list[T]:
    """Returns the values of all processes, in their order."""
    data = pickle.dumps(value)
    sizes = exchanged(np.array([len(data)]))[:, 0]
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    parts = zip(exchanged(padded), sizes, strict=True)
    return [pickle.loads(part[:size].tobytes()) for part, size in parts]


def send_folder(folder: Path, left_out: set[str]) -> Path:
    """Returns the first process's folder there, and in the others a copy of it.

    Args:
        folder: The folder in the first process.
        left_out: Names of files and folders, also in folders, that are not copied.
    """
    if process_count() == 1:
        return folder
    files = from_first(lambda: list(_files(folder, left_out)))
    copy = folder if process_index() == 0 else new_folder()
    for name in files:
        data = _broadcast((folder / name).read_bytes() if process_index() == 0 else b"")
        if process_index():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(data)
    return copy


def _files(folder: Path, left_out: set[str]) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and left_out.isdisjoint(name.parts):
            yield name.as_posix()


def end_process(code: int, line: str = "") -> None:
    """Ends this process at once with an exit code, if it is one of several.

    An orderly end would wait for the others, which notice the end only now.

    Args:
        code: The exit code.
        line: The line to print; empty if all is said.
    """
    if _joined is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        _joined.finish(line)
        os._exit(code)


def _at_exit():
    if getattr(sys, "last_value", None) is not None:  # an exception, whose traceback was printed
        end_process(1)
    import jax

    jax.distributed.shutdown()
    _joined.finish()

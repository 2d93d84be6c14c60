"""How a command fails: one line for an error that the user can fix, a traceback file for a bug."""

import platform
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from dml._console.memory import shortage
from dml._storage.atomic import write_text
from dml._storage.versions import installed_versions
from dml.errors import DmlError

BAD_INPUT, BUG, INTERRUPTED = 2, 70, 130  # exit codes; 70 is EX_SOFTWARE of sysexits.h

_EXTRAS = {  # package -> the extra that installs it
    "fastapi": "serve",
    "uvicorn": "serve",
    "starlette": "serve",
    "prometheus_client": "serve",
    "ray": "ray",
    "optuna": "tune",
    "pymilvus": "milvus",
    "grpc": "milvus",
    "keras": "train",
    "keras_hub": "hub",
    "tensorflow": "train",
    "tf2onnx": "train",
    "onnx": "train",
    "grain": "train",
    "sklearn": "train",
    "matplotlib": "train",
    "scipy": "train",
    "jax": "jax",
    "torch": "torch",
}
_REPORTED = (  # packages whose versions help to diagnose a bug
    "dml",
    "numpy",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "grain",
    "faiss-cpu",
    "onnxruntime",
    "opencv-python-headless",
    "pandas",
    "pyarrow",
    "pymilvus",
    "ray",
    "fastapi",
)


def explain(error: BaseException, command: str, less_memory: str = "") -> str | None:
    """Returns the line that explains to the user what to fix; None for a bug in dml.

    In addition to `DmlError`, users can fix three kinds of errors, wherever they are raised; they
    are turned into a line here and nowhere else: too little memory, an optional package that is not
    installed, and errors of the operating system (an OSError with an error number: a full disk,
    missing rights, a refused connection, a missing file).

    Args:
        error: What the command raised.
        command: Its name.
        less_memory: How to use less memory; empty if there is no way.
    """
    if isinstance(error, DmlError):
        return str(error)
    if (reported := shortage(error)) is not None:
        return f"not enough memory: {reported}{f'; {less_memory}' if less_memory else ''}"
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").split(".")[0]
        if package in _EXTRAS:
            extra = _EXTRAS[package]
            return f"`dml {command}` needs the package {package}: pip install 'dml[{extra}]'"
    if isinstance(error, OSError) and error.errno is not None:
        return _system_line(error)
    return None


def _system_line(error):
    files = [str(file) for file in (error.filename, error.filename2) if file is not None]
    reason = error.strerror or str(error)
    return f"{' -> '.join(files)}: {reason}" if files else reason


def keep_traceback(error: BaseException, arguments: Sequence[str]) -> Path:
    """Writes a traceback, with the command and versions, to a new file and returns its path.

    Args:
        error: What the command raised.
        arguments: The command line without the program's name.

    Raises:
        OSError: The system's temporary folder can't be written.
    """
    lines = [
        f"command: dml {' '.join(map(ascii, arguments))}",
        f"python: {platform.python_version()} on {platform.platform()}",
        *(f"{name}: {version}" for name, version in installed_versions(*_REPORTED).items()),
        "",
        "".join(traceback.format_exception(error)),
    ]
    # A folder of its own, which only this user can enter: in the shared one, names can be guessed.
    path = Path(tempfile.mkdtemp(prefix="dml-")) / "traceback.txt"
    write_text(path, "\n".join(lines))
    return path

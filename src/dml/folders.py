"""The files of a run folder, and how they are written: whole or not at all."""

import contextlib
import errno
import json
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path beside `path`, renamed to `path` when the block ends without error.

    A reader sees the old file or the new one, never half of one; a full disk leaves the old one.
    The temporary name keeps the suffix, which Keras and NumPy go by.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".writing-", suffix=path.name, dir=path.parent)
    os.close(handle)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(
                f"{path}: {error.strerror}; what was there before is whole. Make room and try again"
            ) from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path, text):
    """Writes `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Writes `value` to `path` atomically, as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path):
    """Returns the value in a JSON file.

    Raises:
        ValueError: The file is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None


class RunFolder:
    """Names the files of one training run; the only place that knows them.

    Args:
        path: The folder; made by `create`.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.encoder = self.path / "encoder.keras"
        self.log = self.path / "log.jsonl"
        self.metrics = self.path / "metrics.json"
        self.versions = self.path / "versions.json"
        self.untrained = self.path / "untrained.json"
        self.report = self.path / "report.html"
        self.checkpoints = self.path / "checkpoints"
        self.checkpoint_state = self.checkpoints / "state.json"
        self.best = self.checkpoints / "best.npz"
        self.tensorboard = self.path / "tensorboard"

    def create(self):
        """Makes the folder.

        Raises:
            ValueError: It already holds a run, which is never overwritten.
            OSError: It can't be written.
        """
        if self.recipe.exists():
            raise ValueError(
                f"{self.path} already holds a run: choose another --out, or continue it "
                "with --resume"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def open(self):
        """Checks that the folder holds a run with an encoder.

        Raises:
            FileNotFoundError: It does not.
        """
        for file in (self.recipe, self.encoder):
            if not file.exists():
                raise FileNotFoundError(f"{self.path} is no finished run: {file.name} is missing")
        return self

    def evaluation(self, dataset):
        """Returns the folder of the evaluation on the data set named `dataset`."""
        return self.path / "evaluation" / dataset

    def append_log(self, row):
        """Adds one epoch's figures as a line of JSON."""
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def read_log(self):
        """Returns the epochs' figures, oldest first; without a line that a crash cut short."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def trim_log(self, epoch):
        """Removes the lines after `epoch`, of an epoch that was logged but has no checkpoint."""
        rows = [row for row in self.read_log() if row["epoch"] <= epoch]
        write_text(self.log, "".join(json.dumps(row) + "\n" for row in rows))


def data_folder():
    """Returns the folder that `DML_DATA` names, or None where it is not set."""
    name = os.environ.get("DML_DATA", "")
    return Path(name).expanduser() if name else None

"""The files of runs, bundles and indexes, and how they are written: whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import ClassVar


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path beside `path`, renamed to `path` when the block ends without error.

    A reader sees the old file or the new one, never half of one, even after a power failure; a
    full disk leaves the old one. The temporary name keeps the suffix, which Keras and NumPy go by.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".writing-", suffix=path.name, dir=path.parent)
    os.close(handle)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(
                f"{path}: {error.strerror}; what was there before is whole. Make room and try again"
            ) from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def new_folder(path):
    """Yields a temporary folder beside `path`, renamed to `path` if the block ends without error.

    Raises:
        FileExistsError: There is something at `path`.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already: remove it or choose another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", suffix=path.name, dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        for folder, _, files in os.walk(temporary):
            for name in files:
                _sync(os.path.join(folder, name))
            _sync(folder)
        os.rename(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256(path):
    """Returns the SHA-256 of a file, or of all files in a folder with their names, in hex."""
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        text = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in files)
        return hashlib.sha256(text.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path):
    """Waits until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None


class RunFolder:
    """Names the files of one training run; the only place that knows them.

    Args:
        path: The folder; made by `create`.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.items = self.path / "items.parquet"
        self.encoder = self.path / "encoder.keras"
        self.log = self.path / "log.jsonl"
        self.metrics = self.path / "metrics.json"
        self.versions = self.path / "versions.json"
        self.untrained = self.path / "untrained.json"
        self.report = self.path / "report.html"
        self.index = self.path / "index"  # of the test images, by `dml demo`
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

    def evaluation(self, name):
        """Returns the folder of the evaluation of that name."""
        return self.path / "evaluation" / name

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


class Bundle:
    """Names the files of an exported encoder.

    Args:
        path: The folder.
        form: One of `FORMS`.
    """

    FORMS: ClassVar[dict] = {
        "onnx": "encoder.onnx",
        "saved-model": "encoder",
        "litert": "encoder.tflite",
        "keras": "encoder.keras",
    }

    def __init__(self, path, form="onnx"):
        self.path = Path(path)
        self.encoder = self.path / self.FORMS[form]
        self.description = self.path / "dml.json"

    def open(self):
        """Returns the description, after a check that both files are there and belong together.

        Raises:
            FileNotFoundError: One is missing.
            ValueError: The encoder is not the one described, or the description is damaged.
        """
        for file in (self.description, self.encoder):
            if not file.exists():
                raise FileNotFoundError(
                    f"{self.path} is no bundle: {file.name} is missing. `dml export RUN` writes one"
                )
        description = read_json(self.description)
        if not isinstance(description, dict) or description.get("schema") != 1:
            raise ValueError(f"{self.description}: not written by this version of dml")
        if sha256(self.encoder) != description.get("sha256"):
            raise ValueError(
                f"{self.encoder}: damaged, or of another bundle: its SHA-256 is not the one in "
                f"{self.description.name}. Export the run again"
            )
        return description


class IndexFolder:
    """Names the files of an index, writes them and finds damage in them.

    Args:
        path: The folder.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.manifest = self.path / "manifest.json"
        self.bundle = self.path / "bundle"
        self.lock = self.path / ".lock"

    def open(self):
        """Returns the manifest.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is damaged.
        """
        if not self.manifest.exists():
            raise FileNotFoundError(
                f"{self.path} is no index: {self.manifest.name} is missing. "
                "`dml index build` makes one"
            )
        manifest = read_json(self.manifest)
        fields = {"number", "rows", "dimension", "kind", "effort", "recall", "encoder", "files"}
        if not isinstance(manifest, dict) or manifest.get("schema") != 1 or fields - set(manifest):
            raise ValueError(f"{self.manifest}: damaged, or not of this version of dml")
        own = manifest.pop("sha256", None)
        if own != text_sha256(manifest):
            raise ValueError(f"{self.manifest}: damaged: its SHA-256 does not fit")
        return manifest

    def write_manifest(self, manifest):
        """Replaces the manifest, which makes the files that it names the index."""
        write_json(self.manifest, {**manifest, "sha256": text_sha256(manifest)})

    def write(self, name, data):
        """Writes a file of bytes and returns its entry for the manifest."""
        with atomic_path(self.path / name) as temporary, open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return self.entry(name)

    def append(self, entry, data):
        """Adds bytes behind those that an entry knows, and returns the new entry.

        Until a manifest has the new entry, a reader goes by the old and sees nothing of them.
        """
        path = self.path / entry["name"]
        with open(path, "r+b") as file:
            file.truncate(entry["bytes"])  # what a change that was stopped has left
            file.seek(entry["bytes"])
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(entry["bytes"])
                raise OSError(f"{path}: {error.strerror}; the index is as it was") from error
        return self.entry(entry["name"])

    def entry(self, name):
        """Returns what the manifest says of a file."""
        path = self.path / name
        return {"name": name, "bytes": path.stat().st_size, "sha256": sha256(path)}

    def checked(self, entry):
        """Returns the path of a file that is as the manifest says.

        Raises:
            FileNotFoundError: It is missing.
            ValueError: It is damaged.
        """
        path = self.path / entry["name"]
        with open(path, "rb") as file:
            digest, left = hashlib.sha256(), entry["bytes"]
            while left and (data := file.read(min(left, 1 << 20))):
                digest.update(data)
                left -= len(data)
        if left:
            raise ValueError(f"{path}: cut short by {left:,} bytes; build the index again")
        if digest.hexdigest() != entry["sha256"]:
            raise ValueError(f"{path}: damaged: its SHA-256 is not the one in the manifest")
        return path

    def data_files(self):
        """Returns the files of this and of unfinished changes."""
        names = ("vectors-*", "items-*", "codes-*", ".writing-*")
        return [file for name in names for file in self.path.glob(name)]


def text_sha256(value):
    """Returns the SHA-256 of a value's JSON, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def data_folder():
    """Returns the folder that `DML_DATA` names, or None where it is not set."""
    name = os.environ.get("DML_DATA", "")
    return Path(name).expanduser() if name else None

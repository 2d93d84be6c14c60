"""The files of runs, bundles and indexes, and how they are written: whole or not at all."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import ClassVar

from dml.locks import locked

MOST_DIMENSIONS = 1 << 16
HELD = ".writing"  # the lock in a folder that is being written


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path beside `path`, renamed to `path` when the block ends without error.

    A reader sees the old file or the new one, never half of one, even after a power failure; a
    full disk leaves the old one. The temporary name keeps the suffix, which Keras and NumPy go by.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, where a file is to be written")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".writing-", suffix=path.name, dir=path.parent)
    os.close(handle)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        put_in_place(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(
                f"{path}: {error.strerror}; what was there before is whole. Make room and try again"
            ) from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def put_in_place(temporary, path):
    """Renames a file that is done, so that its bytes and its name survive a power failure."""
    _sync(temporary)
    os.replace(temporary, path)
    _sync(Path(path).parent)


@contextlib.contextmanager
def new_folder(path):
    """Yields a temporary folder beside `path`, renamed to `path` if the block ends without error.

    What a killed process has left of another attempt is removed.

    Raises:
        FileExistsError: There is something at `path`.
    """
    path = Path(path)
    there = f"{path} is there already: remove it or choose another --out"
    if path.exists():
        raise FileExistsError(there)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".writing-{'?' * 8}{glob.escape(path.name)}"):
        _remove_left(left)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", suffix=path.name, dir=path.parent))
    try:
        with locked(temporary / HELD, str(path)):
            yield temporary
            (temporary / HELD).unlink()
            temporary.chmod(0o777 & ~_umask())
            for folder, _, files in os.walk(temporary):
                for name in files:
                    _sync(os.path.join(folder, name))
                _sync(folder)
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # made meanwhile
                    raise FileExistsError(there) from None
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_left(folder):
    """Removes a temporary folder of `new_folder` whose process is dead."""
    with contextlib.suppress(FileNotFoundError, ValueError):  # gone, or held
        if time.time() - folder.stat().st_mtime > 60:  # not one that is being made or renamed now
            with locked(folder / HELD, str(folder)):
                shutil.rmtree(folder)


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
        ValueError: The file is not JSON, or no regular file.
    """
    check_regular(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # what is no text is a ValueError, too
        raise ValueError(f"{path}: not valid JSON ({error})") from None


def misfit(value, shape, name=""):
    """Returns the name of the first field in which a JSON value is not of a shape, or None.

    Args:
        value: What `read_json` returned.
        shape: A type or a tuple of types; or {field: shape} of a dictionary, in which the field
            `str` stands for every field; or [shape] of a list's members.
        name: Of the value, where it is a field.
    """
    kinds = type(shape) if isinstance(shape, (dict, list)) else shape
    if type(value) not in (kinds if isinstance(kinds, tuple) else (kinds,)):
        return name or "its value"
    inner = []
    if isinstance(shape, list):
        inner = [(number, part, shape[0]) for number, part in enumerate(value)]
    elif isinstance(shape, dict):
        for field, part in shape.items():
            inner += [(key, value.get(key), part) for key in (value if field is str else [field])]
    found = (
        misfit(part, wanted, f"{name}.{key}" if name else f"{key}") for key, part, wanted in inner
    )
    return next((field for field in found if field), None)


NUMBER = (int, float)
FIGURES = {str: {"value": NUMBER, str: (*NUMBER, type(None))}}
METRICS = {
    **{"dataset": str, "protocol": str, "figures": FIGURES, "untrained": FIGURES, "notes": [str]},
    **dict.fromkeys(("queries", "classes", "gallery", "excluded"), int),
    "thresholds": {str: {"wanted": NUMBER, "similarity": NUMBER}},
}
MANIFEST = {"recipe": str, "parts": {str: str}, "files": {str: str}}


class RunFolder:
    """Names the files of one training run; the only place that knows them.

    Its manifest holds the recipe that the training began with and the SHA-256 of each file that
    decides a figure, so that what was changed or damaged since is found when it is read.

    Args:
        path: The folder; made by `create`.
    """

    shapes: ClassVar[dict] = {"metrics.json": METRICS, "untrained.json": FIGURES}

    def __init__(self, path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.items = self.path / "items.parquet"
        self.manifest = self.path / "manifest.json"
        self.encoder = self.path / "encoder.keras"
        self.log = self.path / "log.jsonl"
        self.metrics = self.path / "metrics.json"
        self.versions = self.path / "versions.json"
        self.untrained = self.path / "untrained.json"
        self.report = self.path / "report.html"
        self.index = self.path / "index"  # of the test images, by `dml demo`
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.evaluations = self.path / "evaluation"

    def create(self):
        """Makes the folder.

        Raises:
            ValueError: It already holds a run, or files that a run has left.
            OSError: It can't be written.
        """
        self.check_new()
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def check_new(self):
        """Refuses a folder that a new run can't have.

        Raises:
            ValueError: It already holds a run, files that a run has left, or folders of runs.
        """
        if inside := sorted(self.path.glob("*/recipe.toml")):
            raise ValueError(
                f"{self.path} holds runs, such as {inside[0].parent.name}: choose an --out in it"
            )
        if self.recipe.exists():
            raise ValueError(
                f"{self.path} already holds a run: choose another --out, or continue it "
                "with --resume"
            )
        files = (self.manifest, self.encoder, self.log, self.metrics, self.untrained)
        for file in (*files, self.checkpoints, self.tensorboard, self.evaluations):
            if file.exists():
                raise ValueError(
                    f"{self.path} holds {file.name} of an earlier run: choose another --out, or "
                    "remove the folder"
                )

    def open(self):
        """Checks that the folder holds a run with an encoder.

        Raises:
            FileNotFoundError: It does not.
        """
        for file in (self.recipe, self.encoder):
            if not file.exists():
                raise FileNotFoundError(f"{self.path} is no finished run: {file.name} is missing")
        return self

    @contextlib.contextmanager
    def writing(self):
        """Keeps other processes from writing the run; removes what killed ones left half-written.

        Raises:
            ValueError: Another process is writing it, or what is written would go elsewhere.
        """
        with locked(self.path / ".lock", str(self.path)):
            folders = (self.checkpoints, self.tensorboard, self.evaluations)
            for inside in (*folders, *self.evaluations.rglob("*")):
                if inside.is_symlink():  # in a stranger's run it may lead anywhere
                    raise ValueError(
                        f"{inside}: a link, but a run is written within its own folder only; put "
                        "there what it leads to"
                    )
            litter = [*self.path.glob(".writing-*"), *self.checkpoints.glob(".writing-*")]
            litter += [*self.evaluations.rglob(".writing-*")]
            for left in litter:
                if left.parent != self.path and left.is_dir():
                    shutil.rmtree(left)
                elif left.is_file():  # a folder is of a bundle or an index, with a lock of its own
                    left.unlink()
            yield

    def evaluation(self, name):
        """Returns the folder of the evaluation of that name."""
        return self.evaluations / name

    def begin(self, recipe, parts):
        """Notes what the training begins with, and nothing else yet.

        Args:
            recipe: The resolved recipe, as TOML.
            parts: Paths of the user's own files that it names.
        """
        digests = {str(path): sha256(path) for path in parts}
        self._write_manifest({"schema": 1, "recipe": recipe, "parts": digests, "files": {}})

    def begun_with(self):
        """Returns what `begin` noted: the recipe and {path: SHA-256} of the user's own files."""
        manifest = self._read_manifest()
        return manifest["recipe"], manifest["parts"]

    def record(self, *files):
        """Notes in the manifest what is in these files of the run now."""
        manifest = self._read_manifest()
        manifest["files"].update({self._name(file): sha256(file) for file in files})
        self._write_manifest(manifest)

    def checked(self, file):
        """Returns the path of a file of the run that is as it was recorded.

        Raises:
            FileNotFoundError: It is missing.
            ValueError: It is damaged or was changed, or belongs to a change that was not finished.
        """
        if file == self.items:
            hint = "it says what the run was trained on: restore it, or train anew"
        elif self.evaluations in file.parents or file == self.metrics:
            hint = "evaluate the run again"
        else:
            hint = f"`dml train {self.path} --resume` writes it again"
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing; {hint}")
        check_regular(file)
        if sha256(file) != self._read_manifest()["files"].get(self._name(file)):
            raise ValueError(f"{file}: damaged, or changed since it was written; {hint}")
        return file

    def write_json(self, file, value):
        """Writes a JSON file of the run and records it."""
        write_json(file, value)
        self.record(file)

    def read_json(self, file):
        """Returns the value in a JSON file of the run.

        Raises:
            FileNotFoundError: As of `checked`.
            ValueError: As of `checked`; or it is of another shape than dml writes.
        """
        value = read_json(self.checked(file))
        if field := misfit(value, self.shapes.get(file.name, dict)):
            raise ValueError(f"{file}: {field} is missing or not what dml writes there")
        return value

    def _name(self, file):
        return Path(file).relative_to(self.path).as_posix()

    def _write_manifest(self, manifest):
        write_sealed(self.manifest, manifest)

    def _read_manifest(self):
        if not self.manifest.exists():
            raise FileNotFoundError(
                f"{self.manifest} is missing; `dml train {self.path} --resume` writes it again"
            )
        try:
            manifest = read_sealed(self.manifest)
        except ValueError as error:
            raise ValueError(
                f"{error}. Remove it, and `dml train {self.path} --resume` goes on by recipe.toml "
                "as it is now"
            ) from None
        if manifest.get("schema") != 1 or misfit(manifest, MANIFEST):
            raise ValueError(f"{self.manifest}: not of this version of dml; train anew")
        return manifest

    def append_log(self, row):
        """Adds one epoch's figures as a line of JSON."""
        with open(self.log, "a", encoding="utf-8", opener=without_links) as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_log(self):
        """Returns the epochs' figures, oldest first, without lines that are cut short or damaged.

        Of an epoch that is there twice, the later line.
        """
        if not self.log.exists():
            return []
        check_regular(self.log)
        rows = {}
        for line in self.log.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n") and (row := _log_row(line)) is not None:
                rows[row["epoch"]] = row
        return [rows[epoch] for epoch in sorted(rows)]

    def trim_log(self, epoch):
        """Removes the lines after `epoch`, of an epoch that was logged but has no checkpoint."""
        if not self.log.exists():
            return
        rows = [row for row in self.read_log() if row["epoch"] <= epoch]
        write_text(self.log, "".join(json.dumps(row) + "\n" for row in rows))


def _log_row(line):
    """Returns the figures in a line of the log, or None where it holds none."""
    try:
        row = json.loads(line)
        numbers = all(type(v) in (int, float) and float(v) is not None for v in row.values())
    except (ValueError, AttributeError, OverflowError, RecursionError):
        return None
    return row if numbers and type(row.get("epoch")) is int else None


class Bundle:
    """Names the files of an exported encoder.

    Its description says what they are: their SHA-256, its own, and what a caller needs to know.

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

    def describe(self, description):
        """Writes the description of the files that are there."""
        files = {name: sha256(self.path / name) for name in self.names()}
        write_sealed(self.description, {"schema": 2, "files": files, **description})

    def names(self):
        """Returns the names of all files but the description, sorted, relative to the folder."""
        files = {file for file in self.path.rglob("*") if file.is_file()}
        files -= {self.description, self.path / HELD}  # which is gone when the bundle is whole
        return sorted(file.relative_to(self.path).as_posix() for file in files)

    def open(self):
        """Returns the description, after a check that its files are there and as it says.

        Raises:
            FileNotFoundError: One is missing.
            ValueError: One is not as described, or the description is damaged.
        """
        for file in (self.description, self.encoder):
            if not file.exists():
                raise FileNotFoundError(
                    f"{self.path} is no bundle: {file.name} is missing. `dml export RUN` writes one"
                )
        check_regular(self.description)
        description = read_sealed(self.description)
        files = description.get("files")
        if description.get("schema") != 2 or not isinstance(files, dict):
            raise ValueError(f"{self.description}: not written by this version of dml")
        for name, digest in files.items():
            if not is_below(name):
                raise ValueError(f"{self.description}: names a file outside its folder: {name!r}")
            check_regular(self.path / name)
            if sha256(self.path / name) != digest:
                raise ValueError(
                    f"{self.path / name}: damaged, or of another bundle: its SHA-256 is not the "
                    f"one in {self.description.name}. Export the run again"
                )
        self.check_unlisted(files)
        return description

    def check_unlisted(self, files):
        """Raises ValueError where the encoder may read a file that the description has not."""
        listed = {*files, *(Path(name).parts[0] for name in files)}
        if self.encoder.name not in listed:
            raise ValueError(f"{self.description}: damaged: {self.encoder.name} is not in it")
        if others := [name for name in self.names() if name not in files]:
            inside = b"" if self.encoder.is_dir() else self.encoder.read_bytes()
            for name in others:
                if Path(name).name.encode() in inside:
                    raise ValueError(
                        f"{self.encoder}: reads {name}, which {self.description.name} does not "
                        "list. Export the run again"
                    )

    def copy(self, path):
        """Copies the description and its files to a new folder."""
        for name in (self.description.name, *read_sealed(self.description)["files"]):
            (Path(path) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path / name, Path(path) / name)


class IndexFolder:
    """Names the files of an index, writes them and finds damage in them.

    Args:
        path: The folder.
    """

    NAMES: ClassVar[dict] = {  # nothing else is read, appended to or removed
        "vectors": r"vectors-[0-9]+\.f32",
        "items": r"items-[0-9]+\.parquet",
        "codes": r"codes-[0-9]+\.faiss",
    }

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
        check_regular(self.manifest, links=False)
        manifest = read_sealed(self.manifest)
        try:
            self.check(manifest)
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{self.manifest}: damaged, or not of this version of dml") from None
        for entry in manifest["files"].values():
            with contextlib.suppress(FileNotFoundError):
                check_regular(self.path / entry["name"], links=False)
        return manifest

    def check(self, manifest):
        """Raises KeyError, TypeError or ValueError where a manifest is not of the form of ours."""
        entries, recall = dict(manifest["files"]), dict(manifest["recall"])
        effort = dict(manifest["effort"])
        whole = [manifest[name] for name in ("number", "rows")]
        whole += [entry["bytes"] for entry in entries.values()]
        texts = [manifest[name] for name in ("kind", "encoder", "bundle")]
        texts += [entry["sha256"] for entry in entries.values()]
        if (
            manifest["schema"] != 2
            or not all(type(number) is int and 0 <= number < 2**53 for number in whole)
            or not all(isinstance(text, str) for text in texts)
            or not {"vectors", "items"} <= set(entries) <= set(self.NAMES)
            or not all(re.fullmatch(self.NAMES[f], entries[f]["name"]) for f in entries)
            or type(manifest["dimension"]) is not int
            or not 0 < manifest["dimension"] <= MOST_DIMENSIONS
            or entries["vectors"]["bytes"] != 4 * manifest["rows"] * manifest["dimension"]
            or not all(0 <= recall[name] <= 1 for name in ("target", "measured"))
            or set(effort) != {"breadth", "oversample"}
            or not all(type(value) is int and 0 <= value <= 2**20 for value in effort.values())
            or not effort["oversample"]
        ):
            raise ValueError

    def write_manifest(self, manifest):
        """Replaces the manifest, which makes the files that it names the index."""
        write_sealed(self.manifest, manifest)

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
        with open(path, "r+b", opener=without_links) as file:
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
        with open(path, "rb", opener=without_links) as file:
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
        files = [file for name in names for file in self.path.glob(name)]
        return [file for file in files if file.is_symlink() or not file.is_dir()]


def is_below(name):
    """Returns whether a name in a description is that of a file in its folder, or below."""
    parts = name.split("/")
    return "\\" not in name and "\0" not in name and not {"", ".", ".."} & set(parts)


def check_regular(path, links=True):
    """Raises ValueError where there is no regular file: a pipe or device would be read for ever.

    Args:
        path: The file.
        links: Whether it may be a link to one.
    """
    if not stat.S_ISREG(os.stat(path, follow_symlinks=links).st_mode):
        raise ValueError(f"{path}: not a regular file")


def without_links(path, flags):
    """Opens a file that is no link; for `open`."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def text_sha256(value):
    """Returns the SHA-256 of a value's JSON, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_sealed(path, value):
    """Writes a dictionary as JSON, with the SHA-256 of the rest in it."""
    write_json(path, {**value, "sha256": text_sha256(value)})


def read_sealed(path):
    """Returns a dictionary as `write_sealed` wrote it.

    Raises:
        ValueError: It is damaged.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.pop("sha256", None) != text_sha256(value):
        raise ValueError(
            f"{path}: damaged: its SHA-256 does not fit, or not of this version of dml"
        )
    return value


def data_folder():
    """Returns the folder that `DML_DATA` names, or None where it is not set."""
    name = os.environ.get("DML_DATA", "")
    return Path(name).expanduser() if name else None

"""Errors that the user can fix are a line; a bug keeps its traceback."""

import errno
import os
import stat
import sys
import tempfile

import pytest

import dml
from dml import errors
from dml._console.failures import explain, keep_traceback


def system_error(function, *arguments):
    with pytest.raises(OSError) as raised:
        function(*arguments)
    return raised.value


@pytest.mark.parametrize(
    "error, line",
    [
        (errors.OptionError("margin", "must be positive; got 0"), "margin must be positive; got 0"),
        (errors.UnknownNameError("no loss 'a'"), "no loss 'a'"),
        (errors.DataError("a.csv", "no column 'path'"), "a.csv: no column 'path'"),
        (errors.DivergenceError("the loss is nan"), "the loss is nan"),
        (errors.PackageError("install 'dml[ray]'"), "install 'dml[ray]'"),
        (
            ModuleNotFoundError("No module named 'keras'", name="keras.src"),
            "`dml train` needs the package keras: pip install 'dml[train]'",
        ),
        (MemoryError(), "not enough memory: MemoryError; smaller batches take less"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EXDEV, "Invalid link", "a", None, "b"), "a -> b: Invalid link"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
    ],
)
def test_what_the_user_can_mend_is_a_line(error, line):
    assert explain(error, "train", "smaller batches take less") == line


def test_what_the_system_refuses_names_the_file(tmp_path):
    missing = system_error(open, tmp_path / "missing")
    assert explain(missing, "train") == f"{tmp_path}/missing: No such file or directory"
    assert explain(system_error(os.rmdir, tmp_path / "a"), "train").startswith(f"{tmp_path}/a: ")


@pytest.mark.parametrize(
    "error",
    [
        TypeError("a bug"),
        ValueError("of a library"),
        KeyError("name"),
        OSError("without a number"),
        ModuleNotFoundError("no", name="other"),
        AssertionError(),
    ],
)
def test_anything_else_is_a_bug(error):
    assert explain(error, "train") is None


def test_a_kept_traceback_says_what_happened_where(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        raise TypeError("a bug") from ValueError("the cause")
    except TypeError as error:
        path = keep_traceback(error, ["train", "a\x1b[31m b"])
    assert path.parent.parent == tmp_path and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert text.startswith("command: dml 'train' 'a\\x1b[31m b'\n")
    assert f"python: {sys.version.split()[0]} " in text and f"dml: {dml.__version__}\n" in text
    assert "numpy: " in text and "ValueError: the cause" in text and __file__ in text
    assert text.rstrip().endswith("TypeError: a bug")

"""Errors state what and where, and derive from the matching built-in class."""

import pickle

import pytest

from dml import errors


def test_the_place_comes_first():
    assert str(errors.OptionError("margin", "must be in [0, 1]; got 2")) == (
        "margin must be in [0, 1]; got 2"
    )
    assert str(errors.DataError("a.csv", "line 3: no path")) == "a.csv: line 3: no path"
    assert str(errors.UnknownNameError("no loss 'x'")) == "no loss 'x'"


@pytest.mark.parametrize(
    ("kind", "built_in"),
    [
        (errors.OptionError, ValueError),
        (errors.DataError, ValueError),
        (errors.MissingDataError, FileNotFoundError),
        (errors.OccupiedError, FileExistsError),
        (errors.UnknownNameError, KeyError),
        (errors.StorageError, OSError),
    ],
)
def test_built_in_classes_fit(kind, built_in):
    assert issubclass(kind, errors.DmlError) and issubclass(kind, built_in)


def test_a_missing_file_keeps_its_text():
    error = errors.MissingDataError("runs/a", "is no run")
    assert str(error) == "runs/a: is no run" and error.path == "runs/a"


@pytest.mark.parametrize(
    "error",
    [
        errors.OptionError("margin", "must be positive"),
        errors.MissingDataError("runs/a", "is no run"),
        errors.BusyError("runs/a is being written"),
    ],
)
def test_an_error_of_a_worker_process_comes_back(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error)

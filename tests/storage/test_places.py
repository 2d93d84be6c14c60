"""The folder of data sets."""

from pathlib import Path

import pytest

from dml._storage.places import data_folder


@pytest.mark.parametrize(
    "value, folder",
    [("/data", Path("/data")), ("data", Path("data")), ("~/data", Path("/home/me/data"))],
)
def test_the_folder_is_that_of_the_environment(monkeypatch, value, folder):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DML_DATA", value)
    assert data_folder() == folder


def test_there_is_none_without_the_variable(monkeypatch):
    monkeypatch.setenv("DML_DATA", "")
    assert data_folder() is None
    monkeypatch.delenv("DML_DATA")
    assert data_folder() is None

"""Where a data set is looked for, and how its text files are read."""

import pytest

from dml.datasets import DATASETS
from dml.datasets.base import halves, read_rows, require_files
from tests.datasets.layouts import cub200


def test_is_looked_for_under_the_folder_that_the_environment_names(tmp_path, monkeypatch):
    cub200(tmp_path / "CUB_200_2011")
    monkeypatch.setenv("DML_DATA", str(tmp_path))
    assert DATASETS["cub200"]().folder() == tmp_path / "CUB_200_2011"
    with pytest.raises(FileNotFoundError, match="sop"):
        DATASETS["sop"]().folder()


def test_a_line_of_other_words_is_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("header\na b\n\nc\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 4: expected 2 words, got 1"):
        read_rows(path, columns=2, header=1)


def test_missing_images_are_named_and_counted(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(FileNotFoundError, match=r"b\.jpg and 1 more"):
        require_files([tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")])


def test_the_first_half_of_an_odd_number_of_classes_is_the_smaller():
    assert halves("abc") == {"a": "train", "b": "test", "c": "test"}

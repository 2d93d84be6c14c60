"""Only what is peculiar to a folder of class folders."""

import pytest

from dml.datasets import DATASETS
from tests.datasets.layouts import folder, write_image

Folder = DATASETS["folder"]


def test_folders_named_train_and_test_are_the_splits(tmp_path):
    for split, classes in (("train", "ab"), ("val", "c"), ("test", "de")):
        for name in classes:
            write_image(tmp_path / split / name / "1.jpg")
    items = Folder(root=str(tmp_path)).items()
    assert items.select("val").class_names == ("c",)
    assert items.select("test").class_names == ("d", "e") and items.protocol == "zero-shot"


def test_the_same_classes_on_both_sides_are_the_protocol_seen_class(tmp_path):
    for split in ("train", "test"):
        for name in "ab":
            write_image(tmp_path / split / name / "1.jpg")
    assert Folder(root=str(tmp_path)).items().protocol == "seen-class"


def test_all_classes_can_train(tmp_path):
    folder(tmp_path)
    options = {"test_fraction": 0.0, "validation_fraction": 0.0}
    items = Folder(root=str(tmp_path), **options).items()
    assert len(items.select("train").class_names) == 5


def test_hidden_and_other_files_are_left_out(tmp_path):
    folder(tmp_path)
    write_image(tmp_path / ".cache" / "x.jpg")
    write_image(tmp_path / "class 1" / ".thumbnail.jpg")
    write_image(tmp_path / "loose.jpg")
    assert len(Folder(root=str(tmp_path)).items()) == 10


def test_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no images in class folders"):
        Folder(root=str(tmp_path)).items()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        Folder(root=str(tmp_path / "file")).items()
    with pytest.raises(ValueError, match="test_fraction"):
        Folder(test_fraction=1.0)

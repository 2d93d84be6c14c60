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


@pytest.mark.parametrize("present", [("train",), ("train", "val"), ("val", "test")])
def test_splits_that_are_not_whole_are_not_taken_for_classes(tmp_path, present):
    for split in present:
        write_image(tmp_path / split / "a" / "1.jpg")
    with pytest.raises(ValueError, match=f"holds only {'/ and '.join(present)}/, where dml reads"):
        Folder(root=str(tmp_path)).items()


def test_a_test_split_alone_serves_evaluation(tmp_path):
    for name in "ab":
        write_image(tmp_path / "test" / name / "1.jpg")
    assert Folder(root=str(tmp_path)).items().select("test").class_names == ("a", "b")


def test_a_class_may_be_named_train(tmp_path):
    for name in ("bus", "car", "train"):
        write_image(tmp_path / name / "1.jpg")
    assert Folder(root=str(tmp_path)).items().class_names == ("bus", "car", "train")


def test_an_empty_split_is_named(tmp_path):
    write_image(tmp_path / "train" / "a" / "1.jpg")
    write_image(tmp_path / "test" / "1.jpg")
    with pytest.raises(ValueError, match="test: no images in class folders"):
        Folder(root=str(tmp_path)).items()


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

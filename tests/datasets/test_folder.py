"""Tests specific to a folder of class folders."""

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


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "Valid", "TEST"),
        ("training", "validation", "testing"),
        ("train", "dev", "test"),
        ("TRAIN", "val", "Test"),
        ("training_set", "val_set", "test_set"),
        ("train-images", "Validation", "Test Images"),
        ("training", "validation", "evaluation"),
    ],
)
def test_splits_are_known_by_their_common_names(tmp_path, names):
    for name, classes in zip(names, ("ab", "cd", "ef"), strict=True):
        for one in classes:
            write_image(tmp_path / name / one / "1.jpg")
    items = Folder(root=str(tmp_path)).items()
    found = [items.select(split).class_names for split in ("train", "val", "test")]
    assert found == [("a", "b"), ("c", "d"), ("e", "f")] and items.notes == ()


def test_a_split_of_that_very_name_comes_first(tmp_path):
    for name in ("train/a", "test/b", "test/c", "train_images/d"):
        write_image(tmp_path / name / "1.jpg")
    items = Folder(root=str(tmp_path)).items()
    assert items.class_names == ("a", "b", "c") and "not read: train_images" in items.notes[0]


def test_query_and_gallery_are_splits_too(tmp_path):
    for name in ("train/a", "train/b", "query/c", "gallery/c", "gallery/d"):
        write_image(tmp_path / name / "1.jpg")
    items = Folder(root=str(tmp_path)).items()
    assert items.protocol == "query-gallery" and len(items.select("gallery")) == 2


def test_without_a_test_split_validation_tests_and_chooses_nothing(tmp_path):
    for split in ("train", "validation"):
        for name in ("cats", "dogs"):
            for i in range(8):
                write_image(tmp_path / split / name / f"{i}.jpg", i)
    items = Folder(root=str(tmp_path)).items()
    assert items.protocol == "seen-class" and len(items.select("test")) == 16
    assert len(items.select("train")) == 12 and len(items.select("val")) == 4
    assert {i.split("/")[0] for i in items.select("val").ids} == {"train"}
    assert any(note.startswith("validation/ is used as the test split") for note in items.notes)


@pytest.mark.parametrize(
    "present, message",
    [
        (("train",), "holds train/, where dml reads train/ and test/"),
        (("train", "query"), "holds query/ and train/, where dml reads"),
        (("train", "test", "testing"), "two of which name one split: rename one"),
        (("Train", "train", "val"), "two of which name one split: rename one"),
    ],
)
def test_splits_that_are_not_whole_are_not_taken_for_classes(tmp_path, present, message):
    for split in present:
        write_image(tmp_path / split / "a" / "1.jpg")
    with pytest.raises(ValueError, match=message):
        Folder(root=str(tmp_path)).items()


def test_folders_next_to_the_splits_are_reported(tmp_path):
    for name in ("train/a", "train/b", "test/c", "test/d", "masks/a"):
        write_image(tmp_path / name / "1.jpg")
    items = Folder(root=str(tmp_path)).items()
    assert len(items) == 4 and "not read: masks (next to test/ and train/)" in items.notes


def test_cats_and_dogs_are_tested_by_other_images(tmp_path):
    for name in ("cats", "dogs"):
        for i in range(10):
            write_image(tmp_path / name / f"{i}.jpg", i)
    with pytest.raises(
        ValueError, match=r"2 classes are too few .* dataset.protocol to seen-class"
    ):
        Folder(root=str(tmp_path)).items()
    items = Folder(root=str(tmp_path), protocol="seen-class").items()
    assert items.protocol == "seen-class"
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        part = items.select(split)
        assert part.class_names == ("cats", "dogs") and len(part) == 2 * count
    with pytest.raises(ValueError, match="protocol must be one of zero-shot, seen-class"):
        Folder(protocol="seen")


@pytest.mark.parametrize("count, tested", [(4, 2), (5, 2), (10, 2), (15, 3)])
def test_a_test_has_two_classes_or_more(tmp_path, count, tested):
    for i in range(count):
        write_image(tmp_path / f"{i:02}" / "1.jpg")
    options = {"validation_fraction": 0.0}
    items = Folder(root=str(tmp_path), **options).items()
    assert len(items.select("test").class_names) == tested


def test_one_class_is_refused(tmp_path):
    write_image(tmp_path / "cats" / "1.jpg")
    with pytest.raises(ValueError, match="only one class, cats"):
        Folder(root=str(tmp_path)).items()
    assert len(Folder(root=str(tmp_path), test_fraction=0.0).items()) == 1


def test_a_class_of_too_few_images_to_test_by_them(tmp_path):
    for name in ("cats", "dogs"):
        for i in range(3):
            write_image(tmp_path / name / f"{i}.jpg", i)
    with pytest.raises(ValueError, match="no class has the 4 images"):
        Folder(root=str(tmp_path), protocol="seen-class").items()


def test_a_test_split_alone_serves_evaluation(tmp_path):
    for name in "ab":
        write_image(tmp_path / "test" / name / "1.jpg")
    assert Folder(root=str(tmp_path)).items().select("test").class_names == ("a", "b")


def test_a_class_may_be_named_train(tmp_path):
    for name in ("bus", "car", "train"):
        write_image(tmp_path / name / "1.jpg")
    items = Folder(root=str(tmp_path), test_fraction=0.0).items()
    assert items.class_names == ("bus", "car", "train")


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


def test_a_link_to_itself_is_no_class(tmp_path):
    folder(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "class 1" / "loop.jpg").symlink_to("loop.jpg")
    items = Folder(root=str(tmp_path)).items()
    assert len(items) == 10 and items.notes[0].endswith("1 not regular, 1 without a suffix")


def test_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no images in class folders"):
        Folder(root=str(tmp_path)).items()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        Folder(root=str(tmp_path / "file")).items()
    with pytest.raises(ValueError, match="test_fraction"):
        Folder(test_fraction=1.0)

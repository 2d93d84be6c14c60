"""What a data set holds, in five lines."""

import shutil

from dml.datasets import Folder, Items
from dml.runs import _looking
from dml.runs._looking import look_at
from tests.datasets.layouts import write_image


def photos(tmp_path):
    root = tmp_path / "photos"
    for code in range(8):
        for number in range(3 + code % 2):
            write_image(root / f"class {code}" / f"{number}.png", 10 * code + number, side=20)
    return root


def test_a_folder_in_five_lines(tmp_path):
    root = photos(tmp_path)
    items = Folder(root=str(root), test_fraction=0.5, validation_fraction=0.25).items()
    assert list(look_at(items, "photos").lines()) == [
        "photos: 28 images of 8 classes, 20 pixels on the shorter side",
        "images a class: 3 to 4, median 3.5",
        f"splits (zero-shot): {splits(items)}",
        "unreadable images: none",
        "copies of other images: none",
    ]


def splits(items):
    shown = []
    for name in ("train", "val", "test"):
        part = items.select(name)
        plural = "es" * (len(part.class_names) != 1)
        shown.append(f"{name} {len(part)} images of {len(part.class_names)} class{plural}")
    return ", ".join(shown)


def test_what_is_wrong_is_counted_with_an_example(tmp_path):
    root = tmp_path / "photos"
    for split, names in (("train", "ab"), ("test", "cd")):
        for name in names:
            for number in range(2):
                write_image(root / split / name / f"{number}.png", number, side=20 + ord(name))
    write_image(root / "train" / "e" / "0.png", 3)
    (root / "train" / "b" / "0.png").write_bytes(b"no image")
    shutil.copy(root / "train" / "a" / "0.png", root / "train" / "a" / "9.png")
    shutil.copy(root / "train" / "a" / "1.png", root / "test" / "c" / "9.png")
    lines = list(look_at(Folder(root=str(root), validation_fraction=0).items(), "photos").lines())
    assert lines[1] == "images a class: 1 to 3, median 2; 1 class with a single one"
    assert lines[3].startswith("unreadable images: 1 (") and "b/0.png" in lines[3]
    assert lines[4] == (
        "copies of other images: 2; in more than one split: "
        "1 (train/a/1.png (train) = test/c/9.png (test))"
    )


def test_of_a_large_data_set_some_images_are_read(tmp_path, monkeypatch):
    items = Folder(root=str(photos(tmp_path))).items()
    monkeypatch.setattr(_looking, "MOST", 10)
    lines = list(look_at(items, "photos").lines())
    assert lines[0].startswith("photos: 28 images of 8 classes")
    assert lines[3] == "unreadable images among 10 images drawn at random: none"


def test_images_that_can_be_read(tmp_path):
    root = photos(tmp_path)
    damaged = sorted(root.rglob("*.png"))[3]
    damaged.write_bytes(b"damaged")
    look = look_at(Folder(root=str(root)).items(), "photos")
    assert set(look.items.paths) - set(look.readable().paths) == {str(damaged)}


def test_images_that_can_not_be_read_have_no_size():
    items = Items.build(["a", "b"], ["x", "x"], ["train", "test"], ["a", "b"], "zero-shot")
    assert next(look_at(items, "none").lines()) == "none: 2 images of 1 class"

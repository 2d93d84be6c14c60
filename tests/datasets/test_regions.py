"""Boxes and masks that a table lists."""

import cv2
import numpy as np
import pandas as pd
import pytest

from dml.datasets import RecordedItems, Table, check_images
from dml.datasets._regions import parts_of
from dml.errors import DataError
from dml.images import read_image
from tests.datasets.layouts import write_image

WHOLE = {"test_fraction": 0.0, "validation_fraction": 0.0}


def listed(root, text):
    write_image(root / "a.png", 1, side=20)  # 24 x 20
    write_image(root / "b.png", 2, side=20)
    (root / "t.csv").write_text(text)
    return Table(root=str(root / "t.csv"), **WHOLE)


BOXES = "path,label,x0,y0,x1,y1\na.png,x,0,0,5,6\na.png,y,5,0,24,20\nb.png,y,0,0,5,6\n"


def test_boxes_of_one_photo_are_several_images(tmp_path):
    items = listed(tmp_path, BOXES).items()
    assert items.ids.tolist()[:2] == ["crop:pixels=0,0,5,6:a.png", "crop:pixels=5,0,24,20:a.png"]
    assert items.paths[2] == f"crop:pixels=0,0,5,6:{tmp_path}/b.png"
    assert items.notes == ("boxes are in pixels",)
    whole = read_image(tmp_path / "a.png")
    assert (read_image(items.paths[1]) == whole[:, 5:]).all()
    digests = RecordedItems.of(items).digests
    assert len(set(digests)) == 3
    assert check_images(items).equal_bytes.groups == ()
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert check_images(items).equal_bytes.groups == check_images(items).equal_pixels.groups
    assert check_images(items).equal_bytes.groups == ((0, 2),)


def test_another_box_is_another_image(tmp_path):
    recorded = RecordedItems.of(listed(tmp_path, BOXES).items())
    moved = listed(tmp_path, BOXES.replace("5,0,24", "6,0,24"))
    left, changes = recorded.compare(moved.items())
    assert changes.counts() == {"added": 1, "missing": 1, "changed": 0} and len(left) == 2


def test_numbers_are_shares_if_none_exceeds_1(tmp_path):
    text = "path,label,x0,y0,x1,y1\na.png,x,0,0,0.5,1\nb.png,y,0.25,0.5,1,1.0\n"
    items = listed(tmp_path, text).items()
    assert items.ids.tolist() == ["crop:shares=0,0,0.5,1:a.png", "crop:shares=0.25,0.5,1,1:b.png"]
    assert items.notes[0].startswith("boxes are in shares of width and height")
    assert (read_image(items.paths[1]) == read_image(tmp_path / "b.png")[10:, 6:]).all()


def test_pixels_outside_a_mask_are_white(tmp_path):
    mask = write_image(tmp_path / "m" / "1.png")
    half = np.zeros((20, 24, 3), "uint8")
    half[:10] = 255
    cv2.imwrite(str(mask), half)
    text = "path,label,mask,x0,y0,x1,y1\na.png,x,m/1.png,4,5,8,15\nb.png,y,m/1.png,0,0,24,20\n"
    items = listed(tmp_path, text).items()
    assert items.ids[0] == "crop:pixels=4,5,8,15:mask:m/1.png:a.png"
    part = read_image(items.paths[0])
    assert (part[:5] == read_image(tmp_path / "a.png")[5:10, 4:8]).all() and (part[5:] == 255).all()
    before = RecordedItems.of(items)
    half[:5] = 0
    cv2.imwrite(str(mask), half)
    assert before.compare(items)[1].counts()["changed"] == 2
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=r"m/1\.png: image missing"):
        listed(tmp_path, text).items()


@pytest.mark.parametrize(
    "rows, message",
    [
        ("path,label,x0,y0\na.png,x,0,0\n", r"t\.csv: no column 'x1': a box has the columns x0"),
        ("path,label,x0,y0,x1,y1\na.png,x,0,0,,5\n", r"t\.csv: row 1 has no x1"),
        (
            "path,label,x0,y0,x1,y1\na.png,x,0,0,5,5\nb.png,y,0,0,5,nan\n",
            r"row 2: y1 is 'nan', not",
        ),
        ("path,label,x0,y0,x1,y1\na.png,x,0,0,5,5\nb.png,y,0,9,5,5\n", "row 2: the box 0, 9, 5, 5"),
        (
            "path,label,x0,y0,x1,y1\na.png,x,0,0,0.5,0.5\nb.png,y,0,0,1.01,1\n",
            r"row 1: the box 0, 0, 0\.5, 0\.5 \(in pixels, since row 2 has 1\.01\) is less than",
        ),
        ("path,label,x0,y0,x1,y1\na.png,x,-1,0,5,5\n", "row 1: the box .* no number may be negati"),
        ("path,label,x0,y0,x1,y1\n" + 2 * "a.png,x,0,0,5,5\n", "row 2 lists crop:.* a second time"),
        ("path,label,mask\na.png,x,\n", "row 1 has no mask"),
    ],
)
def test_an_invalid_region_is_named_by_file_and_row(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message) as error:
        listed(tmp_path, rows).items()
    assert str(error.value).startswith(f"{tmp_path}/t.csv: ") and "\n" not in str(error.value)


def test_a_box_that_ends_outside_of_its_photo_is_an_unreadable_image(tmp_path):
    items = listed(tmp_path, BOXES.replace("24,20", "25,20")).items()
    with pytest.raises(ValueError, match=r"a\.png: the box ends outside .* which is 24 x 20"):
        RecordedItems.of(items)


def test_a_number_of_hundreds_of_digits_is_named():
    frame = pd.DataFrame({"x0": [0], "y0": [0], "x1": [10**400], "y1": [1]}, dtype=object)
    with pytest.raises(DataError, match=r"a\.tar.*x1 holds a number that is too large"):
        parts_of(["a.png"], frame, "a.tar", str)

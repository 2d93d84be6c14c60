"""Reading the text files of data sets, and detecting missing images."""

import pytest

from dml.datasets._files import halves, read_rows, require_files


def test_a_line_of_other_words_is_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("header\na b\n\nc\n")
    with pytest.raises(ValueError, match=r"list\.txt: line 4: expected 2 words, got 1"):
        read_rows(path, columns=2, header=1)


def test_missing_images_are_named_and_counted(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(FileNotFoundError, match=r"b\.jpg: image missing, and 1 more"):
        require_files([tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")])


def test_a_link_to_itself_is_a_missing_image(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "c.jpg").symlink_to("c.jpg")
    require_files([tmp_path / name for name in ("a.jpg", "b.jpg")])
    with pytest.raises(FileNotFoundError, match=r"c\.jpg: image missing;"):
        require_files([tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg")])


def test_the_first_half_of_an_odd_number_of_classes_is_the_smaller():
    assert halves("abc") == {"a": "train", "b": "test", "c": "test"}

"""The folders of new runs: their names, and that nothing else is in them."""

import pytest

from dml.datasets import Folder, Glyphs
from dml.errors import BusyError, OccupiedError, OptionError
from dml.runs._folders import check_out, claimed_folder, free_folder, run_name


def test_a_new_folder_is_nobody_elses(tmp_path):
    made = [free_folder(tmp_path / "runs", "mine") for _ in range(3)]
    assert [path.name for path in made] == ["mine", "mine-2", "mine-3"]
    assert all(path.is_dir() for path in made)


def test_a_run_is_not_among_the_images(tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat/1.jpg").touch()
    dataset = Folder(root=str(tmp_path / "photos"))
    for out in ("photos", "photos/cat", "photos/../photos"):
        with pytest.raises(OccupiedError, match=r"is a folder of the images: choose another --out"):
            check_out(tmp_path / out, dataset)
    begun = tmp_path / "photos" / "begun"  # by `dml run`, which plans before it trains
    begun.mkdir()
    (begun / "steps.json").write_text("{}")
    for out in ("photos/run", "photos/begun", "run", "."):
        check_out(tmp_path / out, dataset)
    (begun / "cat.png").write_bytes(b"")
    with pytest.raises(OccupiedError, match="is a folder of the images"):
        check_out(begun, dataset)
    check_out(tmp_path, Glyphs())  # of no folder


def test_a_run_is_not_among_other_images_either(tmp_path):
    (tmp_path / "notes" / "more").mkdir(parents=True)
    for name in ("plot.png", "notes/a.txt", "notes/more/b.png"):
        (tmp_path / name).touch()
    check_out(tmp_path, Glyphs())
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.jpg").touch()
    with pytest.raises(OccupiedError, match=r"has images in folders, such as .*/cats/1\.jpg: choo"):
        check_out(tmp_path, Glyphs())


@pytest.mark.parametrize("name", ["../a/b", "a/b", "/a", "..", ".", ""])
def test_a_run_is_in_its_folder(tmp_path, name):
    with pytest.raises(OptionError, match=r"name must be a name within .*, without folders; got"):
        free_folder(tmp_path / "runs", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "source, name",
    [
        ("glyphs", "glyphs"),
        ("a/recipe.v2.toml", "recipe.v2"),
        ("/", "folder"),
        ("b/..", "x.y"),
        ("s/t-{0..9}.tar", "t-0..9"),
    ],
)
def test_a_run_is_named_after_what_it_is_trained_on(tmp_path, monkeypatch, source, name):
    (tmp_path / "x.y").mkdir()
    monkeypatch.chdir(tmp_path / "x.y")
    assert run_name(source) == name


def test_a_claimed_folder_stays_if_something_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with claimed_folder(None, "mine") as unused:
        assert unused.path.is_dir()
        with pytest.raises(BusyError), claimed_folder(unused.path, ""):
            pass
    assert not list(tmp_path.iterdir())
    for name in ("mine", "mine-2"):
        with claimed_folder(None, "mine") as folder:
            folder.recipe.touch()
        assert folder.path.name == name and folder.recipe.exists()
    with pytest.raises(OccupiedError, match="already holds a run"), claimed_folder(folder.path, ""):
        pass
    assert folder.recipe.exists()

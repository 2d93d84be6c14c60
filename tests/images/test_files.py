"""The rule for which files are images, for training, embedding and search."""

import os

import pytest
from PIL import Image

from dml.datasets.folder import Folder, _class_images
from dml.datasets.table import Table
from dml.encoding._sources import image_table
from dml.images import read_image
from dml.images._files import FORMATS, LeftOut, folders_below, image_files, require_utf8
from dml.serve._uploads import check_header
from tests.datasets.layouts import write_image


@pytest.fixture
def photos(tmp_path):
    for name in ("cats/a.png", "cats/deep/b.png", "dogs/c.png"):
        write_image(tmp_path / "photos" / name)
    return tmp_path / "photos"


def found(folder):
    """Returns the images below a folder and the counts of the rest, the same for all commands."""
    left_out, of_training, of_search = LeftOut(), LeftOut(), LeftOut()
    files = image_files(folder, left_out)
    assert [path for path, _ in _class_images(folder, of_training)] == [
        os.path.join(folder, file) for file in files
    ]
    assert image_table([folder], of_search)["path"].tolist() == [
        os.path.join(folder, file) for file in files
    ]
    assert left_out == of_training == of_search
    return files, dict(left_out)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_taken_everywhere(tmp_path, suffix):
    path = tmp_path / "photos" / "cats" / f"a{suffix.upper()}"
    path.parent.mkdir(parents=True)
    Image.new("1" if suffix == ".pbm" else "RGB", (12, 8), "white").save(path, FORMATS[suffix])
    image = read_image(path)
    assert image.shape == (8, 12, 3) and image.min() >= 253
    assert found(tmp_path / "photos") == ([f"cats/{path.name}"], {})  # trained on and indexed
    table = tmp_path / "list.csv"
    table.write_text(f"path,label\nphotos/cats/{path.name},cat\n")
    assert Table(root=str(table), test_fraction=0).items().paths.tolist() == [str(path)]
    assert image_table([table], LeftOut())["path"].tolist() == [str(path)]
    check_header(path.read_bytes(), max_pixels=96)  # of an upload; raises where it is refused


def test_what_is_no_image_is_counted_by_its_suffix(photos):
    for name in ("cats/1.heic", "cats/2.HEIC", "dogs/notes.txt", "dogs/README"):
        (photos / name).touch()
    files, left_out = found(photos)
    assert files == ["cats/a.png", "cats/deep/b.png", "dogs/c.png"]
    assert left_out == {".heic": 2, ".txt": 1, "without a suffix": 1}
    assert str(LeftOut(left_out)) == "left out: 2 .heic, 1 .txt, 1 without a suffix"


def test_the_folders_of_runs_are_no_classes(photos):
    write_image(photos / "runs" / "mine" / "index" / "a.png")
    for name in ("recipe.toml", "items.parquet"):
        (photos / "runs" / "mine" / name).touch()
    (photos / "cats" / "recipe.toml").touch()
    files, left_out = found(photos)
    assert files == ["cats/a.png", "cats/deep/b.png", "dogs/c.png"]
    assert left_out == {"in a run's folder": 3, ".toml": 1}


def test_hidden_files_and_litter_are_no_classes(photos):
    for name in (
        ".cache/x.png",
        ".ipynb_checkpoints/a.png",
        "@eaDir/a.png",
        "__MACOSX/cats/._a.png",
        "cats/.AppleDouble/a.png",
        "cats/._a.png",
        "cats/.thumbnail.png",
        "cats/Thumbs.db",
        "cats/@eaDir/a.png/SYNOPHOTO_THUMB_M.png",
    ):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(photos / "x.png").rename(photos / name)
    assert found(photos) == (
        ["cats/a.png", "cats/deep/b.png", "dogs/c.png"],
        {"hidden": 2},
    )


def test_linked_folders_are_followed_once(photos, tmp_path):
    write_image(tmp_path / "elsewhere" / "d.png")
    (photos / "birds").symlink_to(tmp_path / "elsewhere")
    assert found(photos) == (
        ["birds/d.png", "cats/a.png", "cats/deep/b.png", "dogs/c.png"],
        {},
    )
    (photos / "again").symlink_to(photos / "cats")
    (photos / "cats" / "loop").symlink_to(photos)
    (photos / "dogs" / "up").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    assert found(photos) == (
        ["birds/d.png", "cats/a.png", "cats/deep/b.png", "dogs/c.png"],
        {"linked twice": 4},
    )
    left_out = LeftOut()
    table = image_table([f"{photos}/**/*.png"], left_out)
    assert table["id"].tolist() == [
        f"{photos}/{name}"
        for name in ("birds/d.png", "cats/a.png", "cats/deep/b.png", "dogs/c.png")
    ]
    assert set(left_out) == {"linked twice"}


def test_folders_of_other_files_are_found_likewise(photos, tmp_path):
    write_image(tmp_path / "elsewhere" / "d.png")
    for link, target in {"a": "cats", "linked": "../elsewhere", "cats/up": ".."}.items():
        (photos / link).symlink_to(target)
    (photos / ".hidden").mkdir()
    below = [(os.path.relpath(place, photos), names) for place, _, names in folders_below(photos)]
    assert below == [
        (".", []),
        ("cats", ["a.png"]),
        ("cats/deep", ["b.png"]),
        ("dogs", ["c.png"]),
        ("linked", ["d.png"]),
    ]


def test_only_regular_files_are_images(photos):
    os.mkfifo(photos / "cats" / "pipe.jpg")
    (photos / "cats" / "folder.jpg").mkdir()
    (photos / "dogs" / "null.png").symlink_to("/dev/null")
    (photos / "dogs" / "gone.png").symlink_to("nowhere")
    (photos / "dogs" / "itself.png").symlink_to("itself.png")
    files, left_out = found(photos)
    assert files == ["cats/a.png", "cats/deep/b.png", "dogs/c.png"]
    assert left_out == {"not regular": 4}
    counted = LeftOut()
    assert len(image_table([f"{photos}/*/*"], counted)) == 2
    assert counted == {"not regular": 4}


def test_a_folder_in_the_litter_of_others_can_be_named(tmp_path):
    write_image(tmp_path / "__MACOSX" / ".mine" / "cats" / "a.png")
    assert image_files(tmp_path / "__MACOSX" / ".mine", LeftOut()) == ["cats/a.png"]
    pattern = f"{tmp_path}/__MACOSX/.mine/*/*.png"
    assert len(image_table([pattern], LeftOut())) == 1


def test_names_that_are_not_utf8_are_named():
    names = ["a.png", os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"\xff.png")]
    with pytest.raises(ValueError, match=r"^caf\\xe9.png: the name is not UTF-8 \(and 1 more\)"):
        require_utf8(names)
    require_utf8(["café.png"])


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"caf\xe9/a.png"])
def test_so_are_those_of_images_among_others(photos, name):
    write_image(photos / "x.png")
    target = photos / os.fsdecode(b"cats/" + name)
    target.parent.mkdir(exist_ok=True)
    (photos / "x.png").rename(target)
    for read in (
        lambda: image_table([photos], LeftOut()),
        lambda: image_table([f"{photos}/**/*.png"], LeftOut()),
        lambda: image_table([target], LeftOut()),
        Folder(root=str(photos), test_fraction=0.0).items,
    ):
        with pytest.raises(ValueError, match=r"cats/caf\\xe9.*: the name is not UTF-8: rename it"):
            read()

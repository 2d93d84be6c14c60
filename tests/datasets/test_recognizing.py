"""Which data set a folder, file or pattern holds."""

import pandas as pd
import pytest

from dml.datasets._recognizing import data_set_at
from tests.datasets.layouts import png, write_image, write_parquet, write_tar


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["cat/a.png", "dog/b.png"], "folder"),
        (["cat/a.png", "dog/b.png", "more.tar"], "folder"),
        (["a.png"], "folder"),
        ([], "folder"),
        (["0.tar", "1.tar"], "webdataset"),
        (["train/0.tar", "test/0.tar", "example.png"], "webdataset"),
        (["0.tar.gz"], "webdataset"),
        ([".hidden.tar"], "folder"),
        (["data/train-0.parquet"], "parquet"),
        (["recipe.toml", "items.parquet"], "folder"),
    ],
)
def test_a_folder(tmp_path, files, kind):
    for name in files:
        if name.endswith(".png"):
            write_image(tmp_path / name)
        elif name.endswith(".parquet"):
            write_parquet(tmp_path / name, [png()], label=[1])
        else:
            write_tar(tmp_path / name, {"a.png": png()})
    assert data_set_at(tmp_path) == kind


def test_linked_folders_are_followed(tmp_path):
    write_tar(tmp_path / "away/a.tar", {"a.png": png()})
    (tmp_path / "root").mkdir()
    (tmp_path / "root/linked").symlink_to(tmp_path / "away")
    (tmp_path / "away/loop").symlink_to(tmp_path / "root")
    assert data_set_at(tmp_path / "root") == "webdataset"


def test_a_file_and_a_pattern(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a.png": png()})
    assert data_set_at(path) == data_set_at("shards/{00..99}.tar") == "webdataset"
    assert data_set_at("s*.tar") == "webdataset"
    assert data_set_at(tmp_path / "missing.tar") is None
    assert data_set_at(write_image(tmp_path / "a.png")) is None


def test_a_parquet_file_of_images_and_lists_of_images(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [png()], label=[1])
    assert data_set_at(path) == data_set_at("hf:some/cars:train") == "parquet"
    pd.DataFrame({"path": ["a.png"], "label": [1]}).to_parquet(tmp_path / "list.parquet")
    (tmp_path / "list.csv").write_text("path,label\na.png,1\n")
    assert data_set_at(tmp_path / "list.parquet") == data_set_at(tmp_path / "list.csv") == "table"

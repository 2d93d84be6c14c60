"""Folders that Hugging Face's `datasets` writes, and names of its hub."""

import json
import sys
import types

import pyarrow as pa
import pytest

from dml.datasets import Parquet
from dml.datasets._hugging_face import find_folder
from dml.errors import DataError, MissingDataError, PackageError, StorageError
from tests.datasets.layouts import png, write_parquet
from tests.storage.test_cells import write_arrow

ALL = {"test_fraction": 0.0, "validation_fraction": 0.0}
IMAGES = [png(i) for i in range(4)]


def save_to_disk(folder, labels=(0, 0, 1, 1)):
    """Writes what `Dataset.save_to_disk` of `datasets` does, and a file that `map` leaves there."""
    folder.mkdir(parents=True)
    table = pa.table({"image": [{"bytes": data, "path": None} for data in IMAGES], "label": labels})
    for name in ("data-00000-of-00001.arrow", "cache-3a.arrow"):
        write_arrow(folder / name, table)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))


def test_a_saved_data_set(tmp_path):
    save_to_disk(tmp_path / "saved")
    for root in (tmp_path / "saved", f"hf:{tmp_path}/saved"):
        items = Parquet(root=str(root), **ALL).items()
        assert items.ids[0] == "data-00000-of-00001.arrow!0" and len(items) == 4


def test_a_saved_dictionary_of_splits(tmp_path):
    for split, labels in (("train", (0, 0, 1, 1)), ("test", (2, 2, 3, 3)), ("extra", (4,) * 4)):
        save_to_disk(tmp_path / split, labels)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test", "extra"]}')
    with pytest.raises(DataError, match=r"extra/data-.*arrow names no split, while test/"):
        Parquet(root=f"hf:{tmp_path}").items()
    items = Parquet(root=f"hf:{tmp_path}:extra", **ALL).items()
    assert items.class_names == (4,) and items.ids[0] == "extra/data-00000-of-00001.arrow!0"
    with pytest.raises(MissingDataError, match=r"no file of the split 'dev' among extra/data"):
        Parquet(root=f"hf:{tmp_path}:dev").items()


@pytest.mark.parametrize("digest", ["", "-3d9bb7e9a3a2e5a0"])
def test_a_split_of_a_repository(tmp_path, digest):
    for part in ("train-00000-of-00002", "train-00001-of-00002", "train_2-00000-of-00001"):
        name = part + digest
        write_parquet(tmp_path / f"data/{name}.parquet", IMAGES, label=[0, 0, 1, 1])
    items = Parquet(root=f"hf:{tmp_path}:train", **ALL).items()
    assert len(items) == 8 and set(items.splits) == {"train"}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{", r"state\.json: damaged, or not written by save_to_disk"),
        ("[" * 10**5, "damaged"),
        ('{"_data_files": 3}', "damaged"),
        ('{"_data_files": [{"filename": "b.arrow"}]}', r"b\.arrow: missing, while state\.json"),
        ('{"_data_files": [{"filename": "../a.arrow"}]}', r"a\.arrow: missing, while state\.json"),
    ],
)
def test_a_damaged_state_is_named(tmp_path, state, message):
    save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text(state)
    with pytest.raises(DataError, match=message):
        Parquet(root=str(tmp_path / "saved")).items()


@pytest.mark.parametrize("state", ["{", '{"step": 3}', "[1]", "3"])
def test_the_state_of_another_program_is_not_read(tmp_path, state):
    write_parquet(tmp_path / "a.parquet", IMAGES, label=[0, 0, 1, 1])
    (tmp_path / "state.json").write_text(state)
    assert len(Parquet(root=str(tmp_path), **ALL).items()) == 4
    if state != "{":  # which may be what is left of that of `save_to_disk`
        table = pa.table({"image": IMAGES, "label": [0, 0, 1, 1]})
        write_arrow(tmp_path / "b.arrow", table)
        assert len(Parquet(root=str(tmp_path), **ALL).items()) == 8


def test_the_root_of_a_folder_becomes_absolute(tmp_path, monkeypatch):
    (tmp_path / "saved").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Parquet(root="hf:saved:train").absolute_root() == f"hf:{tmp_path}/saved:train"
    assert Parquet(root="hf:saved").absolute_root() == f"hf:{tmp_path}/saved"
    assert Parquet(root="hf:a/b:train").absolute_root() == "hf:a/b:train"


class Hub:
    """What is used of `huggingface_hub`, over a folder."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        hub = types.SimpleNamespace(HfApi=lambda: self, snapshot_download=self.snapshot_download)
        monkeypatch.setitem(sys.modules, "huggingface_hub", hub)

    def list_repo_files(self, repository, repo_type, revision):
        assert (repo_type, revision) == ("dataset", "refs/convert/parquet")
        if repository != "some/cars":
            raise OSError("404 Client Error.\n\nRepository Not Found")
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [".gitattributes", *(str(path.relative_to(self.folder)) for path in files)]

    def snapshot_download(self, repository, repo_type, revision, allow_patterns):
        self.patterns = allow_patterns
        return str(self.folder)


def test_a_data_set_of_the_hub(tmp_path, monkeypatch):
    write_parquet(tmp_path / "full/train/0000.parquet", IMAGES, label=[0, 0, 1, 1])
    hub = Hub(tmp_path, monkeypatch)
    items = Parquet(root="hf:some/cars:train", **ALL).items()
    assert items.ids[0] == "train/0000.parquet!0"
    assert hub.patterns == ["full/train/*.parquet", "full/partial-train/*.parquet"]
    write_parquet(tmp_path / "small/train/0000.parquet", IMAGES, label=[0, 0, 1, 1])
    with pytest.raises(MissingDataError, match=r"some/cars/CONFIGURATION: full, small"):
        find_folder("hf:some/cars")
    assert find_folder("hf:some/cars/small") == (f"{tmp_path}/small", "")
    with pytest.raises(MissingDataError, match=r"has no split 'test'; it has train"):
        find_folder("hf:some/cars/full:test")
    with pytest.raises(MissingDataError, match=r"names a part of a split"):
        find_folder("hf:some/cars/full:train[:10]")
    with pytest.raises(
        StorageError, match=r"hf:no/cars is not a folder, .*: 404 Client Error\. Che"
    ):
        find_folder("hf:no/cars")


def test_a_split_that_the_hub_holds_in_part(tmp_path, monkeypatch):
    for split in ("train", "test"):
        write_parquet(tmp_path / f"full/partial-{split}/0000.parquet", IMAGES, label=[0, 0, 1, 1])
    Hub(tmp_path, monkeypatch)
    items = Parquet(root="hf:some/cars:train", **ALL).items()
    assert items.notes == ("the hub holds only a part of the split train as Parquet files",)
    assert set(items.ids) == {f"partial-train/0000.parquet!{row}" for row in range(4)}
    splits = Parquet(root="hf:some/cars", validation_fraction=0.0).items().splits
    assert sorted(splits) == ["test"] * 4 + ["train"] * 4


def test_without_the_package_or_a_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        PackageError, match=r"hf:no/cars is not a folder, .* pip install 'dml\[hf\]'"
    ):
        find_folder("hf:no/cars")
    for name in ("hf:", "hf:./missing", "hf:/a/b", "hf:a/b/c/d"):
        with pytest.raises(MissingDataError, match="no such folder, nor a data set of the hub"):
            find_folder(name)

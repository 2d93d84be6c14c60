"""Shards: which files a folder or pattern means, their splits, and what is refused."""

import pytest

from dml.datasets import WebDataset
from dml.datasets._shards import split_of
from dml.errors import DataError, MissingDataError, OptionError
from dml.images import read_image
from tests.datasets.layouts import png, write_tar


def shards(root, *names, classes=2):
    """Writes shards of two images each of some classes, which no other shard has."""
    for number, name in enumerate(names):
        members = {}
        for i in range(2 * classes):
            members |= {f"{i}.png": png(100 * number + i), f"{i}.cls": f"c{number}-{i // 2}"}
        write_tar(root / name, members)


def split_by_shard(root, **options):
    items = WebDataset(root=str(root), validation_fraction=0.0, **options).items()
    return {i.partition("!")[0]: s for i, s in zip(items.ids, items.splits, strict=True)}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-000.tar", "train"),
        ("cub_Val_0001-of-0002.tar", "val"),
        ("test/0000.tar", "test"),
        ("partial-train/0000.parquet", "train"),  # of the hub, which holds a part
        ("validation_set/x.tar", "val"),
        ("data/query000.tar", "query"),
        ("data-v1.1-train.parquet", "train"),
        ("data-v1.0-test-000.tar", "test"),
        ("photos.Val.arrow", "val"),
        ("trained-000.tar", None),
        ("000.tar", None),
    ],
)
def test_the_split_in_a_name(name, split):
    assert split_of(name) == split


def test_names_of_shards_are_splits(tmp_path):
    shards(tmp_path, "train-0.tar", "deep/train-1.tar", "test-0.tar")
    expected = {"train-0.tar": "train", "deep/train-1.tar": "train", "test-0.tar": "test"}
    assert split_by_shard(tmp_path) == expected


def test_a_version_in_a_name_does_not_hide_its_split(tmp_path):
    shards(tmp_path, "data-v1.1-train.tar", "data-v1.1-test.tar")
    expected = {"data-v1.1-train.tar": "train", "data-v1.1-test.tar": "test"}
    assert split_by_shard(tmp_path) == expected


def test_without_a_test_split_validation_is_it(tmp_path):
    shards(tmp_path, "train-0.tar", "val-0.tar")
    items = WebDataset(root=str(tmp_path)).items()
    assert {"train", "test"} <= set(items.splits.tolist())
    assert items.notes[0].startswith("val is used as the test split")


def test_shards_of_training_alone_hold_classes_out(tmp_path):
    shards(tmp_path, "train-0.tar", "train-1.tar", classes=5)
    items = WebDataset(root=str(tmp_path)).items()
    assert len(items.select("test").class_names) == 2  # a fifth of ten


def test_shards_with_and_without_a_split_are_refused(tmp_path):
    shards(tmp_path, "test-0.tar", "more-0.tar")
    with pytest.raises(DataError, match=r"more-0\.tar names no split, while test-0\.tar does"):
        WebDataset(root=str(tmp_path)).items()


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("s-{0..2}.tar", ["s-0.tar", "s-1.tar", "s-2.tar"]),
        ("s-{1,2}.tar", ["s-1.tar", "s-2.tar"]),
        ("s-[01].tar", ["s-0.tar", "s-1.tar"]),
        ("s-1.tar", ["s-1.tar"]),
        ("{in,.}/s-{03..03}.tar", ["in/s-03.tar", "s-03.tar"]),
        ("**/s-*3.tar", ["in/s-03.tar", "s-03.tar"]),
    ],
)
def test_patterns(tmp_path, pattern, found):
    shards(tmp_path, "s-0.tar", "s-1.tar", "s-2.tar", "s-03.tar", "in/s-03.tar")
    part = WebDataset(root=f"{tmp_path}/{pattern}")
    assert sorted(shard.name for shard in part.shards()) == found


def test_a_shard_that_a_pattern_names_must_exist(tmp_path):
    shards(tmp_path, "s-0.tar")
    with pytest.raises(MissingDataError, match=r"s-1\.tar: missing"):
        WebDataset(root=f"{tmp_path}/s-{{0..1}}.tar").items()
    with pytest.raises(MissingDataError, match=r"no \.tar files there"):
        WebDataset(root=f"{tmp_path}/t-*.tar").items()


@pytest.mark.parametrize("pattern", ["{0..999999999}.tar", "{5..1}.tar", "{0..999}/{0..999}.tar"])
def test_a_pattern_of_too_many_shards_is_refused(pattern):
    with pytest.raises(OptionError, match=r"dataset\.root must name 1 to 100,000 shards"):
        WebDataset(root=pattern).items()


def test_hidden_files_and_litter_are_left_out(tmp_path):
    shards(tmp_path, "a.tar", ".b.tar", "._a.tar", ".git/c.tar")
    assert [shard.name for shard in WebDataset(root=str(tmp_path)).shards()] == ["a.tar"]


def test_linked_folders_are_followed_once(tmp_path):
    shards(tmp_path, "root/z/train-0.tar", "away/test-0.tar")
    for link, target in {
        "root/a": "root/z",
        "root/linked": "away",
        "root/again": "away",
        "away/up": "root",
        "root/z/up": "",
    }.items():
        (tmp_path / link).symlink_to(tmp_path / target)
    assert split_by_shard(tmp_path / "root") == {
        "z/train-0.tar": "train",  # by its real path
        "again/test-0.tar": "test",
    }


def test_suffixes_may_be_in_upper_case(tmp_path):
    shards(tmp_path, "S.TAR")
    for root in (tmp_path, tmp_path / "S.TAR"):
        items = WebDataset(root=str(root), test_fraction=0.0).items()
        assert [read_image(path).shape for path in items.paths] == [(20, 24, 3)] * 4


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "b.TAR.ZST"])
def test_compressed_shards_are_refused_with_advice(tmp_path, name):
    write_tar(tmp_path / name, {"a.png": png()}, "w:gz")
    for root in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=f"{name}: compressed: .*; unpack it with "):
            WebDataset(root=str(root)).items()


def test_a_relative_pattern_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert WebDataset(root="s-{0..2}.tar").absolute_root() == f"{tmp_path}/s-{{0..2}}.tar"
    assert WebDataset().absolute_root() == ""

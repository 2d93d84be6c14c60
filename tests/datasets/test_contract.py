"""The contract of every data set in the registry, on small copies of the layouts."""

import dataclasses
import os

import numpy as np
import pytest

from dml.datasets import DATASETS
from dml.images import read_image
from tests.datasets.layouts import LAYOUTS, part

FILES = sorted(set(DATASETS) - {"glyphs"})


def dataset(name, root, **options):
    if name == "glyphs":
        return DATASETS[name](classes=8, samples=4, **options)
    return part(DATASETS, name, root, **options)


def test_every_data_set_has_a_layout_to_be_tested_on():
    assert set(LAYOUTS) == set(FILES)


@pytest.fixture(params=sorted(DATASETS))
def name(request):
    return request.param


def test_labels_are_codes_and_images_can_be_read(name, tmp_path):
    items = dataset(name, tmp_path, validation_fraction=0.0).items()
    assert items.labels.dtype == np.int32 and len(set(items.ids)) == len(items)
    assert sorted(set(items.labels)) == list(range(len(items.class_names)))
    for path in items.paths:
        image = read_image(path)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert not any(str(tmp_path) in i for i in items.ids)  # they stay when the folder moves


def test_training_and_test_share_no_class(name, tmp_path):
    items = dataset(name, tmp_path, validation_fraction=0.0).items()
    train, test = items.select("train"), items.select("test", "query", "gallery")
    assert len(train) and len(test)
    assert not set(train.class_names) & set(test.class_names)
    if items.protocol == "query-gallery":
        assert set(items.select("query").class_names) <= set(items.select("gallery").class_names)


def test_validation_is_of_other_classes_and_leaves_the_test_alone(name, tmp_path):
    whole = dataset(name, tmp_path, validation_fraction=0.0).items()
    items = dataset(name, tmp_path, validation_fraction=0.5).items()
    train, val = set(items.select("train").class_names), set(items.select("val").class_names)
    if len(whole.select("train").class_names) >= 4:
        assert len(train) > 1 and len(val) > 1 and not train & val
    else:  # a single class has nothing to find
        assert val <= train == set(whole.select("train").class_names)
    for split in ("test", "query", "gallery"):
        assert (items.select(split).ids == whole.select(split).ids).all()


def test_validation_by_images_leaves_every_class_in_training(name, tmp_path):
    whole = dataset(name, tmp_path, validation_fraction=0.0).items().select("train")
    items = dataset(name, tmp_path, validation_fraction=0.5, validation="images").items()
    assert items.select("train").class_names == whole.class_names
    fours = np.flatnonzero(np.bincount(whole.labels) >= 4)
    assert items.select("val").class_names == tuple(whole.class_names[code] for code in fours)
    assert any("no validation" in note for note in items.notes) == (not len(fours))


def test_the_seed_decides_the_validation(name, tmp_path):
    def held_out(seed):
        part = dataset(name, tmp_path, validation_fraction=0.5, validation_seed=seed)
        return tuple(part.items().select("val").ids)

    assert held_out(1) == held_out(1)
    assert len({held_out(seed) for seed in range(8)}) > 1 or not held_out(1)


@pytest.mark.parametrize("name", FILES)
def test_finds_every_image_of_its_layout(name, tmp_path):
    items = dataset(name, tmp_path, validation_fraction=0.0).items()
    found = {split: int((items.splits == split).sum()) for split in set(items.splits.tolist())}
    assert found == LAYOUTS[name][1]


PUBLISHED = {  # images of the whole data set, as its authors count them
    "cub200": 11_788,
    "cars196": 16_185,
    "cars196-half": 8_144,
    "sop": 120_053,
    "inshop": 52_712,
    "omniglot": (136 + 106) * 20,
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_splits_of_each_protocol_add_up_to_the_whole(name):
    assert set(DATASETS[name].expected) == set(DATASETS[name].protocols)
    for protocol, counts in DATASETS[name].expected.items():
        assert sum(counts.values()) == PUBLISHED[name], protocol


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_counts_that_are_not_the_published_ones_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"where the original has"):
        part(DATASETS, name, tmp_path, counted=True).items()


@pytest.mark.parametrize("name", sorted(set(FILES) - {"folder"}))
def test_a_missing_file_is_named(name, tmp_path):
    made = dataset(name, tmp_path)
    files = [os.path.join(f, n) for f, _, names in os.walk(tmp_path) for n in names]
    for file in files:
        if file.endswith("train_test_split.txt"):
            continue  # read under seen-class only
        os.rename(file, file + ".away")
        with pytest.raises(FileNotFoundError) as error:
            made.items()
        assert os.path.basename(file) in str(error.value) and "\n" not in str(error.value)
        os.rename(file + ".away", file)


SUFFIXES = (".txt", ".mat", ".zip", ".csv", ".tar", ".parquet")  # of lists and archives


@pytest.mark.parametrize("name", sorted(set(FILES) - {"folder"}))
@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"\x00\xff damaged beyond words and more\n" * 3,
        lambda whole: whole[: len(whole) // 2] + b"\xff",  # a download that ended early
        lambda whole: bytes(len(whole)),  # a file whose blocks were never written
    ],
    ids=["garbage", "truncated", "zeros"],
)
def test_a_corrupt_list_is_named(name, damage, tmp_path):
    made = dataset(name, tmp_path)
    lists = [p for p in tmp_path.rglob("*") if p.suffix in SUFFIXES]
    assert lists
    for file in lists:
        if file.name == "train_test_split.txt":
            continue
        whole = file.read_bytes()
        file.write_bytes(damage(whole))
        with pytest.raises(ValueError) as error:
            made.items()
        assert file.name in str(error.value), file
        file.write_bytes(whole)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_folder_is_named(name, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        DATASETS[name](root=str(tmp_path / "nowhere")).items()
    monkeypatch.delenv("DML_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"dataset\.root"):
        DATASETS[name]().items()


def test_refuses_options_out_of_range(name):
    with pytest.raises(ValueError, match="validation_fraction"):
        DATASETS[name](validation_fraction=1.0)
    with pytest.raises(ValueError, match="validation must be one of classes, images"):
        DATASETS[name](validation="half")
    with pytest.raises(ValueError, match="validation_seed"):
        DATASETS[name](validation_seed=-1)


def test_has_a_docstring_that_names_every_option(name):
    for field in dataclasses.fields(DATASETS[name]):
        assert f"{field.name}:" in DATASETS[name].__doc__, field.name

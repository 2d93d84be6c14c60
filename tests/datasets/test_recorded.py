"""The record of a run's items, and how it is matched with the data later."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dml.datasets import DATASETS, Glyphs, Items, Omniglot, RecordedItems, Table
from dml.datasets import Folder as ImageFolder
from dml.datasets._recorded import image_digests
from dml.images import ImageError
from tests.datasets.layouts import omniglot, png, write_image, write_parquet
from tests.datasets.layouts import part as layout_part
from tests.storage.durability import Journal


def photos(root, classes=6, count=3):
    for i in range(classes * count):
        write_image(root / f"class {i // count}" / f"{i}.jpg", i)
    return ImageFolder(root=str(root))


def assert_same(one, other):
    for name in ("ids", "labels", "splits", "class_names", "protocol"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.fixture
def part(tmp_path):
    return photos(tmp_path / "photos")


@pytest.fixture
def file(part, tmp_path):
    RecordedItems.of(part.items()).write(tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


def test_is_read_as_it_was_written(part, file):
    items, read = part.items(), RecordedItems.read(file)
    assert_same(items, read.items)
    for path, digest in zip(items.paths, read.digests, strict=True):
        assert digest == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_nothing_has_changed(part, file):
    left, changes = RecordedItems.read(file).compare(part.items())
    assert_same(part.items(), left)
    assert list(left.paths) == list(part.items().paths)
    assert str(changes) == "" and changes.counts() == {"added": 0, "missing": 0, "changed": 0}


def test_every_image_keeps_its_split_when_classes_come_and_go(part, file, tmp_path):
    before = part.items()
    split_of = dict(zip(before.ids, before.splits, strict=True))
    for i in range(3):
        write_image(tmp_path / "photos" / "a new class" / f"{i}.jpg", 50 + i)
    gone = before.paths[before.splits == "test"][0]
    (tmp_path / gone).unlink()
    changed = before.ids[before.splits == "train"][0]
    write_image(tmp_path / "photos" / changed, 99)
    now = part.items()
    assert any(split_of.get(i, s) != s for i, s in zip(now.ids, now.splits, strict=True))
    left, changes = RecordedItems.read(file).compare(now)
    assert len(left) == len(before) - 2
    assert all(split_of[i] == s for i, s in zip(left.ids, left.splits, strict=True))
    assert changes.counts() == {"added": 3, "missing": 1, "changed": 1}
    gone = str(before.ids[before.splits == "test"][0])
    assert str(changes) == (
        "since the training 3 images of 1 class were added (a new class/0.jpg, ...); "
        f"1 image is missing (test 1: {gone}); 1 image has changed (train 1: {changed})"
    )


def test_only_the_splits_that_are_asked_for_are_read(part, file, tmp_path):
    row = np.flatnonzero(part.items().splits == "train")[0]
    write_image(tmp_path / part.items().paths[row], 99)
    left, changes = RecordedItems.read(file).compare(part.items(), splits=("test",))
    assert len(left) == len(part.items()) and not str(changes)


def test_the_data_set_may_move(part, file, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    left, changes = RecordedItems.read(file).compare(
        ImageFolder(root=str(tmp_path / "elsewhere")).items()
    )
    assert not str(changes) and all("elsewhere" in path for path in left.paths)


def test_codes_stay_when_labels_become_text(tmp_path):
    for i in range(12):
        write_image(tmp_path / f"{i}.jpg", i)
    rows = [f"{i}.jpg,{10 * (i // 2 % 2) + 2}" for i in range(12)]  # the classes 2 and 12
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,label", *rows]) + "\n")
    part = Table(root=str(table), test_fraction=0, validation_fraction=0)
    recorded = RecordedItems.of(part.items())
    recorded.write(tmp_path / "items.parquet")
    write_image(tmp_path / "new.jpg", 77)
    table.write_text("\n".join(["path,label", *rows, "new.jpg,cat"]) + "\n")
    assert part.items().class_names == ("12", "2", "cat")
    left, changes = RecordedItems.read(tmp_path / "items.parquet").compare(part.items())
    assert left.class_names == ("2", "12") and changes.counts()["added"] == 1
    np.testing.assert_array_equal(left.labels, recorded.items.labels)


def test_the_form_of_a_letter_in_a_class_is_no_change(tmp_path):
    write_image(tmp_path / "a.png", 1)
    items = Items.build([str(tmp_path / "a.png")], ["e\u0301"], "train", ["a.png"], "zero-shot")
    record = RecordedItems.of(replace(items, class_names=("e\u0301",)))  # as one before had it
    left, changes = record.compare(items)
    assert len(left) == 1 and str(changes) == ""
    assert record.seen_in(items, record.digests) == {"classes": 1, "images": 1}


def test_another_class_is_a_change(tmp_path):
    paths = [str(write_image(tmp_path / f"{i}.jpg", i)) for i in range(4)]
    recorded = RecordedItems.of(Items.build(paths, list("aabb"), "train", paths, "zero-shot"))
    now = Items.build(paths, list("abbb"), "train", paths, "zero-shot")
    left, changes = recorded.compare(now)
    assert list(left.ids) == [paths[0], *paths[2:]] and list(changes.changed.ids) == [paths[1]]


def test_drawn_images_and_members_of_archives_have_digests(tmp_path):
    drawn = RecordedItems.of(Glyphs(classes=2, samples=3).items())
    assert len(set(drawn.digests)) == 6
    packed = RecordedItems.of(Omniglot(root=str(omniglot(tmp_path))).read())
    assert len(packed.digests[0]) == 64 and packed.items.super_labels is not None
    packed.write(tmp_path / "items.parquet")
    read = RecordedItems.read(tmp_path / "items.parquet")
    np.testing.assert_array_equal(read.items.super_labels, packed.items.super_labels)


def test_counts_the_classes_and_images_that_were_seen(part, file, tmp_path):
    items = part.items()
    trained = items.paths[items.splits == "train"]
    tested = items.paths[items.splits == "test"]
    other = tmp_path / "other"
    write_image(other / "unknown" / "1.jpg", 70)
    (other / "unknown" / "copy.jpg").write_bytes(Path(trained[0]).read_bytes())
    (other / "unknown" / "fine.jpg").write_bytes(Path(tested[0]).read_bytes())
    name = items.class_names[items.labels[items.splits == "train"][0]]
    write_image(other / name / "2.jpg", 71)
    unseen = items.class_names[items.labels[items.splits == "test"][0]]
    write_image(other / unseen / "3.jpg", 72)
    found = ImageFolder(root=str(other), test_fraction=0, validation_fraction=0).items()
    digests = image_digests(found.paths, threads=1)
    assert RecordedItems.read(file).seen_in(found, digests) == {"classes": 1, "images": 1}


def test_an_image_that_can_not_be_read_is_an_error_or_recorded_as_such(part, tmp_path):
    items, faults = part.items(), {}
    (tmp_path / items.paths[0]).unlink()
    whole = (tmp_path / items.paths[1]).read_bytes()
    (tmp_path / items.paths[1]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="no such file"):
        RecordedItems.of(items)
    recorded = RecordedItems.of(items, unreadable=faults)
    assert sorted(faults) == [0, 1] and (recorded.digests[:2] == "").all()
    assert sum(recorded.unreadable().values()) == 2
    assert recorded.seen_in(items, recorded.digests)["images"] < len(items)
    recorded.write(tmp_path / "items.parquet")
    (tmp_path / items.paths[1]).write_bytes(whole)  # repaired since: it was not trained on
    left, changes = RecordedItems.read(tmp_path / "items.parquet").compare(items)
    assert set(left.ids) == set(items.ids[2:]) and str(changes) == ""


def damage(table, column, value):
    table = table.copy()
    table[column] = table[column].astype(object)
    table.loc[0, column] = value
    return table


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(columns="split"),
        lambda table: table[:0],
        lambda table: damage(table, "split", "best"),
        lambda table: damage(table, "class", None),
        lambda table: table.assign(label=table["label"] + 1),
        lambda table: table.assign(label=0),
        lambda table: table.assign(id="one"),
        lambda table: table.assign(protocol="other"),
        lambda table: table.assign(label="x"),
    ],
)
def test_a_damaged_record_is_named(file, change):
    change(pd.read_parquet(file)).to_parquet(file)
    with pytest.raises(ValueError, match=r"items\.parquet: damaged"):
        RecordedItems.read(file)


def test_a_record_that_is_no_table_is_named(file):
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"items\.parquet: damaged"):
        RecordedItems.read(file)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="what the run was trained on"):
        RecordedItems.read(file)


def test_a_record_is_written_durably(tmp_path, monkeypatch):
    items = Glyphs(classes=4, samples=2).items()
    journal = Journal(monkeypatch)
    RecordedItems.of(items).write(tmp_path / "items.parquet")
    journal.require_durable(tmp_path / "items.parquet")


@pytest.mark.parametrize("name", ["webdataset", "parquet"])
def test_images_in_shards_are_recorded_and_compared(tmp_path, name):
    (tmp_path / "here").mkdir()
    part = layout_part(DATASETS, name, tmp_path / "here", test_fraction=0.0)
    recorded = RecordedItems.of(part.items())
    assert recorded.digests[0] == hashlib.sha256(png(0)).hexdigest()
    recorded.write(tmp_path / "record.parquet")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = replace(part, root=part.root.replace("/here/", "/there/"))
    left, changes = RecordedItems.read(tmp_path / "record.parquet").compare(moved.items())
    assert not str(changes) and len(left) == 10 and left.paths[0].startswith(f"{tmp_path}/there/")
    shard = sorted((tmp_path / "there").iterdir())[0]
    if name == "parquet":
        write_parquet(shard, [png(99), *map(png, range(1, 5))], label=[0, 0, 1, 1, 2])
    else:
        shard.write_bytes(shard.read_bytes().replace(png(0)[-30:], png(0)[-30:][::-1]))
    _, changes = recorded.compare(moved.items())
    assert changes.counts() == {"added": 0, "missing": 0, "changed": 1}

"""The files of a run."""

import os

import pytest

from dml._storage.atomic import write_text
from dml._storage.records import write_sealed
from dml._storage.run_folder import RunFolder, RunManifest
from dml._storage.study_folder import StudyFolder, StudyManifest
from dml.errors import DataError, DmlError, OccupiedError
from tests.storage.durability import Journal


def test_a_run_is_never_overwritten(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    write_text(folder.recipe, "")
    with pytest.raises(ValueError, match="already holds a run"):
        folder.create()


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"recipe\.toml is missing"):
        RunFolder(tmp_path).open()


def test_the_log_is_read_as_written(tmp_path):
    folder = RunFolder(tmp_path).create()
    assert folder.read_log() == []
    folder.append_log({"epoch": 1})
    folder.append_log({"epoch": 2})
    assert folder.read_log() == [{"epoch": 1}, {"epoch": 2}]


def test_a_line_cut_short_is_left_out_and_later_epochs_are_trimmed(tmp_path):
    folder = RunFolder(tmp_path).create()
    for epoch in (1, 2, 3):
        folder.append_log({"epoch": epoch})
    with open(folder.log, "a") as file:
        file.write('{"epoch": 4, "lo')
    assert [row["epoch"] for row in folder.read_log()] == [1, 2, 3]
    folder.trim_log(2)
    assert folder.log.read_text() == '{"epoch": 1}\n{"epoch": 2}\n'


def test_half_written_lines_cost_no_others(tmp_path):
    folder = RunFolder(tmp_path).create()
    whole = [f'{{"epoch": {epoch}, "loss": {epoch}.5}}\n' for epoch in range(1, 6)]
    others = ["[1]\n", '{"epoch": "2"}\n', '{"loss": 1}\n', '{"epoch": 2, "loss": []}\n', "\xff\n"]
    half = whole[1][:9]
    text = whole[0] + half + whole[1] + whole[2] + half + "\n" + whole[3] + "".join(others)
    folder.log.write_text(text + whole[4] + half, encoding="latin-1")
    rows = [{"epoch": epoch, "loss": epoch + 0.5} for epoch in (1, 3, 4, 5)]
    assert folder.read_log() == rows  # the line behind half a one is lost with it
    folder.append_log({"epoch": 5, "loss": 6.0})
    folder.trim_log(4)
    assert folder.read_log() == rows[:3]


def begun(path):
    folder = RunFolder(path).create()
    folder.begin("[loss]\n", ())
    return folder


def test_what_is_recorded_is_known_again_and_what_is_not_is_refused(tmp_path):
    folder = begun(tmp_path / "run")
    file = folder.path / "evaluation" / "birds" / "vectors.npy"
    write_text(file, "vectors")
    folder.record(file)
    assert folder.checked(file) == file and folder.begun_with() == ("[loss]\n", {})
    write_text(file, "vector5")
    with pytest.raises(ValueError, match=r"vectors\.npy: damaged, .* evaluate the run again"):
        folder.checked(file)
    write_text(folder.encoder, "never recorded")
    with pytest.raises(ValueError, match=r"encoder\.keras: damaged, .*--resume` writes it again"):
        folder.checked(folder.encoder)
    with pytest.raises(FileNotFoundError, match=r"versions\.json: missing"):
        folder.read_json(folder.versions)


def test_a_run_that_has_begun_has_all_that_it_needs(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    write_text(folder.items, "items")
    folder.begin("[loss]\n", (), folder.items)
    assert folder.checked(folder.items) == folder.items


def test_a_new_file_whose_writing_was_interrupted_is_missing(tmp_path, monkeypatch):
    folder = begun(tmp_path / "run")
    replace = os.replace

    def interrupted(source, target):
        if str(target) == str(folder.metrics):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            folder.write_json(folder.metrics, {"R@1": 0.5})
    assert not folder.metrics.exists()
    folder.write_json(folder.metrics, {"R@1": 0.5})
    assert folder.read_json(folder.metrics) == {"R@1": 0.5}


def test_the_folder_of_a_study_is_none_of_a_run(tmp_path):
    StudyFolder(tmp_path).begin(StudyManifest("[loss]\n", [], 1))
    for check in (RunFolder(tmp_path).check_begun, RunFolder(tmp_path).check_new):
        with pytest.raises(OccupiedError, match=r"holds a study: `dml tune .* --resume` cont"):
            check()


@pytest.mark.parametrize(
    "value, field",
    [
        ([], "its value"),
        ({"R@1": 3}, "R@1"),
        ({"R@1": {"low": 0.1}}, r"R@1\.value"),
        ({"R@1": {"value": "a"}}, r"R@1\.value"),
        ({"R@1": {"value": 1, "low": True}}, r"R@1\.low"),
    ],
)
def test_a_field_of_another_type_is_named(tmp_path, value, field):
    folder = begun(tmp_path / "run")
    folder.write_json(folder.frozen, value)
    shape = {str: {"value": (int, float), str: (int, float, type(None))}}
    with pytest.raises(DataError, match=f"{field} is missing or not what dml writes there"):
        folder.read_json(folder.frozen, shape)


def test_a_run_takes_no_folder_in_which_another_has_left_files(tmp_path):
    for name in ("checkpoints", "log.jsonl", "encoder.keras", "evaluation"):
        (tmp_path / name / name).mkdir(parents=True)
        with pytest.raises(ValueError, match=f"holds {name} of an earlier run"):
            RunFolder(tmp_path / name).create()
    (tmp_path / "mine" / "notes").mkdir(parents=True)
    RunFolder(tmp_path / "mine").create()


def test_litter_is_removed_by_the_next_writer_but_no_bundle_that_is_being_made(tmp_path):
    folder = begun(tmp_path / "run")
    litter = [folder.path, folder.checkpoints, folder.evaluations / "birds" / "unfinished"]
    for path in litter:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".writing-x").touch()
    (folder.path / ".writing-bundle").mkdir()
    with folder.writing():
        assert not any((path / ".writing-x").exists() for path in litter)
    assert (folder.path / ".writing-bundle").exists()


@pytest.mark.parametrize("name", ["checkpoints", "evaluation", "tensorboard", "evaluation/birds"])
def test_a_run_is_not_written_through_links(tmp_path, name):
    folder = begun(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".writing-x").touch()
    (folder.path / name).parent.mkdir(exist_ok=True)
    (folder.path / name).symlink_to(tmp_path / "mine")
    with pytest.raises(ValueError, match=f"{name}: a link"), folder.writing():
        raise AssertionError("the run could be written")
    assert os.listdir(tmp_path / "mine") == [".writing-x"]


def test_a_log_that_is_a_link_is_not_written(tmp_path):
    folder = begun(tmp_path / "run")
    folder.log.symlink_to(tmp_path / "diary.txt")
    with pytest.raises(OSError):
        folder.append_log({"epoch": 1})
    assert not (tmp_path / "diary.txt").exists()


def test_a_pipe_among_the_files_of_a_run_is_refused(tmp_path):
    folder = begun(tmp_path / "run")
    for file in (folder.encoder, folder.log):
        os.mkfifo(file)
    with pytest.raises(ValueError, match="not a regular file"):
        folder.checked(folder.encoder)
    with pytest.raises(ValueError, match="not a regular file"):
        folder.read_log()
    folder.manifest.unlink()
    os.mkfifo(folder.manifest)
    with pytest.raises(ValueError, match="not a regular file"):
        folder.begun_with()


def test_the_log_is_flushed_with_each_line_and_its_name_once(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run").create()
    journal = Journal(monkeypatch)
    folder.append_log({"epoch": 1})
    assert journal.is_flushed(folder.log, journal.events)
    assert journal.is_flushed(folder.path, journal.events)
    folder.append_log({"epoch": 2})
    assert journal.is_flushed(folder.log, journal.events)
    folder.trim_log(1)
    journal.require_durable(folder.log)


def test_the_files_of_a_run_are_written_durably(tmp_path, monkeypatch):
    journal = Journal(monkeypatch)
    folder = begun(tmp_path / "runs" / "mine")
    assert journal.is_flushed(tmp_path / "runs", journal.events)
    folder.write_json(folder.frozen, {"R@1": {"value": 1}})
    journal.require_durable(folder.frozen)
    journal.require_durable(folder.manifest)


@pytest.mark.parametrize(
    "change, message",
    [({"schema": 2}, "of another version of dml"), ({"files": []}, "damaged: files is not what")],
)
def test_an_odd_manifest_is_named_with_the_way_on(tmp_path, change, message):
    folder = begun(tmp_path / "mine")
    written = RunManifest("[loss]\n", {"a.py": "1"}, {"items.parquet": "2"}).to_json()
    write_sealed(folder.manifest, written)
    assert folder.begun_with() == ("[loss]\n", {"a.py": "1"})
    write_sealed(folder.manifest, {**written, **change})
    with pytest.raises(DataError, match=f"{message}.*; remove it, and `dml train .* --resume`"):
        folder.begun_with()


@pytest.mark.parametrize("name", ["", "file"])
def test_what_can_not_be_a_folder_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(DmlError, match=r"must name the folder of a run|is a file, where a folder"):
        RunFolder(name and tmp_path / name).check_new()


def test_the_history_counts_on_from_stage_to_stage(tmp_path):
    folder = RunFolder(tmp_path)
    for stage, losses in (
        (folder.head_stage, [9.0, 8.0]),
        (folder, [7.0]),
        (folder.second_stage, [6.0, 5.0]),
    ):
        stage.append_log({"epoch": 0, "val_recall_at_1": 0.5})
        for epoch, loss in enumerate(losses, start=1):
            stage.append_log({"epoch": epoch, "loss": loss})
    rows = folder.read_history()
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row.get("loss") for row in rows] == [None, 9.0, 8.0, 7.0, 6.0, 5.0]
    assert RunFolder(tmp_path / "none").read_history() == []

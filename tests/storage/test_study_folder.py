"""The files of a study: what it begins with is sealed, and a folder in use is not taken."""

import pytest

from dml._storage.study_folder import StudyFolder, StudyManifest
from dml.errors import DataError, MissingDataError, OccupiedError, OptionError

BEGUN = StudyManifest("[loss]\n", [{"options": {"a.b": [1, 2]}, "parts": {}}, None], 7)


def test_what_a_study_began_with_is_read_again(tmp_path):
    folder = StudyFolder(tmp_path / "new" / "study")
    folder.check_new()
    folder.begin(BEGUN)
    assert folder.begun_with() == BEGUN
    assert folder.recipe.read_text() == "[loss]\n" and folder.runs.is_dir()
    assert folder.run(12).path == folder.runs / "0012"


def test_damage_is_named(tmp_path):
    folder = StudyFolder(tmp_path)
    with pytest.raises(MissingDataError, match=r"no study to resume: study\.json is missing"):
        folder.begun_with()
    folder.begin(BEGUN)
    folder.manifest.write_text(folder.manifest.read_text().replace("7", "8", 1))
    with pytest.raises(DataError, match=r"study\.json: damaged"):
        folder.begun_with()
    folder.begin(StudyManifest("", [], "7"))
    with pytest.raises(DataError, match=r"study\.json: damaged: trials"):
        folder.begun_with()


def test_a_folder_in_use_is_not_taken(tmp_path):
    with pytest.raises(OptionError, match="The name is empty"):
        StudyFolder("")
    StudyFolder(tmp_path / "study").begin(BEGUN)
    for path, text in ((tmp_path / "study", "already holds a study"), (tmp_path, "is not empty")):
        with pytest.raises(OccupiedError, match=text):
            StudyFolder(path).check_new()
    (tmp_path / "file").touch()
    with pytest.raises(OccupiedError, match="is a file"):
        StudyFolder(tmp_path / "file").check_new()

"""`dml tune` as it is typed: its arguments reach the tuner, and wrong ones are one line."""

import pytest

from dml._storage.study_folder import StudyFolder, StudyManifest
from dml.cli import main
from dml.tuning import Tuner


@pytest.fixture
def called(monkeypatch):
    """What the tuner is called with."""
    found = {}

    def run(self, *arguments):
        found.update(recipe=self.recipe, space=self.space, run=arguments)

    def resume(*arguments):
        found.update(resume=(*arguments[:-2], arguments[-1]))

    monkeypatch.setattr(Tuner, "run", run)
    monkeypatch.setattr(Tuner, "resume", resume)
    return found


def test_arguments_reach_the_tuner(called):
    words = "glyphs --trials 5 --budget 90s --out x --search loss --losses circle triplet"
    words += " --confirm 3"
    assert main(["tune", *words.split(), "--training.epochs", "2"]) == 0
    assert called["run"] == ("x", 5, 90.0, "glyphs", 3)
    assert set(called["space"].parts["loss"]) == {"proxy_anchor", "circle", "triplet"}
    assert called["recipe"].training.epochs == 2 and not called["space"].options


def test_defaults(called):
    assert main(["tune", "glyphs"]) == 0
    assert called["run"] == (None, 20, None, "glyphs", 0)
    assert called["space"].options and set(called["space"].parts) == {"loss", "augmentation"}


def test_a_study_is_resumed(called):
    assert main(["tune", "tune/x", "--resume", "--trials", "9", "--budget", "2m"]) == 0
    assert called == {"resume": ("tune/x", 9, 120.0, False, 0)}
    assert main(["tune", "tune/x", "--resume", "--allow-parts", "--confirm", "2"]) == 0
    assert called == {"resume": ("tune/x", None, None, True, 2)}


@pytest.mark.parametrize(
    "words, message",
    [
        ("tune/x --resume --search rate", "--resume uses the study's own settings: leave out --se"),
        ("tune/x --resume --out y", "leave out --out"),
        ("tune/x --resume --loss.name triplet", "leave out --loss.name"),
        ("tune/x --resume", "tune/x: there is no study to resume"),
        ("glyphs --budget 20", "--budget must be a duration above 0, such as 90s"),
        ("glyphs --losses proxi_anchor", "Did you mean 'proxy_anchor'"),
        ("glyphs --trials 0", "trials must be positive"),
        ("glyphs --confirm -1", "confirm must be at least 0"),
        ("nothing", "no recipe, data set or folder of that name"),
    ],
)
def test_wrong_arguments_are_one_line(words, message, capsys):
    assert main(["tune", *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_study_is_not_taken_for_a_folder_of_images(tmp_path, capsys):
    StudyFolder(tmp_path).begin(StudyManifest("", [None, None], 1))
    assert main(["tune", str(tmp_path)]) == 2
    assert "is a study: continue it with --resume" in capsys.readouterr().err

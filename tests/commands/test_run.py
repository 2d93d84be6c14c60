"""`dml run` as it is typed; the steps themselves are tested with `dml.Workflow`."""

from dml.cli import main


def test_runs_and_stops_before_the_page(called):
    assert main(["run", "photos", "--budget", "20m", "--training.seed", "3"]) == 0
    assert called == [("of", "photos", None, 1200, ["--training.seed", "3"]), "run"]


def test_serves_at_the_end(called):
    assert main(["run", "photos", "--out", "here", "--serve"]) == 0
    assert called == [("of", "photos", "here", None, []), "run", "serve"]


def test_a_plan_is_all(called):
    assert main(["run", "photos", "--plan", "--serve"]) == 0
    assert called[1:] == ["plan"]


def test_an_error_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "nowhere"]) == 2
    assert main(["run", "glyphs", "--budget", "soon"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith("dml: nowhere: no recipe, data set or folder of that name")
    assert errors[1].startswith("dml: --budget must be a duration")
    assert not list(tmp_path.iterdir())

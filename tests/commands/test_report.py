"""`dml report` as it is typed; with a run it is tested by test_evaluate.py."""

from dml.cli import main


def test_a_run_without_an_encoder_is_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "recipe.toml is missing" in capsys.readouterr().err

"""`dml evaluate` as it is typed."""

import pytest

from dml.cli import main
from tests.runs.running import flags, train

pytestmark = pytest.mark.usefixtures("eager_training")


def test_prints_the_table_and_where_the_report_is(tmp_path, capsys):
    changes = {"training__epochs": 1, "evaluation__verification": "false"}
    folder = train("glyphs", flags(**changes), tmp_path / "run")
    capsys.readouterr()
    assert main(["evaluate", str(folder.path), "--evaluation.clustering_seeds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"report: {folder.report}"
    assert any(line.startswith("R@1 ") for line in lines)
    assert not any(line.startswith("NMI ") for line in lines)
    assert main(["report", str(folder.path)]) == 0
    assert capsys.readouterr().out == f"report: {folder.report}\n"
    assert main(["evaluate", str(tmp_path / "none")]) == 2
    assert "recipe.toml is missing" in capsys.readouterr().err

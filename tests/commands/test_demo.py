"""`dml demo`: what it trains, and where; the training itself is tests/commands/test_train.py."""

import dml.commands.demo as module
from dml.folders import RunFolder


def test_trains_on_glyphs_in_a_new_folder_and_says_where_the_report_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    called = {}

    def train(source, out, report):
        called.update(source=source, out=out)
        return RunFolder(out)

    monkeypatch.setattr(module, "train", train)
    lines = []
    module.demo(report=lines.append)
    assert called["source"] == "glyphs"
    assert str(called["out"]) == "runs/demo-2"
    assert lines == [f"open file://{tmp_path}/runs/demo-2/report.html"]
    module.demo(out=tmp_path / "mine", report=lines.append)
    assert called["out"] == tmp_path / "mine"

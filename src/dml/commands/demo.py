"""`dml demo`: the whole way on the embedded data set."""

from pathlib import Path

from dml.commands.train import free_folder, train


def demo(out=None, report=print):
    """Trains, evaluates and reports on `glyphs`, and says where the report is."""
    folder = train("glyphs", out=out or free_folder(Path("runs"), "demo"), report=report)
    report(f"open {folder.report.resolve().as_uri()}")

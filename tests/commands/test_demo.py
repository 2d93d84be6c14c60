"""`dml demo` is `dml run glyphs --serve`, in a folder of its own."""

import pytest

from dml.cli import main


@pytest.fixture
def called(monkeypatch):
    """What the command calls, in order."""
    calls = []

    class Workflow:
        def __init__(self, source, out, reporter):
            calls.append(("of", source, out))

        def run(self):
            calls.append("run")

        def serve(self):
            calls.append("serve")

    monkeypatch.setattr("dml.runs.Workflow", Workflow)
    return calls


def test_goes_the_whole_way(called):
    assert main(["demo"]) == 0
    assert called == [("of", "glyphs", "runs/demo"), "run", "serve"]


def test_can_stop_before_the_page(called):
    assert main(["demo", "--out", "here", "--no-page"]) == 0
    assert called == [("of", "glyphs", "here"), "run"]

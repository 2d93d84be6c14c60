"""What the tests of several commands share."""

import pytest


@pytest.fixture
def called(monkeypatch):
    """What the command calls, in order."""
    calls = []

    class Workflow:
        def __init__(self, source, out, budget=None, flags=(), reporter=None):
            calls.append(("of", source, out, budget, flags))

        def plan(self):
            calls.append("plan")

        def run(self):
            calls.append("run")

        def serve(self):
            calls.append("serve")

    monkeypatch.setattr("dml.runs.Workflow", Workflow)
    return calls

"""The bar, on a terminal and elsewhere."""

import io
import sys

from dml.commands.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("embedding", 10) as advance:
        advance(4)
        advance(6)
    return stream.getvalue()


def test_a_terminal_shows_what_is_done(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = shown(monkeypatch, Terminal())
    assert "embedding" in text and "100%" in text


def test_a_file_stays_clean(monkeypatch):
    assert shown(monkeypatch, io.StringIO()) == ""

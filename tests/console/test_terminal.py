"""Output of a command is harmless in any terminal, and libraries only print errors."""

import io
import logging
import sys
import warnings

import pytest

from dml._console.terminal import (
    complain,
    prepare_streams,
    printable,
    quiet_libraries,
    say,
)


@pytest.mark.parametrize(
    "text, shown",
    [
        ("caf\u00e9 \U0001f600 \u200d", "caf\u00e9 \U0001f600 \u200d"),  # a joiner belongs to words
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("a\r\nb\tc\x00\x7f\x9b2J", r"a\r\nb\tc\x00\x7f\x9b2J"),
        ("gpj.\u202etxt\u2028\u2066", r"gpj.\u202etxt\u2028\u2066"),
        (7, "7"),
    ],
)
def test_controls_are_shown_not_obeyed(text, shown, capsys):
    assert printable(text) == shown
    say(text)
    complain(f"a\n  {text}")
    printed = capsys.readouterr()
    assert printed.out == shown + "\n"
    assert printed.err.startswith("dml: a ") and printed.err.count("\n") == 1


def test_what_the_encoding_lacks_is_an_escape(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    prepare_streams()
    say("1.0 \u00b1 0.5, \udcff.jpg")
    assert out.buffer.getvalue() == rb"1.0 \xb1 0.5, \udcff.jpg" + b"\n"


def test_libraries_warn_nobody_and_their_errors_are_seen(capsys):
    level = logging.getLogger().level
    with quiet_libraries():
        logging.getLogger("grain").warning("chatter")
        warnings.warn("chatter", stacklevel=1)
        logging.getLogger("grain").error("broken")
        logging.getLogger("dml.training.loader").warning("left out: \x1b.jpg")
    printed = capsys.readouterr().err
    assert "chatter" not in printed and "left out: \\x1b.jpg\n" in printed
    assert logging.getLogger().level == level and not logging.getLogger("dml").handlers

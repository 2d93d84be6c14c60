"""Progress that a command shows, on a terminal and elsewhere."""

import io
import sys

import pytest

from dml._console.reporter import ConsoleReporter


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    with ConsoleReporter().progress("embedding", 10, "files") as advance:
        advance(4)
        advance(6)
    return stream.getvalue()


def test_a_terminal_shows_what_is_done(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = shown(monkeypatch, Terminal())
    assert "embedding" in text and "10/10 files" in text and "100%" in text


def test_a_file_stays_clean(monkeypatch):
    assert shown(monkeypatch, io.StringIO()) == ""


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self):
        return self.now


def trained(monkeypatch, stream, epochs=(0, 1), seconds=10.0):
    """Trains 2 epochs of 20 batches of 30 images, each of which takes some seconds."""
    monkeypatch.setattr(sys, "stderr", stream)
    clock, lines = Clock(), []
    reporter = ConsoleReporter(clock)
    monkeypatch.setattr(reporter, "info", lines.append)
    bars = reporter.training(epochs=2, steps=20, batch_size=30, done=epochs[0])
    with bars:
        for epoch in epochs:
            bars.epoch_began(epoch)
            for batch in range(20):
                clock.now += seconds
                bars.batch_ended(batch)
            bars._bars.refresh()
            bars.epoch_ended()
    return lines


def test_a_training_says_now_and_then_how_far_it_is(monkeypatch):
    stream = io.StringIO()
    lines = trained(monkeypatch, stream)
    assert stream.getvalue() == ""
    # 30 images in 10 s; after 6 of 20 batches of the first of 2 epochs.
    assert lines == [
        "epoch 1/2: 6 of 20 batches, 3.0 images/s, left 0:02:20 of the epoch, "
        "0:05:40 of the training"
    ]
    assert [line[:30] for line in trained(monkeypatch, stream, seconds=40.0)] == [
        "epoch 1/2: 2 of 20 batches, 0.",
        "epoch 1/2: 17 of 20 batches, 0",
        "epoch 2/2: 12 of 20 batches, 0",
    ]
    assert trained(monkeypatch, stream, epochs=(1,))[0].endswith(", 0:02:20 of the training")


def test_a_training_on_a_terminal_has_two_bars_and_no_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    assert trained(monkeypatch, stream) == []
    text = stream.getvalue()
    assert "epoch 1/2" in text and "epoch 2/2" in text and "training" in text
    assert "3.0 images/s" in text and "50%" in text and "0:03:20" in text


def test_the_bars_go_when_a_training_fails(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bars = ConsoleReporter().training(epochs=1, steps=1, batch_size=1, done=0)
    with pytest.raises(ZeroDivisionError), bars:
        bars.epoch_began(0)
        raise ZeroDivisionError
    assert not bars._bars.live.is_started


def test_the_bars_are_hidden_within_an_epoch_while_other_things_are_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bars = ConsoleReporter().training(epochs=1, steps=2, batch_size=1, done=0)
    with bars:
        bars.epoch_began(0)
        bars.batch_ended(0)
        with bars.paused():
            assert not bars._bars.live.is_started
        assert bars._bars.live.is_started
    assert not bars._bars.live.is_started


def test_lines_go_to_standard_output_and_warnings_to_standard_error(capsys):
    ConsoleReporter().info("12 images: \x1b[31m")
    ConsoleReporter().warning("a\nb")
    assert capsys.readouterr() == ("12 images: \\x1b[31m\n", "warning: a\\nb\n")

"""Ctrl-C is not lost where Python ignores exceptions."""

import gc
import signal
import sys
import time

import pytest

from dml._console.interrupts import lasting_interrupts


@pytest.fixture(autouse=True)
def handled():
    """Ctrl-C raises KeyboardInterrupt; processes of a parallel test run ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupted:
    def __del__(self):
        raise KeyboardInterrupt


def test_an_ignored_interrupt_is_raised_again(capsys):
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), lasting_interrupts():
        Interrupted()
        time.sleep(60)
    assert sys.unraisablehook is before and not capsys.readouterr().err


def test_one_in_a_callback_of_the_garbage_collector_as_well():
    def callback(phase, info):
        gc.callbacks.remove(callback)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), lasting_interrupts():
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(60)


def test_other_ignored_errors_are_shown_as_before(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: shown.append(unraisable.exc_type))

    class Wrong:
        def __del__(self):
            raise ValueError

    with lasting_interrupts():
        Wrong()
    assert shown == [ValueError]

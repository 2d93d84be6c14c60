"""The learning rate of each step: waiting, rising, falling."""

import keras
import pytest

from dml.training._parts_optimizer import Schedule


def rate(step, **options):
    return float(keras.ops.convert_to_numpy(Schedule(**options)(step)))


def test_waits_rises_and_falls_like_a_cosine():
    options = {"peak": 2.0, "kind": "cosine", "wait": 10, "warmup": 4, "total": 34}
    assert rate(0, **options) == rate(9, **options) == 0
    assert rate(10, **options) == pytest.approx(0.5)  # first of four steps of the rise
    assert rate(13, **options) == pytest.approx(2.0)
    assert rate(24, **options) == pytest.approx(1.0)  # half-way down
    assert rate(34, **options) == pytest.approx(0.0, abs=1e-6)


def test_steps_and_falls_exponentially():
    step = {"peak": 1.0, "kind": "step", "decay": 0.5, "decay_steps": 10}
    assert [rate(s, **step) for s in (0, 9, 10, 25)] == pytest.approx([1, 1, 0.5, 0.25])
    smooth = {**step, "kind": "exponential"}
    assert rate(5, **smooth) == pytest.approx(0.5**0.5)


def test_schedule_is_saved():
    schedule = Schedule(peak=0.1, kind="cosine", total=5)
    copy = Schedule.from_config(schedule.get_config())
    assert copy.get_config() == schedule.get_config()

"""The time of a training by a clock that is set by hand."""

import grain
import pytest

from dml.training._stopwatch import Stopwatch, Waiting


class Clock:
    """Stands still until it is set."""

    now = 100.0

    def __call__(self):
        return self.now


def reading(clock, ready):
    """Yields as a source of batches that are ready at these times from now."""
    start = clock.now
    for at in ready:
        clock.now = start + at
        yield at


def test_waits_until_each_batch_is_there():
    clock = Clock()
    waiting = Waiting(clock)

    def slow(number):
        clock.now += number
        return number

    batches = (
        grain.MapDataset.range(1, 4)
        .map(slow)
        .to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    )
    found = waiting.timed(batches)
    assert list(found) == [1, 2, 3] and waiting.seconds == 1 + 2 + 3
    clock.now += 50.0
    assert waiting.seconds == 6


def test_an_iterator_goes_on_from_its_state():
    batches = Waiting().timed(grain.MapDataset.range(5).to_iter_dataset())
    assert next(batches) == 0
    state = batches.get_state()
    assert [next(batches), next(batches)] == [1, 2]
    batches.set_state(state)
    assert next(batches) == 1


@pytest.mark.parametrize("ready, waited", [((0, 0, 0), 0), ((3, 5, 40), 23), ((0, 12, 25), 7)])
def test_waits_for_batches_of_another_thread_that_get_ready_within_a_step(ready, waited):
    clock = Clock()
    waiting = Waiting(clock)
    start = clock.now
    batches = waiting.watched(reading(clock, ready))
    for _ in ready:
        next(batches)
    for began in (0, 10, 20):
        clock.now = start + began
        waiting.step_began()
        waiting.step_ended()
    assert waiting.seconds == waited


def test_compiling_before_the_first_batch_is_asked_for_is_no_waiting():
    clock = Clock()
    waiting = Waiting(clock)
    batches = waiting.watched(reading(clock, [1, 1]))  # from then on
    waiting.step_began()
    clock.now += 8.0
    next(batches), next(batches)
    waiting.step_ended()
    assert waiting.seconds == 1.0


def test_another_stream_of_batches_begins_anew():
    clock = Clock()
    waiting = Waiting(clock)
    first = waiting.watched("abc")
    next(first), next(first)
    second = waiting.watched(reading(clock, [4.0]))
    waiting.step_began()
    next(second)
    next(first)  # still read ahead by its thread
    waiting.step_ended()
    assert waiting.seconds == 4.0


def test_splits_the_time_between_rows():
    clock = Clock()
    watch = Stopwatch(batch_size=10, clock=clock)
    for _ in range(3):
        with watch.waiting.counted():
            clock.now += 1.0
        clock.now += 2.0
        watch.step_ended()
    with watch.validating():
        clock.now += 6.0
    assert watch.row() == {
        "seconds": 15.0,
        "waiting_seconds": 3.0,
        "step_seconds": 6.0,
        "images_per_second": round(30 / 9, 2),
        "validation_seconds": 6.0,
    }
    with watch.validating():
        clock.now += 0.5
    assert watch.row() == {"seconds": 0.5, "validation_seconds": 0.5}
    clock.now += 9.0
    watch.restart()
    assert watch.row() == {"seconds": 0.0}

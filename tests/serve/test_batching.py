"""Requests at the same time share a batch; each gets its own answer."""

import asyncio
import threading

import numpy as np
import pytest

from dml.serve._batching import Batcher, Overloaded

PATIENCE = 60  # seconds, which only a batcher that does not work takes


def image(value):
    return np.full((2, 2, 3), value, "uint8")


def means(images):
    return np.stack(images).astype("float32").mean(axis=(1, 2, 3))[:, None]


@pytest.mark.parametrize("threads", [1, 3])
def test_each_gets_its_own_and_batches_grow(threads):
    released = threading.Event()

    def process(images):
        assert released.wait(PATIENCE)
        return means(images)

    async def work():
        sizes = []
        async with Batcher(
            process, 8, max_pending=100, threads=threads, observe=sizes.append
        ) as batcher:
            tasks = [asyncio.create_task(batcher.submit(image(n))) for n in range(50)]
            await asyncio.sleep(0)  # all have been submitted
            released.set()
            found = await asyncio.gather(*tasks)
        return sizes, [vector.item() for vector in found]

    sizes, found = asyncio.run(work())
    assert found == list(range(50)) and max(sizes) == 8 and sum(sizes) == 50


def test_a_full_queue_is_overloaded_and_an_error_is_raised_to_all():
    begun, released = threading.Event(), threading.Event()

    def slow(images):
        begun.set()
        assert released.wait(PATIENCE)
        if np.max(images) == 9:
            raise RuntimeError("broken")
        return means(images)

    async def work():
        async with Batcher(slow, max_size=1, max_pending=2) as batcher:
            first = asyncio.create_task(batcher.submit(image(1)))
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            waiting = [asyncio.create_task(batcher.submit(image(n))) for n in (9, 3)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await batcher.submit(image(4))
            released.set()
            answers = await asyncio.gather(first, *waiting, return_exceptions=True)
        return answers

    first, broken, last = asyncio.run(work())
    assert first.item() == 1 and last.item() == 3 and isinstance(broken, RuntimeError)


def test_an_exception_among_the_answers_is_for_one_alone():
    def halves(numbers):
        return [n // 2 if n % 2 == 0 else ValueError("odd") for n in numbers]

    async def work():
        async with Batcher(halves) as batcher:
            asked = [batcher.submit(n) for n in range(4)]
            return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third, fourth = asyncio.run(work())
    assert (first, third) == (0, 1)
    assert isinstance(second, ValueError) and isinstance(fourth, ValueError)


def test_threads_have_batches_at_the_same_time():
    met = threading.Barrier(2, timeout=PATIENCE)

    async def work():
        async with Batcher(lambda x: [met.wait() for _ in x], max_size=1, threads=2) as batcher:
            return await asyncio.gather(
                *(batcher.submit(n) for n in (1, 2)), return_exceptions=True
            )

    assert len(asyncio.run(work())) == 2 and not met.broken


def test_cancelled_requests_are_not_processed():
    seen, begun, released = [], threading.Event(), threading.Event()

    def slow(numbers):
        seen.append(numbers)
        begun.set()
        assert released.wait(PATIENCE)
        return numbers

    async def work():
        async with Batcher(slow) as batcher:
            first = asyncio.create_task(batcher.submit(0))
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            tasks = [asyncio.create_task(batcher.submit(n)) for n in (1, 2, 3)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.sleep(0)
            released.set()
            await asyncio.gather(first, *tasks, return_exceptions=True)

    asyncio.run(work())
    assert seen == [[0], [2, 3]]


def test_a_stop_waits_for_the_batch_and_lets_the_others_go():
    begun, released = threading.Event(), threading.Event()

    def slow(images):
        begun.set()
        assert released.wait(PATIENCE)
        return means(images)

    async def work():
        async with Batcher(slow, max_size=1) as batcher:
            first, second = (asyncio.create_task(batcher.submit(image(n))) for n in (1, 2))
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            second.add_done_callback(lambda _: released.set())  # while the stop waits for `first`
        alive = any(thread.is_alive() for thread in batcher.threads)
        return await asyncio.gather(first, second, return_exceptions=True), alive

    (first, second), alive = asyncio.run(work())
    assert first.item() == 1 and isinstance(second, asyncio.CancelledError) and not alive


def test_a_stop_leaves_what_hangs(monkeypatch, capsys):
    monkeypatch.setattr("dml.serve._batching.STOP_TIMEOUT", 0.0)
    begun, released = threading.Event(), threading.Event()

    def hang(numbers):
        begun.set()
        assert released.wait(PATIENCE)
        return numbers

    async def work():
        async with Batcher(hang) as batcher:
            asked = asyncio.create_task(batcher.submit(0))
            assert await asyncio.to_thread(begun.wait, PATIENCE)
        (thread,) = batcher.threads
        assert thread.is_alive() and thread.daemon and not asked.done()
        asked.cancel()
        return thread

    thread = asyncio.run(work())
    released.set()
    thread.join(PATIENCE)
    assert not thread.is_alive() and capsys.readouterr().err == ""

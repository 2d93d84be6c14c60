"""Threads: bounded in number and in time."""

import asyncio
import threading

import pytest

from dml.serve._batching import Overloaded
from dml.serve._workers import Workers


def test_runs_functions_and_raises_their_errors():
    async def work():
        async with Workers(2, max_pending=4, timeout=600) as workers:
            assert await workers.run(pow, 2, 5) == 32
            with pytest.raises(ZeroDivisionError):
                await workers.run(divmod, 1, 0)

    asyncio.run(work())


def put_forward(loop, seconds):
    """Moves the clock of a loop."""
    now = loop.time
    loop.time = lambda: now() + seconds


def test_more_calls_than_allowed_are_refused_and_slow_ones_time_out():
    begun, released, ran = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        released.wait(60)

    async def work():
        async with Workers(1, max_pending=1, timeout=600) as workers:
            first = asyncio.create_task(workers.run(slow))
            assert await asyncio.to_thread(begun.wait, 60)
            second = asyncio.create_task(workers.run(ran.append, 2))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await workers.run(pow, 2, 5)
            put_forward(asyncio.get_running_loop(), 601)
            results = await asyncio.gather(first, second, return_exceptions=True)
            assert [type(one) for one in results] == [TimeoutError] * 2
            released.set()
            while True:  # until the thread has passed over the call that timed out
                try:
                    return await workers.run(pow, 2, 5)
                except Overloaded:
                    await asyncio.sleep(0.001)

    assert asyncio.run(work()) == 32 and ran == []

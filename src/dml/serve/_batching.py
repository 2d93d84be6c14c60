"""Concurrent requests, processed together."""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable

STOP_TIMEOUT = 2.0  # seconds that a stop waits for threads


class Overloaded(Exception):
    """More requests are pending than the service accepts; try again later."""


class Batcher:
    """Collects requests while its threads are busy and processes them as their next batch.

    There is no delay: a lone request is processed at once, and batches grow with the load. Use as
    an asynchronous context manager, which in the end waits two seconds for batches: those that
    hang, such as a read from a server that does not answer, are left to the end of the process.

    Args:
        process: A function from a list of inputs to as many results, or exceptions to raise
            instead of some; called in each of the threads.
        max_size: Largest batch; positive.
        max_pending: Number of inputs that may wait; positive.
        threads: Number of batches processed at the same time; positive.
        observe: Called in these threads with the size of each batch; None for no call.
    """

    def __init__(
        self,
        process: Callable[[list], list],
        max_size: int = 32,
        max_pending: int = 128,
        threads: int = 1,
        observe: Callable[[int], None] | None = None,
    ):
        self._process = process
        self._max_size = max_size
        self._observe = observe or (lambda size: None)
        self._pending = queue.Queue(max_pending)
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    async def __aenter__(self):
        self._loop = asyncio.get_running_loop()
        for thread in self.threads:
            thread.start()
        return self

    async def __aexit__(self, *error):
        with self._pending.mutex:  # pending requests are not processed any more
            left = [future for _, future in self._pending.queue]
            self._pending.queue.clear()
        for future in left:
            future.cancel()
        self._pending.put(None)
        end = time.monotonic() + STOP_TIMEOUT
        for thread in self.threads:
            await asyncio.to_thread(thread.join, max(0, end - time.monotonic()))

    async def submit(self, value):
        """Returns the result for one input.

        Raises:
            Overloaded: Too many inputs are pending.
        """
        future = self._loop.create_future()
        try:
            self._pending.put_nowait((value, future))
        except queue.Full:
            raise Overloaded from None
        return await future

    def _work(self):
        """Processes batch after batch until stopped."""
        while taken := self._take():
            batch = [one for one in taken if not one[1].done()]  # the others were cancelled
            if not batch:
                continue
            self._observe(len(batch))
            try:
                results = self._process([value for value, _ in batch])
            except BaseException as error:  # raised to each caller; the service stays up
                results = [error] * len(batch)
            with contextlib.suppress(RuntimeError):  # the loop ended before this batch
                self._loop.call_soon_threadsafe(_deliver, batch, results)

    def _take(self):
        """Returns the next batch once something is pending; an empty one when stopped."""
        batch = [self._pending.get()]
        with contextlib.suppress(queue.Empty):
            while batch[-1] is not None and len(batch) < self._max_size:
                batch.append(self._pending.get_nowait())
        if batch[-1] is None:
            self._pending.put(batch.pop())  # for the other threads, and for this one's next batch
        return batch


def _deliver(batch, results):
    """Passes results, or exceptions instead of some, to the waiting requests."""
    for (_, future), result in zip(batch, results, strict=True):
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

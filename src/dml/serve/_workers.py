"""Threads for work that is not batched."""

import asyncio
from collections.abc import Callable
from functools import partial

from dml.serve._batching import Batcher


class Workers:
    """Runs functions in threads. Use as an asynchronous context manager.

    Args:
        threads: Number of threads; positive.
        max_pending: Number of calls that may wait; positive.
        timeout: Timeout in seconds for one call. Its thread is busy until the call ends.
    """

    def __init__(self, threads: int, max_pending: int, timeout: float):
        self._calls = Batcher(lambda calls: [call() for call in calls], 1, max_pending, threads)
        self._timeout = timeout

    async def __aenter__(self):
        await self._calls.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._calls.__aexit__(*error)

    async def run(self, function: Callable, *arguments):
        """Returns the function's result.

        Raises:
            Overloaded: Too many calls are pending.
            TimeoutError: The call takes too long.
        """
        async with asyncio.timeout(self._timeout):
            return await self._calls.submit(partial(function, *arguments))

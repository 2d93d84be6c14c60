"""Threads for work that is not batched."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dml.serve._batching import Overloaded


class Workers:
    """Runs functions in threads. Use as an asynchronous context manager.

    Args:
        threads: Number of threads; positive.
        max_pending: Number of calls that may run or wait.
        timeout: Timeout in seconds for one call.
    """

    def __init__(self, threads: int, max_pending: int, timeout: float):
        self._executor = ThreadPoolExecutor(threads)
        self._max_pending = max_pending
        self._timeout = timeout
        self._pending = 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        self._executor.shutdown(cancel_futures=True)

    async def run(self, function: Callable, *arguments):
        """Returns the function's result.

        Raises:
            Overloaded: Too many calls are pending.
            TimeoutError: The call takes too long.
        """
        if self._pending >= self._max_pending:
            raise Overloaded
        self._pending += 1
        try:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._executor, partial(function, *arguments))
        finally:
            self._pending -= 1

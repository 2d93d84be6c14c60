"""Reading images in threads, some of them ahead of those that are used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dml._threads import reading_threads
from dml.images._opencv import single_threaded_opencv

Item = TypeVar("Item")
Read = TypeVar("Read")


def read_ahead(
    read: Callable[[Item], Read], items: Iterable[Item], threads: int | None, ahead: int
) -> Iterator[Read]:
    """Yields `read(item)` of each item, in order, called in threads.

    Args:
        read: Called in several threads at once; its errors are raised where its result would be
            yielded.
        items: Its arguments.
        threads: As of `reading_threads`.
        ahead: Items read in advance.
    """
    pool = ThreadPoolExecutor(reading_threads(threads))
    waiting = deque()
    with single_threaded_opencv():
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

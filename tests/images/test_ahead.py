"""Reading ahead keeps the order, reads no further than it may, and raises where it failed."""

import threading

import cv2
import pytest

from dml.images._ahead import read_ahead


@pytest.mark.parametrize("threads, ahead", [(1, 0), (3, 2), (2, 100)])
def test_keeps_the_order(threads, ahead):
    assert list(read_ahead(lambda n: n * n, range(20), threads, ahead)) == [
        n * n for n in range(20)
    ]


def test_reads_no_further_ahead_than_it_may():
    read, lock = [], threading.Lock()

    def note(n):
        with lock:
            read.append(n)
        return n

    numbers = read_ahead(note, range(100), threads=2, ahead=4)
    assert next(numbers) == 0
    numbers.close()
    assert set(read) <= set(range(5))


def test_raises_where_it_failed_and_restores_opencvs_threads():
    before = cv2.getNumThreads()

    def fail(n):
        if n == 2:
            raise KeyError(n)
        return n

    found = []
    with pytest.raises(KeyError):
        for n in read_ahead(fail, range(9), threads=2, ahead=3):
            found.append(n)
    assert found == [0, 1] and cv2.getNumThreads() == before

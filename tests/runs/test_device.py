"""The device's name, and memory."""

import numpy as np

from dml.runs._device import device_name, peak_memory


def test_names_what_the_backend_computes_on():
    assert device_name().split()[-1] in ("core", "cores") or ":" in device_name()


def test_memory_that_was_taken_stays_in_the_peak():
    before = peak_memory()
    taken = np.ones(max(before // 4, 2**26), "float64")  # twice the peak so far
    assert peak_memory() >= before + taken.nbytes // 4

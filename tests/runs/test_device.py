"""The device's name, and memory."""

import subprocess
import sys

from dml.runs._device import device_memory, device_name


def test_names_what_the_backend_computes_on():
    assert device_name().split()[-1] in ("core", "cores") or ":" in device_name()


def test_memory_of_the_device_is_counted_where_there_is_an_accelerator():
    assert (device_memory() > 0) == (":" in device_name())


def test_memory_that_was_taken_stays_in_the_peak():
    code = (
        "from dml.runs._device import peak_memory; import numpy; before = peak_memory(); "
        "taken = numpy.ones(2**26); del taken; print(peak_memory() - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(run.stdout) > 2**28  # of 2**29 bytes; the process has taken much less before

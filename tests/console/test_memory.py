"""Errors caused by a lack of memory."""

import numpy as np
import pytest

from dml._console.memory import shortage


def test_knows_a_shortage_by_what_libraries_say():
    for error in (
        MemoryError(),
        ImportError("libtensorflow_cc.so.2: failed to map segment from shared object"),
        ImportError("Exception caught: std::bad_alloc"),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:66] DefaultCPUAllocator: not enough memory"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    ):
        assert shortage(error) == (str(error).rstrip(".") or "MemoryError")
    with pytest.raises(MemoryError) as numpy_error:
        np.empty(1 << 60, "uint8")
    assert shortage(numpy_error.value)
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise SystemError("of a library") from None
    except SystemError as error:
        assert shortage(error) == "MemoryError"
    many = RuntimeError("Graph execution error:\n\n  OOM when allocating tensor\n\nmore")
    assert shortage(many) == "OOM when allocating tensor"
    assert shortage(TypeError("unsupported operand")) is None

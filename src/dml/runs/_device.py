"""The device that Keras computes on, and the memory that a process has taken."""

import re
import resource
import sys
from pathlib import Path

from dml._text import number_of
from dml._threads import processors


def device_name() -> str:
    """Returns the device that Keras' backend places its arrays on: "2 processor cores", "gpu:0"."""
    import keras

    # As the backends write it: "cpu", "cuda:0", "TFRT_CPU_0", "/job:localhost/.../device:GPU:0".
    name = str(keras.ops.convert_to_tensor(0.0).device).lower().rpartition("device:")[2]
    if "cpu" in name:
        return number_of(processors(), "processor core")
    return name


def device_memory() -> int:
    """Returns the most memory that was taken on an accelerator so far, in bytes; 0 without one."""
    import keras

    match keras.backend.backend():
        case "jax":
            import jax

            return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
        case "tensorflow":
            import tensorflow as tf

            if tf.config.list_logical_devices("GPU"):
                return tf.config.experimental.get_memory_info("GPU:0")["peak"]
        case "torch":
            import torch

            if torch.cuda.is_available():
                return torch.cuda.max_memory_allocated()
    return 0


def peak_memory() -> int:
    """Returns the most memory that this process has taken so far, in bytes.

    Without the memory of an accelerator.
    """
    status = Path("/proc/self/status")
    if status.exists():  # Linux' getrusage counts the memory of the parent process, too
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        if peak:
            return 1024 * int(peak[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

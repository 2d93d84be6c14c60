"""Memory of this process, as Linux measures it, or of the GPU, as its backend does."""

from pathlib import Path


def memory_mib(field):
    """Returns a field of this process's memory, `VmRSS` now or `VmHWM` at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {field} in /proc/self/status")


def restart_peak():
    """Resets the peak to the current memory."""
    Path("/proc/self/clear_refs").write_text("5")


def growth_mib(work, backend):
    """Returns how far memory grows at most while work() runs three times.

    It is the backend's memory on a GPU, if it has one, or else this process's.
    """
    now, most = counters(backend)
    before = now()
    for _ in range(3):
        work()
    return most() - before


def counters(backend):
    """Returns two functions: the memory now, and at its peak from here on, in MiB.

    JAX counts a GPU's peak from the start of the process.
    """
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            counts = torch.cuda.memory_allocated, torch.cuda.max_memory_allocated
            return [lambda count=count: count() / 2**20 for count in counts]
    elif backend == "jax":
        import jax

        device, fields = jax.local_devices()[0], ("bytes_in_use", "peak_bytes_in_use")
        if device.platform != "cpu":
            return [lambda field=field: device.memory_stats()[field] / 2**20 for field in fields]
    else:
        import tensorflow as tf

        memory = tf.config.experimental
        if tf.config.list_physical_devices("GPU"):
            memory.reset_memory_stats("GPU:0")
            fields = ("current", "peak")
            return [lambda f=field: memory.get_memory_info("GPU:0")[f] / 2**20 for field in fields]
    restart_peak()
    return [lambda field=field: memory_mib(field) for field in ("VmRSS", "VmHWM")]

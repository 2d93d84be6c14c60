"""The libraries that a command needs, and loading them."""

import enum
import os
import resource

from dml._streams import held_back

_GIB = 2**30


class Runtime(enum.Enum):
    """The libraries that a command computes with."""

    NONE = "none"
    ENCODER = "encoder"  # ONNX Runtime and FAISS
    KERAS = "keras"  # Keras and its backend


# Address space in GiB that a command needs with few images: a minimum, and an addition for each
# processor, whose threads reserve some. Measured: 2.0 to 2.5 and 4.5 to 5.0 GiB with two
# processors.
ADDRESS_SPACE = {Runtime.ENCODER: (1.5, 0.5), Runtime.KERAS: (4.0, 0.5)}


def load_runtime(runtime: Runtime) -> None:
    """Checks that there is memory for a runtime, and imports Keras where it is needed.

    TensorFlow prints before it reads its log level: that output is hidden, and shown if the import
    fails.

    Raises:
        MemoryError: The address space is limited to less than the runtime takes.
        ModuleNotFoundError: Keras or its backend is not installed.
    """
    check_address_space(runtime)
    if runtime is Runtime.KERAS:
        with held_back():
            import keras  # noqa: F401


def check_address_space(runtime: Runtime) -> None:
    """Raises an error if the address space is too limited for libraries to load without crashing.

    OpenBLAS, FAISS and ONNX Runtime end the process when they get no memory, so no error could be
    shown afterwards.

    Raises:
        MemoryError: The limit is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if runtime is Runtime.NONE or limit == resource.RLIM_INFINITY:
        return
    least, each = ADDRESS_SPACE[runtime]
    need = least + each * (os.cpu_count() or 1)
    if limit < need * _GIB:
        raise MemoryError(
            f"the address space is limited to {limit / _GIB:.1f} GiB (`ulimit -v`), and this "
            f"command takes about {need:g}: raise the limit"
        )

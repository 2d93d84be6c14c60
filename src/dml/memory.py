"""What a process may take of memory, and which failures are for want of it."""

import os
import re
import resource

GIB = 2**30
# Address space that a command takes with few images: at least, and for each processor, whose
# threads reserve some. Measured: 2.0 to 2.5 and 4.5 to 5.0 GiB with two processors.
LIGHT = (1.5, 0.5)
BACKED = (4.0, 0.5)  # with Keras and its backend
SHORTAGE = re.compile(
    "bad_alloc|failed to map segment|cannot allocate memory|can't allocate memory|out of memory|"
    "not enough memory|unable to allocate|failed to allocate|resource_exhausted|"
    "resource exhausted|can't start new thread|cannot create thread|pthread_create",
    re.IGNORECASE,
)


def check_address_space(backed):
    """Refuses a limit of the address space in which libraries would crash as they load.

    OpenBLAS, FAISS and ONNX Runtime end the process where they get no memory: no error of theirs
    could be shown any more.

    Args:
        backed: Whether the command uses Keras.

    Raises:
        MemoryError: The limit is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    least, each = BACKED if backed else LIGHT
    need = least + each * (os.cpu_count() or 1)
    if limit != resource.RLIM_INFINITY and limit < need * GIB:
        raise MemoryError(
            f"the address space is limited to {limit / GIB:.1f} GiB (`ulimit -v`), and this "
            f"command takes about {need:g}: raise the limit"
        )


def is_shortage(error):
    """Returns whether an error, or what it came from, says that memory is short."""
    while error is not None:
        if isinstance(error, MemoryError) or SHORTAGE.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False

"""What a process may take of memory, and which failures are for want of it."""

import os
import re
import resource

GIB = 2**30
# Address space that a command takes with few images: at least, and for each processor, whose
# threads reserve some. Measured: 2.0 to 2.5 and 4.5 to 5.0 GiB with two processors.
LIGHT = (1.5, 0.5)
BACKED = (4.0, 0.5)  # with Keras and its backend
SHORTAGE = re.compile(  # what libraries say
    "bad_alloc|out of memory|oom when allocating|not enough memory|resource.exhausted|"
    "failed to map segment|(can't|cannot|unable to|failed to) allocate|"
    "can't start new thread|cannot create thread|pthread_create",
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


def shortage(error):
    """Returns the line in which an error, or what it came from, says that memory is short, or None.

    Libraries have no type in common for it, and tell it among much else.
    """
    while error is not None:
        for line in str(error).splitlines():
            if SHORTAGE.search(line):
                return line.strip(" .")
        if isinstance(error, MemoryError):
            return str(error) or type(error).__name__
        error = error.__cause__ or error.__context__
    return None

"""Recognises errors that are caused by a lack of memory."""

import re

_SHORTAGE = re.compile(  # messages of libraries
    "bad_alloc|out of memory|oom when allocating|not enough memory|resource.exhausted|"
    "failed to map segment|(can't|cannot|unable to|failed to) allocate|"
    "can't start new thread|cannot create thread|pthread_create",
    re.IGNORECASE,
)


def shortage(error: BaseException | None) -> str | None:
    """Returns the line in which an error, or its cause, reports a lack of memory, or None.

    Libraries have no common exception class for it, so their messages are searched.
    """
    while error is not None:
        for line in str(error).splitlines():
            if _SHORTAGE.search(line):
                return line.strip(" .")
        if isinstance(error, MemoryError):
            return str(error) or type(error).__name__
        error = error.__cause__ or error.__context__
    return None

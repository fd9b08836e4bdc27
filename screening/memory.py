"""Memory that is no longer needed."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Let the system have what the allocator keeps for later; malloc_trim(3).

    Only glibc has it, and only glibc keeps so much.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

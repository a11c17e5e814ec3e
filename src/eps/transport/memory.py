"""Memory that was freed goes back to the system, where the C library can do that at all (glibc)."""

import ctypes
import gc
from contextlib import suppress


def trim_memory() -> None:
    """What is free goes back; some milliseconds for each 100 MiB, without Python's lock."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def give_back_memory() -> None:
    """Also what is held in cycles, as refusals hold what was refused."""
    gc.collect()
    trim_memory()

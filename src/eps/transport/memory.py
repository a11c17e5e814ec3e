"""Memory that was freed goes back to the system, where the C library (glibc) can do that; and when very much came."""

import asyncio
import ctypes
import gc
import mmap
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_large_at = float("-inf")


def large_values_come() -> None:
    """Whoever makes very many objects at once says so here, before it does and when it has."""
    global _large_at
    _large_at = time.monotonic()


def large_values_came() -> float:
    """When that was, as ``time.monotonic()``."""
    return _large_at


PART = 20
"""So many times as long as memory was given back, nobody does that again."""

LARGE_BLOCK = 256 * 1024
"""Bytes: what uvloop has for what a TLS connection reads."""

_M_MMAP_THRESHOLD = -3
"""mallopt(3)."""


@lru_cache(1)
def _libc() -> ctypes.CDLL:
    """The C library; made once, since each time leaves a cycle behind."""
    return ctypes.CDLL(None)


def keep_large_blocks_apart() -> None:
    """Have blocks from :data:`LARGE_BLOCK` on come from the system, and go back to it, one by one, for this process.

    uvloop has one for each TLS connection, of which it writes to a page or two. The C library by itself learns, when
    the first is freed, to keep such blocks among the small ones: then each next one leaves holes between them that fill
    and are never empty again, and ten thousand connections, a thousand at a time, cost 100 MiB for good.
    """
    with suppress(OSError, AttributeError):
        _libc().mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def trim_memory() -> None:
    """What is free goes back. Python's lock is free meanwhile, the allocator's isn't: whoever needs memory waits, where
    much is free for up to half a millisecond for each MiB of all."""
    with suppress(OSError, AttributeError):
        _libc().malloc_trim(0)


def resident_bytes() -> int:
    """What this process holds in memory; 0 where nobody says (proc(5), «statm»)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


def give_back_memory() -> None:
    """Also what is held in cycles, as refusals hold what was refused."""
    gc.collect()
    trim_memory()


class GiveBack:
    """Gives memory back beside the event loop, behind what may come often: strangers decide when.

    Python stands still while it looks for cycles, in a process that holds much for 400 ms: that takes 5 % at most.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._not_before = float("-inf")
        self._planned = False

    def plan(self) -> None:
        """Do it in a moment, unless that is planned already."""
        if not self._planned:
            self._planned = True
            loop = asyncio.get_running_loop()
            loop.call_later(max(self._pause, self._not_before - loop.time()), self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_in_executor(None, self._give_back).add_done_callback(self._done)

    def _give_back(self) -> float:
        began = time.thread_time()
        give_back_memory()
        return time.thread_time() - began

    def _done(self, took: asyncio.Future[float]) -> None:
        self._planned = False
        self._not_before = took.get_loop().time() + PART * took.result()


def give_back_libraries() -> None:
    """Pages of libraries that were read to load them: most are never looked at again, others come back when they are.

    Only what the system has on disk, and nobody here has written to.
    """
    with suppress(OSError, AttributeError):
        for start, size in _unwritten(Path("/proc/self/smaps").read_text()):
            _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def _unwritten(smaps: str) -> Iterator[tuple[int, int]]:
    """Start and bytes of the read-only mappings of files that hold no page of our own (proc(5), «smaps»)."""
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +/", mapping)
        if head and re.search(r"^Anonymous: +0 kB$", mapping, re.MULTILINE):
            start = int(head[1], 16)
            yield start, int(head[2], 16) - start

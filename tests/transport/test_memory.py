"""transport/memory: what was loaded goes back to the system, and nothing that a program has written."""

import asyncio
import ctypes
import mmap
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eps.transport import memory
from eps.transport.memory import PART, GiveBack, _unwritten, give_back_libraries, give_back_memory, trim_memory

SMAPS = """\
00400000-00401000 r-xp 00000000 08:02 1234 /usr/bin/python3
Size:                  4 kB
Anonymous:             0 kB
00601000-00603000 r--p 00001000 08:02 1234 /usr/bin/python3
Anonymous:             4 kB
00603000-00604000 rw-p 00003000 08:02 1234 /usr/bin/python3
Anonymous:             0 kB
7f0000000000-7f0000004000 r--p 00000000 08:02 99 /usr/lib/with a space.so
Anonymous:             0 kB
7f0000100000-7f0000200000 r--s 00000000 00:01 77 /dev/shm/shared
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
"""


def test_only_what_nobody_has_written_goes() -> None:
    assert list(_unwritten(SMAPS)) == [(0x400000, 0x1000), (0x7F0000000000, 0x4000)]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_libraries_go_and_come_back() -> None:
    before = resident()
    give_back_libraries()
    assert resident() < before
    assert ctypes.CDLL(None).getpid() > 0, "what is used is there again"


def test_memory_goes() -> None:
    give_back_memory()
    trim_memory()


async def test_who_comes_and_goes_does_not_have_all_memory_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    loop = asyncio.get_running_loop()

    def give_back() -> None:
        given.append(loop.time())
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass

    monkeypatch.setattr(memory, "give_back_memory", give_back)
    giving = GiveBack(0.001)
    async with asyncio.timeout(30):
        while len(given) < 2:
            giving.plan()
            await asyncio.sleep(0.001)
    assert given[1] - given[0] >= PART * 0.01


WHERE_A_LARGE_BLOCK_IS = """
import ctypes, re, sys
from pathlib import Path
from eps.transport.memory import LARGE_BLOCK, keep_large_blocks_apart
if sys.argv[1] == "apart":
    keep_large_blocks_apart()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.free(libc.malloc(LARGE_BLOCK))  # from which the C library learns
block = libc.malloc(LARGE_BLOCK)
heap = re.search(r"([0-9a-f]+)-([0-9a-f]+) .*\\[heap\\]", Path("/proc/self/maps").read_text())
print("among small ones" if int(heap[1], 16) <= block < int(heap[2], 16) else "apart")
"""


@pytest.mark.parametrize(("how", "where"), [("by itself", "among small ones"), ("apart", "apart")])
def test_large_blocks_are_kept_apart(how: str, where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHERE_A_LARGE_BLOCK_IS, how], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == where, done.stderr

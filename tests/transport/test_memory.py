"""transport/memory: what was loaded goes back to the system, and nothing that a program has written."""

import ctypes
import mmap
from pathlib import Path

from eps.transport.memory import _unwritten, give_back_libraries, give_back_memory, trim_memory

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

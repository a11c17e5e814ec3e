"""What must not grow while a server works."""

import asyncio
import gc
import os
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Load:
    """What a process holds.

    Attributes:
        memory: resident bytes.
        files: open descriptors.
        threads: of the system.
    """

    memory: int
    files: int
    threads: int

    def __str__(self) -> str:
        return f"{self.memory / 2**20:.1f} MiB, {self.files} files, {self.threads} threads"


def load_of(pid: int) -> Load:
    """Read from /proc; the process may be any of ours."""
    folder = Path(f"/proc/{pid}")
    memory = int((folder / "statm").read_text().split()[1]) * PAGE
    return Load(memory, len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir())))


async def settled_tasks() -> int:
    """How many tasks this event loop has when those that are about to end have ended."""
    for _ in range(50):
        await asyncio.sleep(0)
    gc.collect()
    return len(asyncio.all_tasks())

"""Which program has a port: what the system tells of it, for the one line of a start that finds it taken."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from eps.core.wording import plain

PROC = Path("/proc")

LISTEN = "0A"
"""A socket's state, as Linux writes it into /proc/net/tcp."""

MAX_PROCESSES = 20_000
"""Whose files are looked at: a second or so, once, at a start that fails."""


def owner_of(port: int, proc: Path = PROC, most: int = MAX_PROCESSES) -> str:
    """``nginx (process 123)``; "" where the system doesn't tell: not Linux, or another user's process."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not sockets:
        return ""
    for count, process in enumerate(proc.glob("[0-9]*")):
        if count >= most:
            break
        if _has_one_of(process, sockets):
            with suppress(OSError):
                name = (process / "comm").read_bytes().strip().decode(errors="replace")  # whatever it has called itself
                return f"{plain(name)} (process {process.name})"
    return ""


def _listening(port: int, proc: Path) -> Iterator[str]:
    """The inodes of sockets that listen on ``port``."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _has_one_of(process: Path, sockets: set[str]) -> bool:
    with suppress(OSError):  # not ours to look into, or gone meanwhile
        return any(str(descriptor.readlink()) in sockets for descriptor in (process / "fd").iterdir())
    return False

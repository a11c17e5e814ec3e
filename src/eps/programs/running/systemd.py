"""What a server tells systemd (sd_notify(3)), if that has started it: that it is up, which sockets to keep for it, and,
where the unit has a ``WatchdogSec=``, that its event loop still turns: of one that hangs systemd makes a restart.

With ``FileDescriptorStoreMax=`` in its unit, systemd keeps the listening sockets while the program is restarted: what
connects meanwhile waits. Without that, or without systemd, nothing happens.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

from eps.transport.inherited import Named


def tell_up(environment: Mapping[str, str], sockets: Sequence[Named]) -> None:
    """The server is up and listens at ``sockets``."""
    for named in sockets:
        _send(environment, f"FDSTORE=1\nFDNAME={named.name}", [named.sock.fileno()])
    _send(environment, "READY=1")


def tell_stopping(environment: Mapping[str, str]) -> None:
    """The server lets what runs come to its end."""
    _send(environment, "STOPPING=1")


def forget(environment: Mapping[str, str], names: Sequence[str]) -> None:
    """Sockets of these names are not wanted any more."""
    for name in names:
        _send(environment, f"FDSTOREREMOVE=1\nFDNAME={name}")


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """How long to wait between two signs of life: half of what the unit allows; None: it wants none
    (sd_watchdog_enabled(3))."""
    allowed = environment.get("WATCHDOG_USEC", "")
    is_ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    return int(allowed) / 2e6 if is_ours and allowed.isdecimal() and int(allowed) else None


async def keep_telling(environment: Mapping[str, str], pid: int) -> None:
    """Say again and again that the event loop turns; returns where that isn't wanted."""
    seconds = watchdog_seconds(environment, pid)
    while seconds is not None:
        _send(environment, "WATCHDOG=1")
        await asyncio.sleep(seconds)


def _send(environment: Mapping[str, str], text: str, descriptors: Sequence[int] = ()) -> None:
    path = environment.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)  # systemd is never slow; a stand-in that is must not hold a server up
        address = f"\0{path[1:]}" if path[0] == "@" else path
        sock.connect(address)
        if descriptors:
            socket.send_fds(sock, [text.encode()], list(descriptors))
        else:
            sock.send(text.encode())

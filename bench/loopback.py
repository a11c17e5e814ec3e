"""A loopback network of the benchmark's own, whose connections nobody paces.

A congestion control that paces (BBR) sends by a timer, as fast as it thinks the slowest link can follow. Over loopback
there is no link: the timers alone then decide how fast any relay is, and all of them are equally slow. So where it may,
the benchmark moves into a network namespace (network_namespaces(7)) and sets plain ``reno`` there, for everybody who
takes part. Nothing of the machine is changed.
"""

import contextlib
import ctypes
import fcntl
import socket
import struct
from pathlib import Path

CLONE_NEWNET = 0x40000000  # <sched.h>
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914  # <bits/ioctls.h>
IFF_UP = 0x1
IFREQ = struct.Struct("16sH22x")  # netdevice(7)
CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
UNPACED = "reno"


def congestion_control() -> str:
    """What the connections of this process get."""
    return CONGESTION_CONTROL.read_text().strip() if CONGESTION_CONTROL.exists() else "unknown"


def move_into_own() -> bool:
    """Put this process, and those that it will start, into an own network with an unpaced loopback.

    Returns:
        False, with nothing changed, where that is not allowed: mostly for all but root.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "unshare") or libc.unshare(CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name, flags = IFREQ.unpack(fcntl.ioctl(any_socket, SIOCGIFFLAGS, IFREQ.pack(b"lo", 0)))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, IFREQ.pack(name, flags | IFF_UP))
    with contextlib.suppress(OSError):  # a container may forbid it; the benchmark tells what it is then
        CONGESTION_CONTROL.write_text(UNPACED)
    return True

"""TCP sockets: what each of ours gets, and what the kernel tells of one (tcp(7)).

Links die without a word. What waits to be confirmed, the kernel gives up after ``unanswered`` seconds
(TCP_USER_TIMEOUT); for what is silent, it asks (keepalive).
"""

import fcntl
import math
import socket
import sys
import termios
from dataclasses import dataclass

from eps.core.defaults import KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, UNANSWERED_SECONDS

UNSENT_BYTES = 16_384
"""Of each socket, that the kernel takes before it can send them (TCP_NOTSENT_LOWAT). More would only wait there, in
front of what is small and in a hurry; what is on its way already does not count."""

_SIOCOUTQNSD = 0x894B
"""linux/sockios.h; Python has no name for it."""

_LAST_ACK_RECEIVED = 56
"""Where in TCP_INFO the milliseconds since the last confirmation stand, four bytes (linux/tcp.h)."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When the kernel gives a connection up. Whole seconds, but for the count.

    Attributes:
        idle: of silence, after which it asks.
        interval: between two questions.
        count: of questions without an answer.
        unanswered: that bytes of ours may stay without a confirmation.
    """

    idle: int = KEEPALIVE_IDLE
    interval: int = KEEPALIVE_INTERVAL
    count: int = KEEPALIVE_COUNT
    unanswered: int = UNANSWERED_SECONDS


_keepalive = Keepalive()


def keep_alive(times: Keepalive) -> None:
    """These times are for every socket of this program from now on. To be called before the first is opened."""
    global _keepalive
    _keepalive = times


def tune(sock: socket.socket) -> None:
    """What every TCP socket here gets: no blocking, no Nagle delay, an end to silence, and no queue to be late in."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform.startswith("linux"):
        times = _keepalive
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, times.idle)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, times.interval)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, times.count)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, times.unanswered * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def unacknowledged(sock: socket.socket) -> int:
    """How many bytes the peer's kernel has not confirmed yet (SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def unsent(sock: socket.socket) -> int:
    """How many bytes the kernel has not begun to send (SIOCOUTQNSD); 0 where it doesn't say."""
    if not sys.platform.startswith("linux"):
        return 0
    return int.from_bytes(fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4)), sys.byteorder)


def last_acknowledged(sock: socket.socket) -> float:
    """Seconds since the last confirmation of any bytes; infinite where nobody knows."""
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK_RECEIVED + 4)
    except (OSError, AttributeError):  # no TCP, or not here
        return math.inf
    return int.from_bytes(told[_LAST_ACK_RECEIVED:], sys.byteorder) / 1000

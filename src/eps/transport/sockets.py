"""TCP sockets: what each of ours gets, and what the kernel tells of one (tcp(7)).

Links die without a word. For what is silent, the kernel asks (keepalive); what waits to be confirmed, it gives up after
``unanswered`` seconds (TCP_USER_TIMEOUT). That has two sides that its name does not tell:

- With it, Linux does not count questions: a silent connection ends when one of them is unanswered and nothing has come
  for ``unanswered`` seconds, silence before the first question included. So it is never less than all questions take.
- It ends those, too, that live and confirm everything, but have read nothing for so long, so that bytes wait here.
  Where that is theirs to decide, ``transport.readers`` spares them.
"""

import fcntl
import math
import socket
import sys
import termios
from dataclasses import dataclass

from eps.core.defaults import KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL

UNSENT_BYTES = 16_384
"""Of each socket, that the kernel takes before it can send them (TCP_NOTSENT_LOWAT). More would only wait there, in
front of what is small and in a hurry; what is on its way already does not count."""

_SIOCOUTQNSD = 0x894B
"""linux/sockios.h; Python has no name for it."""

_PROBES, _UNCONFIRMED, _LAST_ACK_RECEIVED, _CONFIRMED = 3, 24, 56, 120
"""Where in TCP_INFO (linux/tcp.h) stand: how many questions for room in a row are unanswered, one byte; how many
segments are on their way, four; the milliseconds since the last confirmation, four; how many bytes were confirmed in
all, eight."""

UNANSWERED_PROBES = 3
"""In a row, after which a reader that has no room is taken for a dead one: two may get lost."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When the kernel gives a connection up. Whole seconds, but for the count.

    Attributes:
        idle: of silence, after which it asks.
        interval: between two questions.
        count: of questions without an answer.
        unanswered: that bytes of ours may stay without a confirmation; 0: as long as a silent connection has.
    """

    idle: int = KEEPALIVE_IDLE
    interval: int = KEEPALIVE_INTERVAL
    count: int = KEEPALIVE_COUNT
    unanswered: int = 0

    @property
    def patience(self) -> int:
        """Seconds without a sign of life until a connection is over, with bytes on their way or without."""
        return max(self.unanswered, self.idle + self.interval * self.count)


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
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, times.patience * 1000)
        bound_unsent(sock)


def bound_unsent(sock: socket.socket) -> None:
    """The kernel takes no more than it can soon send, and the socket is writable when it takes more."""
    if sys.platform.startswith("linux"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def patience() -> int:
    """Seconds without a sign of life until a connection of this program is over."""
    return _keepalive.patience


def await_confirmations(sock: socket.socket, limited: bool) -> None:
    """Whether the kernel ends the connection when bytes wait here for so long as :func:`patience` says."""
    if sys.platform.startswith("linux"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience() * 1000 if limited else 0)


def reader_lives(sock: socket.socket) -> bool:
    """Of a socket in which bytes wait: whether the peer has confirmed all that was sent, and has no room for more."""
    if not sys.platform.startswith("linux"):
        return False
    told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNCONFIRMED + 4)
    return not any(told[_UNCONFIRMED:]) and told[_PROBES] < UNANSWERED_PROBES


def confirmed(sock: socket.socket) -> int:
    """How many bytes the peer's kernel has taken in all; 0 where nobody knows."""
    if not sys.platform.startswith("linux"):
        return 0
    told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _CONFIRMED + 8)
    return int.from_bytes(told[_CONFIRMED:], sys.byteorder)


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

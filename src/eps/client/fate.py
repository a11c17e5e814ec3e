"""Whether a request that got no answer can have been read: asked of the kernel, after the connection has ended.

A server ends a kept connection when it likes, perhaps in the moment in which the next request is on its way to it.
What its kernel had not confirmed when it said goodbye was not there then: the request can't have been read, and may go
out on another connection. Two things must be so, and only Linux tells both:

- the other side said that it sends no more (FIN), and answered our bytes with a reset behind that: it had closed, and
  had not merely stopped to write. A reset alone proves nothing: a server that has read, and run, a request may reset;
  nor does TLS's own goodbye, behind which some servers read on. A kernel tells of a reset once, and then of an end: so
  whoever has been told of an error may not ask here any more;
- the confirmed bytes are as many as before the request.

In all other cases the outcome is unknown, and said to be.
"""

import socket
import sys
import time

_CONFIRMED = 120
"""Where ``tcpi_bytes_acked`` stands in TCP_INFO (linux/tcp.h)."""


def confirmed(sock: socket.socket) -> int:
    """Bytes that the other side's kernel has taken so far; -1 where nobody knows."""
    if not sys.platform.startswith("linux"):
        return -1
    told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _CONFIRMED + 8)
    return int.from_bytes(told[_CONFIRMED:], sys.byteorder) if len(told) == _CONFIRMED + 8 else -1


RESET_SECONDS = 0.2
"""That the reset may take to come, behind the end: a round trip, mostly far less."""

LOOK_SECONDS = 0.005
"""Between two looks."""

_CLOSED = 7
"""``tcpi_state`` where a reset has come (TCP_CLOSE)."""


def unread(sock: socket.socket, before: int) -> bool | None:
    """Whether nothing that was sent since :func:`confirmed` said ``before`` can have been read; None: not known yet, so
    that another look is worth it.

    To be asked only where reading came to an end without an error.
    """
    if before <= 0:  # some kernels fill what they don't count with zeros
        return False
    try:
        if _peek(sock) != b"" or confirmed(sock) != before:
            return False
        return True if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED else None
    except OSError:
        return False


def never_read(sock: socket.socket, before: int) -> bool:
    """The same, having waited for the reset."""
    until = time.monotonic() + RESET_SECONDS
    while (found := unread(sock, before)) is None and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    return found is True


def has_news(sock: socket.socket) -> bool:
    """Whether something has come on a connection that is not used: its end, or what nobody asked for. Such a one is not
    used any more."""
    try:
        _peek(sock)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _peek(sock: socket.socket) -> bytes:
    """Below TLS, whose sockets read otherwise. Afterwards the socket doesn't wait: whoever uses it says how long."""
    sock.settimeout(0)
    return socket.socket.recv(sock, 1, socket.MSG_PEEK)

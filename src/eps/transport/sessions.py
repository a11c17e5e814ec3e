"""TLS sessions as all our programs have them: a refused client is told why, and reading takes no memory in vain."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from eps.core.recent import Recent

RECORD_BYTES = 16 * 1024
"""TLS has no more in one record (RFC 8446, section 5.1), and OpenSSL gives no more than one at a time."""

_handshaking: ContextVar[list[socket.socket] | None] = ContextVar("_handshaking", default=None)
"""The socket of the handshake that somebody waits for in :func:`over`."""

_said: ContextVar[bytes] = ContextVar("_said", default=b"")
"""What its peer has got already."""


@contextmanager
def over(sock: socket.socket, said: bytes) -> Iterator[None]:
    """Within it a server's session begins on ``sock``: what the handshake leaves unsaid is sent there.

    Args:
        said: what the peer has got already.
    """
    owed = [sock]
    token, said_token = _handshaking.set(owed), _said.set(said)
    try:
        yield
    finally:
        owed.clear()  # what runs in this context later may shake hands over another socket
        _handshaking.reset(token)
        _said.reset(said_token)


class Heard:
    """Of one handshake that we began.

    Attributes:
        anything: a byte of the other side has come.
    """

    anything = False


_heard: ContextVar[Heard | None] = ContextVar("_heard", default=None)
"""Of the handshake that somebody waits for in :func:`hearing`."""


@contextmanager
def hearing() -> Iterator[Heard]:
    """Within it a client's session begins: whether anything has come of the other side."""
    heard = Heard()
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


class Session(ssl.SSLObject):
    """asyncio and uvloop drop the alert that says why a handshake failed, and ask for 256 KiB whenever they read."""

    owed: list[socket.socket] | None = None
    outgoing: ssl.MemoryBIO | None = None
    said = b""
    heard: Heard | None = None
    incoming: ssl.MemoryBIO | None = None

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """At most a record; the memory for 256 KiB comes from the system each time, and goes back to it."""
        return super().read(min(len, RECORD_BYTES), buffer)

    def do_handshake(self) -> None:
        """Go on with the handshake; send the alert with which it ends, if it fails."""
        if self.heard is not None and self.incoming is not None and self.incoming.pending:
            self.heard.anything, self.heard, self.incoming = True, None, None
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._say_once()
            raise
        except ssl.SSLError:
            if self.owed and self.outgoing is not None:
                with suppress(OSError):  # it may be gone already
                    self.owed[0].send(self.outgoing.read())
            raise
        if self.owed:
            self.owed.clear()  # from here on the socket is its transport's alone

    def _say_once(self) -> None:
        """Take what the peer has got already out of what is sent."""
        if not self.said or self.outgoing is None or not self.outgoing.pending:
            return
        answer = self.outgoing.read()
        if not answer.startswith(self.said):
            raise ssl.SSLError("the peer was asked for something else")
        self.outgoing.write(answer[len(self.said) :])
        self.said = b""


class Context(ssl.SSLContext):
    """Makes such sessions.

    Attributes:
        wary: the same, for peers of which nobody knows whether they are there.
        asked: how hellos of a shape were asked for another, by ``wary``.
    """

    sslobject_class = Session
    wary: ssl.SSLContext | None = None
    asked: Recent[bytes, bytes] | None = None

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **named: Any) -> ssl.SSLObject:
        """A session on these two."""
        made = super().wrap_bio(incoming, outgoing, *args, **named)
        if isinstance(made, Session) and made.server_side:
            made.owed, made.outgoing, made.said = _handshaking.get(), outgoing, _said.get()
        elif isinstance(made, Session):
            made.heard, made.incoming = _heard.get(), incoming
        return made

"""Connections of the asynchronous client: aiohttp's, but for which of them may be used again."""

import asyncio
import socket
import time
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from eps.client import fate
from eps.core.told_seconds import LONGEST_SECONDS

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.tracing import Trace

MAX_CONNECTIONS = 512
"""At once; further calls wait for one to become free. As many as an EPS server of ours has to its application."""

_PRESENT: ContextVar["Attempt | None"] = ContextVar("attempt", default=None)
"""The attempt that the present task makes: aiohttp does not say on which connection a request went out."""

_KEPT_UNTIL: "WeakKeyDictionary[ResponseHandler, float]" = WeakKeyDictionary()
"""When a connection that lies unused is not to be used any more, by ``time.monotonic``."""


class Attempt:
    """One request and what became of it; to be used as a context manager.

    Attributes:
        is_sent: aiohttp has the connection: from here on the request may be on its way.
        was_fresh: nothing had been sent on it before.
        is_answering: some of the answer has come.
    """

    def __init__(self) -> None:
        self.is_sent = False
        self.was_fresh = False
        self.is_answering = False
        self._protocol: ResponseHandler | None = None
        self._socket: socket.socket | None = None
        self._confirmed = -1
        self._token: Token[Attempt | None] | None = None

    def __enter__(self) -> "Attempt":
        self._token = _PRESENT.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _PRESENT.reset(self._token)
        if self._socket is not None:
            self._socket.close()

    def goes_out_on(self, connection: Connection, sock: socket.socket) -> None:
        """``sock`` is ours: a second descriptor, so that the kernel can be asked when aiohttp has closed its own."""
        self._protocol = connection.protocol
        self.was_fresh = self._protocol not in _KEPT_UNTIL
        self._socket = sock
        self._confirmed = fate.confirmed(sock)
        self.is_sent = True

    def answered(self, keep: float) -> None:
        """The whole answer has come; its server keeps the connection for so many seconds."""
        if self._protocol is not None:
            _KEPT_UNTIL[self._protocol] = time.monotonic() + keep

    async def was_never_read(self) -> bool:
        """See ``fate.never_read``."""
        if self._socket is None:
            return False
        for _ in range(round(fate.RESET_SECONDS / fate.LOOK_SECONDS)):
            found = fate.unread(self._socket, self._confirmed)
            if found is not None:
                return found
            await asyncio.sleep(fate.LOOK_SECONDS)
        return False


class Connector(aiohttp.TCPConnector):
    """Gives no connection out again that its server has ended, or will end before the request is there.

    Args:
        seconds: for a new connection.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(limit=MAX_CONNECTIONS, keepalive_timeout=LONGEST_SECONDS)
        self._seconds = seconds

    async def _create_connection(
        self, req: "ClientRequest", traces: "list[Trace]", timeout: "ClientTimeout"
    ) -> "ResponseHandler":
        """A new one, within a deadline for name, TCP, HTTP proxy and TLS together: aiohttp's own is for TCP alone, and
        one that is for more counts the wait for a free place, too."""
        try:
            async with asyncio.timeout(self._seconds):
                return await super()._create_connection(req, traces, timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection within {self._seconds:g} s") from error

    async def connect(self, req: "ClientRequest", traces: "list[Trace]", timeout: "ClientTimeout") -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            sock = _socket_of(connection)
            until = _KEPT_UNTIL.get(connection.protocol) if connection.protocol is not None else None
            if sock is None and until is None:
                connection.close()
                raise aiohttp.ServerDisconnectedError("the connection was ended before anything was sent")
            if sock is not None and (until is None or (time.monotonic() < until and not fate.has_news(sock))):
                break
            if sock is not None:
                sock.close()
            connection.close()
            await asyncio.sleep(0)  # whoever waits for a connection gets its turn
        attempt = _PRESENT.get()
        if attempt is None:
            sock.close()
        else:
            attempt.goes_out_on(connection, sock)
        return connection


def _socket_of(connection: Connection) -> socket.socket | None:
    """A second descriptor of a connection's socket; None: it has ended."""
    transport = connection.transport
    if transport is None or transport.is_closing():
        return None
    found = transport.get_extra_info("socket")
    try:
        return cast(socket.socket, found.dup()) if found is not None and found.fileno() >= 0 else None
    except OSError:  # no descriptor is free
        connection.close()
        raise

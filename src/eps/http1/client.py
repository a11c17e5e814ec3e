"""Connections to one server: kept for the next exchange where both sides go on, or new.

    take   →  a kept connection that is quiet: alive, and with nothing to read
           →  else a new one
    exchange (eps.http1.exchange)
    give_back  →  kept, if the exchange has ended as it should and nothing has come behind its answer

On a kept connection nobody can tell a request that was lost from one that was never read. So it is looked at in the
very moment in which it is taken, in the kernel, too: the event loop may not have seen its end yet.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from eps.http1.channel import Channel
from eps.http1.exchange import Exchange
from eps.transport.tls import TLS_CLOSE_SECONDS


class Connection(Channel):
    """One connection to the server.

    Attributes:
        fresh: it has carried nothing yet.
        unused: it is kept, until ``expiry``.
    """

    expiry: asyncio.TimerHandle

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.fresh = True
        self.unused = False
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.unused:  # a word of farewell, or what belonged to the last answer: nobody has asked for it
            self.abort()

    @property
    def may_be_kept(self) -> bool:
        """Whether nothing is known against it."""
        return self.is_open and not self.has_unread

    def is_quiet(self) -> bool:
        """Whether it can carry a request: alive, as far as the kernel knows, and with nothing to read.

        Whatever there is to be read on a kept connection is an end, or an answer to nothing.
        """
        return self.may_be_kept and not self._poll.poll(0)

    def acknowledge_soon(self) -> None:
        """To be called when a request is written. A server that writes an answer's head and body one by one, without
        TCP_NODELAY, keeps the body back until the head is acknowledged: on a connection that has carried a request and
        an answer, Linux leaves it waiting for 40 ms. That is unlearned with each write, so it must be said after it."""
        if hasattr(socket, "TCP_QUICKACK") and self.is_open:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def open_connection(
    sock: socket.socket, context: ssl.SSLContext | None, server_hostname: str | None, seconds: float
) -> Connection:
    """Hand a connected, non-blocking socket over, behind TLS if there is a context.

    Raises:
        OSError: TLS did not come about (ssl.SSLError and TimeoutError are such); the socket is closed.
    """
    options: dict[str, Any] = {}
    if context is not None:
        options = {"ssl": context, "server_hostname": server_hostname, "ssl_handshake_timeout": seconds}
        options["ssl_shutdown_timeout"] = TLS_CLOSE_SECONDS
    try:
        _, made = await asyncio.get_running_loop().create_connection(lambda: Connection(sock), sock=sock, **options)
    except BaseException:  # also when cancelled: nobody else knows the socket
        sock.close()
        raise
    return made


class Connections:
    """The connections to one server.

    Args:
        dial: makes a new one; what it raises, :meth:`take` raises.
        limit: at a time; whoever needs one more waits. None: no limit.

    Attributes:
        keep_alive: seconds for which an unused connection is kept; 0: none is.
    """

    def __init__(self, dial: Callable[[], Awaitable[Connection]], *, limit: int | None, keep_alive: float) -> None:
        self.keep_alive = keep_alive
        self._dial = dial
        self._places = asyncio.Semaphore(limit) if limit is not None else None
        self._unused: list[Connection] = []
        self._used: set[Connection] = set()
        self._retired = False

    async def take(self, *, fresh: bool = False) -> Connection:
        """A connection for one exchange; to be given back, whatever happens.

        Args:
            fresh: none that has been used before.
        """
        if self._places is not None:
            await self._places.acquire()
        try:
            connection = None if fresh else self._kept()
            connection = connection or await self._dial()
        except BaseException:
            self._leave()
            raise
        self._used.add(connection)
        return connection

    def _kept(self) -> Connection | None:
        while self._unused:
            connection = self._unused.pop()
            connection.unused = False
            connection.expiry.cancel()
            if connection.is_quiet():
                return connection
            connection.abort()
        return None

    def give_back(self, connection: Connection, exchange: Exchange | None) -> None:
        """Keep ``connection``, or end it: at once, if its last exchange was not finished.

        Args:
            exchange: that it has carried.
        """
        self._used.discard(connection)
        self._leave()
        if exchange is None or not (exchange.is_read and exchange.is_written):
            connection.abort()
        elif (
            self._retired
            or self.keep_alive <= 0
            or not exchange.can_go_on
            or exchange.rest
            or not connection.may_be_kept
        ):
            connection.close()
        else:
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        connection.fresh = False
        connection.unused = True
        loop = asyncio.get_running_loop()
        connection.expiry = loop.call_later(self.keep_alive, self._expire, connection)
        self._unused.append(connection)

    def _expire(self, connection: Connection) -> None:
        self._unused.remove(connection)
        connection.close()

    def _leave(self) -> None:
        if self._places is not None:
            self._places.release()

    @property
    def in_use(self) -> bool:
        """Whether an exchange is in progress on one of them."""
        return bool(self._used)

    def retire(self) -> None:
        """Keep none any more: unused ones end now, the others with the exchange in progress."""
        self._retired = True
        while self._unused:
            connection = self._unused.pop()
            connection.expiry.cancel()
            connection.close()

    async def close(self) -> None:
        """End all connections; exchanges in progress fail."""
        while self._unused:
            connection = self._unused.pop()
            connection.expiry.cancel()
            self._used.add(connection)
        await asyncio.gather(*(connection.close_soon() for connection in list(self._used)))
        self._used.clear()

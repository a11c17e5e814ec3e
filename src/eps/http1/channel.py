"""The bytes of one connection, read when they are asked for, with flow control both ways."""

import asyncio
from collections import deque
from typing import cast

from eps.transport.readers import Readers

READ_BYTES = 128 * 1024
"""Beyond so many that nobody has read yet, the transport reads no more: two of uvloop's reads."""

CLOSE_SECONDS = 1.0
"""How long a TLS connection may take to say goodbye when its owner closes."""


class Channel(asyncio.Protocol):
    """One connection; whoever makes it reads it alone, and its writers wait in :meth:`drain` one at a time.

    Attributes:
        received, sent: bytes, as the protocol above sees them.
        ended: resolved when the connection is gone.
    """

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._unread: deque[bytes] = deque()
        self._size = 0
        self._at_end = False
        self._error: BaseException | None = None
        self._reading: asyncio.Future[None] | None = None
        self._draining: asyncio.Future[None] | None = None
        self._full = False
        self._readers: Readers | None = None

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's TLS transport is none by its class

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._unread.append(data)
        self._size += len(data)
        if self._size > READ_BYTES and self._transport is not None:
            self._transport.pause_reading()
        _wake(self._reading)

    def eof_received(self) -> None:
        self._at_end = True
        self._read_no_more()
        _wake(self._reading)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._at_end = True
        self._error = exc
        self._full = False
        if self._readers is not None:
            self._readers.gone()
        _wake(self._reading)
        _wake(self._draining)
        _wake(self.ended)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        _wake(self._draining)

    # What its owner does

    @property
    def is_open(self) -> bool:
        """Whether, as far as is known, both sides go on talking."""
        return not self._at_end and self._transport is not None and not self._transport.is_closing()

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come that nobody has read."""
        return bool(self._unread)

    def let_pause(self) -> None:
        """The other side may read nothing for ``readers.PAUSE_SECONDS``, or less if whoever writes says so. For a
        connection that is made."""
        if self._transport is not None:
            self._readers = Readers(self._transport.get_extra_info("socket"))

    async def read(self) -> bytes:
        """Some bytes; none when the other side has ended the connection.

        Raises:
            OSError: it broke off.
        """
        while not self._unread:
            if self._error is not None:
                raise _broken(self._error)
            if self._at_end:
                return b""
            self._reading = asyncio.get_running_loop().create_future()
            try:
                await self._reading
            finally:
                self._reading = None
        data = self._unread.popleft()
        was_over = self._size > READ_BYTES
        self._size -= len(data)
        if was_over and self._size <= READ_BYTES and self._transport is not None and not self._at_end:
            self._transport.resume_reading()
        return data

    def write(self, data: bytes) -> None:
        """Send, or keep for sending; see :meth:`drain`. After the connection's end it does nothing."""
        if data and self._transport is not None and not self._transport.is_closing():
            self.sent += len(data)
            self._transport.write(data)
            if self._readers is not None:
                self._readers.given()

    async def drain(self) -> None:
        """Wait until the other side has taken most of what was written.

        Raises:
            OSError: the connection is gone.
        """
        while self._full:
            self._draining = asyncio.get_running_loop().create_future()
            try:
                await self._draining
            finally:
                self._draining = None
        if self.ended.done():
            raise _broken(self._error)

    def close(self) -> None:
        """End the connection when everything is sent."""
        self._read_no_more()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it at once, and so that the other side sees that it broke off."""
        self._read_no_more()
        if self._transport is not None:
            self._transport.abort()

    def _read_no_more(self) -> None:
        """The transport is about to close."""
        if self._readers is not None:
            self._readers.stop()

    async def close_soon(self) -> None:
        """End it, and be sure that it has ended."""
        self.close()
        if self._transport is not None and not (await asyncio.wait([self.ended], timeout=CLOSE_SECONDS))[0]:
            self.abort()
            await self.ended


def _broken(cause: BaseException | None) -> OSError:
    error = ConnectionResetError("the connection broke off")
    error.__cause__ = cause
    return error


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)

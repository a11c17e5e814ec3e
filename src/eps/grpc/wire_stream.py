"""One HTTP/2 stream of a :class:`~eps.grpc.wire.Wire`: messages in, messages out, and one way to end."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes

from eps.grpc.framing import Assembler, FramingError, Headers

if TYPE_CHECKING:
    from eps.grpc.wire import Wire

STREAM_WINDOW_BYTES = 65_535
"""RFC 9113's initial window; messages beyond it are given more when their length is known."""


class StreamLost(Exception):
    """A stream ended other than by its END_STREAM. ``str()`` says how.

    Attributes:
        not_processed: whether the peer certainly didn't look at it (REFUSED_STREAM, GOAWAY below it).
        refused: whether we broke it off because of what the peer sent on it.
    """

    def __init__(self, text: str, *, not_processed: bool = False, refused: bool = False) -> None:
        super().__init__(text)
        self.not_processed = not_processed
        self.refused = refused


class WireStream:
    """One stream: headers, messages and trailers coming in, the same going out.

    Used by one owner at a time in each direction (plus any number that wait for the headers). Whoever opened or
    accepted it calls :meth:`release` in the end, always.
    """

    __slots__ = (
        "_inbox",
        "_leftover",
        "_reserved",
        "_send_lock",
        "_waiters",
        "_wire",
        "assembler",
        "created",
        "ended",
        "headers",
        "id",
        "lost",
        "on_complete",
        "on_lost",
        "sent_end",
        "trailers",
        "wanted",
        "window",
    )

    def __init__(self, wire: "Wire", stream_id: int) -> None:
        self._wire = wire
        self.id = stream_id
        self.created = wire.clock()
        self.headers: dict[str, str] | None = None
        self.trailers: dict[str, str] | None = None
        self.ended = False
        self.sent_end = False
        self.lost: StreamLost | None = None
        self.assembler = Assembler()
        self.window = STREAM_WINDOW_BYTES
        self.wanted = 0
        self.on_complete: Callable[[], None] | None = None
        self.on_lost: Callable[[], None] | None = None
        self._reserved = 0
        self._inbox: deque[bytes] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._send_lock = asyncio.Lock()
        self._leftover = memoryview(b"")

    # -- coming in

    async def wait_headers(self) -> dict[str, str]:
        """The peer's first headers (the request's, or the answer's).

        Raises:
            StreamLost: the stream ended without.
        """
        while self.headers is None:
            if self.lost is not None:
                raise self.lost
            await self._change()
        return self.headers

    async def receive(self) -> bytes | None:
        """The next message; None when the peer has ended its side.

        Raises:
            StreamLost: the stream broke off, or ended amid a message. Messages that were complete come first.
        """
        while not self._inbox:
            if self.ended and not self.assembler.partial:
                return None
            if self.lost is not None:
                raise self.lost
            await self._change()
        message = self._inbox.popleft()
        self._make_room()
        return message

    async def wait_end(self) -> None:
        """Wait until the peer has ended its side, or the stream broke off."""
        while self.lost is None and not self.ended:
            await self._change()

    @property
    def waiting_messages(self) -> int:
        """How many complete messages have not been received yet."""
        return len(self._inbox)

    @property
    def waiting_bytes(self) -> int:
        """The length of those messages."""
        return sum(map(len, self._inbox))

    def feed(self, data: bytes, flow_bytes: int) -> None:
        """DATA came in."""
        self.window -= flow_bytes
        if self.lost is not None:
            return
        try:
            messages = self.assembler.feed(data)
        except FramingError as error:
            self._wire.refuse(self, error)
            return
        if messages:
            self._inbox.extend(messages)
            self.wake()
            self._wire.guard.messages_completed(len(messages))
        missing = self.assembler.missing - self.window
        if missing > 0:
            waits_already, self.wanted = self.wanted > 0, missing
            if not waits_already:
                self._wire.admission.ask(self)

    def finish(self) -> None:
        """END_STREAM came in."""
        self.ended = True
        if self.assembler.partial:
            self.reset(ErrorCodes.PROTOCOL_ERROR, f"{self._wire.peer_name} ended the stream amid a message")
        self.wake()
        if self.lost is None and self.on_complete is not None:
            self.on_complete()

    def fail(self, error: StreamLost) -> None:
        """The stream is over; everyone who waits learns it."""
        if self.lost is None:
            self.lost = error
            self.wake()
            if self.on_lost is not None:
                self.on_lost()

    def admitted(self, size: int) -> None:
        """There is room for the message: let the peer send it."""
        self._reserved += size
        self._grant(size)

    def _grant(self, more: int) -> None:
        self.window += more
        self._wire.open_window(self.id, more)

    def _make_room(self) -> None:
        if self._inbox or self.lost is not None:
            return
        if self._reserved:
            freed, self._reserved = self._reserved, 0
            self._wire.admission.free(freed)
        if self.ended:
            return
        if self.window < STREAM_WINDOW_BYTES // 2 and not self.wanted:
            self._grant(STREAM_WINDOW_BYTES - self.window)

    # -- going out

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Send framed messages, as the peer takes them. Concurrent senders' data don't mix.

        A sender that is cancelled amid its message leaves the rest for the next one to send first: the peer must not
        take the next message's bytes for it.

        Raises:
            StreamLost: the stream ended before the last byte was written.
        """
        async with self._send_lock:
            if self._leftover:
                await self._write(self._leftover, end=False, begun=True)
            await self._write(memoryview(data), end=end, begun=False)

    async def _write(self, data: memoryview, *, end: bool, begun: bool) -> None:
        rest, progress = data, self._wire.clock()
        try:
            while True:
                if self.lost is not None:
                    raise self.lost
                if self.ended and self._wire.client:
                    raise StreamLost(f"{self._wire.peer_name} has ended the stream")  # it reads no more
                sent = self._wire.write_data(self, rest, end=end)
                rest = rest[sent:]
                if not rest:
                    return
                if sent:
                    progress = self._wire.clock()
                if self.lost is None:  # else writing has just found out
                    await self._room(progress + self._wire.limits.stall_timeout)
        finally:
            self._leftover = rest if begun or len(rest) < len(data) else memoryview(b"")

    async def _room(self, deadline: float) -> None:
        """Wait until there may be room to write. A peer that leaves none until ``deadline`` has frozen the stream."""
        self._wire.blocked.add(self)
        try:
            async with asyncio.timeout_at(deadline):
                await self._change()
        except TimeoutError:
            seconds = self._wire.limits.stall_timeout
            self.reset(ErrorCodes.CANCEL, f"{self._wire.peer_name} took nothing more of a message for {seconds:g} s")
        finally:
            self._wire.blocked.discard(self)

    def send_headers(self, headers: Headers, *, end: bool = False) -> None:
        """Headers or trailers. Nothing happens on a stream that is over."""
        if self.lost is None and not self.sent_end:
            self.sent_end = end
            self._wire.write_headers(self.id, headers, end=end)

    def reset(self, code: ErrorCodes, reason: str, *, refused: bool = False) -> None:
        """Break the stream off (RST_STREAM), unless it is over."""
        if self.lost is None and not (self.ended and self.sent_end):
            self._wire.write_reset(self.id, code)
        self.fail(StreamLost(reason, refused=refused))

    def release(self) -> None:
        """The owner is done with the stream: what is left of it is dropped, what it held is free again."""
        self.on_lost = None
        if self.lost is None and not (self.ended and self.sent_end):
            # A server's, behind its trailers, says: no need to send the rest (RFC 9113 section 8.1).
            answered = self.sent_end and not self._wire.client
            self._wire.write_reset(self.id, ErrorCodes.NO_ERROR if answered else ErrorCodes.CANCEL)
        self.fail(StreamLost("released"))
        self._inbox.clear()
        self._wire.forget(self)
        if self._reserved or self.wanted:
            freed, self._reserved, self.wanted = self._reserved, 0, 0
            self._wire.admission.free(freed)

    def wake(self) -> None:
        """Let everyone who waits on this stream look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = self._wire.loop.create_future()
        self._waiters.append(waiter)
        await waiter

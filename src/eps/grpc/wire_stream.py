"""One HTTP/2 stream of a connection: messages in, messages out, and one way to end.

A stream reads and writes nothing itself: what carries it (:class:`Carrier`, in use the wire) hands it what came in, and
takes what goes out.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from h2.errors import ErrorCodes

from eps.grpc.admission import Admission
from eps.grpc.framing import Assembler, FramingError, Headers

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


class Carrier(Protocol):
    """What carries streams: one HTTP/2 connection.

    Attributes:
        client: whether we are the client.
        loop, clock: the event loop, and its time.
        stall_timeout: seconds that the peer may take nothing of a message.
        admission: room for messages that are longer than a stream's window.
        blocked: the streams that wait for room to write; they are woken when there may be some.
    """

    client: bool
    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]
    stall_timeout: float
    admission: Admission
    blocked: dict["WireStream", None]

    @property
    def peer_name(self) -> str:
        """How messages call the peer."""

    def messages_completed(self, number: int) -> None:
        """So many messages came in whole."""

    def open_window(self, stream_id: int, more: int) -> None:
        """Let the peer send so many bytes more; nothing if the stream is over."""

    def write_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Headers or trailers; nothing if the stream is over."""

    def write_data(self, stream: "WireStream", data: memoryview, *, end: bool) -> int:
        """Write as much of ``data`` as windows and the socket allow now; how much that was."""

    def write_reset(self, stream_id: int, code: ErrorCodes) -> None:
        """RST_STREAM; nothing if the stream is over."""

    def refuse(self, stream: "WireStream", error: FramingError) -> None:
        """A message on this stream is refused: end it before anything is buffered."""

    def forget(self, stream: "WireStream") -> None:
        """The stream's owner is done with it."""


class WireStream:
    """One stream: headers, messages and trailers coming in, the same going out.

    Used by one owner at a time in each direction (plus any number that wait for the headers). Whoever opened or
    accepted it calls :meth:`release` in the end, always.
    """

    __slots__ = (
        "_carrier",
        "_inbox",
        "_leftover",
        "_reserved",
        "_send_lock",
        "_waiters",
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

    def __init__(self, carrier: Carrier, stream_id: int) -> None:
        self._carrier = carrier
        self.id = stream_id
        self.created = carrier.clock()
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
        # Complete messages first: whatever broke off behind them, they came, and a call may have been answered by them.
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
            return  # what crossed with our reset; the connection's window is the wire's matter
        try:
            messages = self.assembler.feed(data)
        except FramingError as error:
            self._carrier.refuse(self, error)
            return
        if messages:
            self._inbox.extend(messages)
            self.wake()
            self._carrier.messages_completed(len(messages))
        # The prefix says how long the message is. If the window can't hold the rest, all of the rest is asked for at
        # once: piece by piece, many half-admitted messages could wait for each other for ever.
        missing = self.assembler.missing - self.window
        if missing > 0:
            waits_already, self.wanted = self.wanted > 0, missing
            if not waits_already:
                self._carrier.admission.ask(self)

    def finish(self) -> None:
        """END_STREAM came in."""
        self.ended = True
        if self.assembler.partial:
            self.reset(ErrorCodes.PROTOCOL_ERROR, f"{self._carrier.peer_name} ended the stream amid a message")
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
        self._carrier.open_window(self.id, more)

    def _make_room(self) -> None:
        # Not before the last message is taken: who doesn't receive gets no more to hold.
        if self._inbox or self.lost is not None:
            return
        if self._reserved:
            freed, self._reserved = self._reserved, 0
            self._carrier.admission.free(freed)
        if self.ended:
            return
        # At half: a WINDOW_UPDATE for every small message would cost more than the message.
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
        rest, progress = data, self._carrier.clock()
        try:
            while True:
                if self.lost is not None:
                    raise self.lost
                if self.ended and self._carrier.client:
                    raise StreamLost(f"{self._carrier.peer_name} has ended the stream")  # it reads no more
                sent = self._carrier.write_data(self, rest, end=end)
                rest = rest[sent:]
                if not rest:
                    return
                if sent:  # slow is allowed, frozen is not: the deadline moves with every byte that is taken
                    progress = self._carrier.clock()
                if self.lost is None:  # else writing has just found out
                    await self._room(progress + self._carrier.stall_timeout)
        finally:
            # Nothing of it has gone out: then it is simply not sent, and the next message may go in its place.
            self._leftover = rest if begun or len(rest) < len(data) else memoryview(b"")

    async def _room(self, deadline: float) -> None:
        """Wait until there may be room to write. A peer that leaves none until ``deadline`` has frozen the stream."""
        self._carrier.blocked[self] = None
        try:
            async with asyncio.timeout_at(deadline):
                await self._change()
        except TimeoutError:
            seconds = self._carrier.stall_timeout
            self.reset(ErrorCodes.CANCEL, f"{self._carrier.peer_name} took nothing more of a message for {seconds:g} s")
        finally:
            self._carrier.blocked.pop(self, None)

    def send_headers(self, headers: Headers, *, end: bool = False) -> None:
        """Headers or trailers. Nothing happens on a stream that is over."""
        if self.lost is None and not self.sent_end:
            self.sent_end = end
            self._carrier.write_headers(self.id, headers, end=end)

    def reset(self, code: ErrorCodes, reason: str, *, refused: bool = False) -> None:
        """Break the stream off (RST_STREAM), unless it is over."""
        if self.lost is None and not (self.ended and self.sent_end):
            self._carrier.write_reset(self.id, code)
        self.fail(StreamLost(reason, refused=refused))

    def release(self) -> None:
        """The owner is done with the stream: what is left of it is dropped, what it held is free again."""
        self.on_lost = self.on_complete = None  # its owner knows; and no circle, which waits for the cycle collector
        if self.lost is None and not (self.ended and self.sent_end):
            # A server's, behind its trailers, says: no need to send the rest (RFC 9113 section 8.1).
            answered = self.sent_end and not self._carrier.client
            self._carrier.write_reset(self.id, ErrorCodes.NO_ERROR if answered else ErrorCodes.CANCEL)
        self.fail(StreamLost("released"))
        self._inbox.clear()
        self._carrier.forget(self)
        if self._reserved or self.wanted:
            freed, self._reserved, self.wanted = self._reserved, 0, 0
            self._carrier.admission.free(freed)

    def wake(self) -> None:
        """Let everyone who waits on this stream look again."""
        waiters, self._waiters = self._waiters, []  # those that wait again meanwhile are not woken twice
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = self._carrier.loop.create_future()
        self._waiters.append(waiter)
        await waiter

"""Whose turn it is to send us a long message, or to be answered: memory, shared out in order."""

import asyncio
from collections import deque
from typing import Protocol

MAX_BUFFERED_BYTES = 32 * 1024 * 1024
"""Eight messages of the greatest size may come in at once from a peer; the next ones wait."""

MAX_HANDLED_BYTES = 64 * 1024 * 1024
"""Requests of a peer that are being handled: sixteen of the greatest size; the next ones wait as the bytes that came.
In Python a message takes up to eighteen times its bytes (a list of empty objects; text: twice)."""


class Wants(Protocol):
    """What asks for room: a stream with a message that is longer than its window.

    Attributes:
        wanted: bytes; 0 when it no longer wants any.
    """

    wanted: int

    def admitted(self, size: int) -> None:
        """There is room: let ``size`` bytes come, and free them when the message is taken."""
        ...


class Admission:
    """The room. Each message gets all that it wants in one piece, so whatever was admitted can complete.

    Attributes:
        taken: bytes.
        queue: who waits for a turn.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.queue: deque[Wants] = deque()

    def ask(self, one: Wants) -> None:
        """``one`` wants room, now or when it is its turn."""
        self.queue.append(one)
        self._admit()

    def free(self, size: int) -> None:
        """An admitted message was taken, or given up."""
        self.taken -= size
        self._admit()

    def _admit(self) -> None:
        while self.queue:
            first = self.queue[0]
            if first.wanted and self.taken and self.taken + first.wanted > MAX_BUFFERED_BYTES:
                return
            self.queue.popleft()
            if first.wanted:
                size, first.wanted = first.wanted, 0
                self.taken += size
                first.admitted(size)


class Budget:
    """Bytes that may be in hand at once; who wants more waits for its turn.

    Args:
        limit: of all bytes together. One piece that is longer than that passes when nothing else is in hand.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._over = False
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait until ``size`` bytes fit, and count them."""
        if not self._queue and self._fits(size):
            self.taken += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.taken -= size  # it was our turn just now
            self._next()
            raise

    def add(self, size: int) -> None:
        """Count bytes that are in hand already; negative: that are gone."""
        self.taken += size
        self._next()

    def end(self) -> None:
        """Nobody waits any more: what the bytes were for is over."""
        self._over = True
        self._next()

    def _fits(self, size: int) -> bool:
        return self._over or not self.taken or self.taken + size <= self.limit

    def _next(self) -> None:
        while self._queue:
            size, turn = self._queue[0]
            if not turn.done():
                if not self._fits(size):
                    return
                self.taken += size
                turn.set_result(None)
            self._queue.popleft()


class PeerMemory:
    """What one peer makes a server hold, all of its connections together.

    Attributes:
        admission: long messages that are coming in.
        handled: requests whose handlers run.
        outgoing: bytes of answers that it has not read yet.
        streams: calls and streams that are open.
    """

    def __init__(self) -> None:
        self.admission = Admission()
        self.handled = Budget(MAX_HANDLED_BYTES)
        self.outgoing = 0
        self.streams = 0

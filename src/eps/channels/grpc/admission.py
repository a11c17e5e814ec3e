"""Whose turn it is to send us a long message: memory for one connection's messages, shared out in order."""

from collections import deque
from typing import Protocol

MAX_BUFFERED_BYTES = 32 * 1024 * 1024
"""Eight messages of the greatest size may come in at once on a connection; the next ones wait."""


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
    """The room. Each message gets all that it wants in one piece, so whatever was admitted can complete."""

    def __init__(self) -> None:
        self.taken = 0
        self._queue: deque[Wants] = deque()

    def ask(self, one: Wants) -> None:
        """``one`` wants room, now or when it is its turn."""
        self._queue.append(one)
        self._admit()

    def free(self, size: int) -> None:
        """An admitted message was taken, or given up."""
        self.taken -= size
        self._admit()

    def _admit(self) -> None:
        while self._queue:
            first = self._queue[0]
            if first.wanted and self.taken and self.taken + first.wanted > MAX_BUFFERED_BYTES:
                return
            self._queue.popleft()
            if first.wanted:
                size, first.wanted = first.wanted, 0
                self.taken += size
                first.admitted(size)

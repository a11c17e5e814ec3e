"""Bodies that are large, as a service directory gets them: one at a time, counted before they are parsed, off the loop.

A small body costs little, however many come. Of 64 MiB a parser can make gigabytes (``{},`` again and again), and a
hundred at a time take as much without being parsed. So whoever sends more than :data:`LARGE` bytes waits for its turn,
which lasts until its answer is known, and the memory is given back to the system then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from eps.core.json_steps import RECORDS, count_values, load_in_steps
from eps.core.jsonrpc_text import Load
from eps.core.steps import exhaust
from eps.core.taking_apart import take_apart
from eps.errors import InternalError
from eps.transport.memory import give_back_memory, large_values_come

LARGE = 1024 * 1024
"""Bytes from which on a body has to wait for its turn."""

MAX_VALUES = 1_000_000
"""Of one body. 64 MiB of signed records have some 600,000; this many take 250 MiB at most."""

MAX_PIECE = 5 * 1024 * 1024
"""What is parsed at once: the largest record that is used (4 MiB), and what is around it."""

MAX_WAITING = 16
"""Senders that wait for their turn, each with 1 MiB that has come already."""

TURN_SECONDS = 60.0
"""How long one waits: as long as a submission may take."""

SLOW_SECONDS = 10.0
"""While others wait, a body may take this long, and a second for each MiB that has come, at any moment."""


class LargeBodies:
    """The turns of one server.

    Args:
        load: reads the JSON.
        max_values: of one body.
    """

    def __init__(self, load: Load, max_values: int = MAX_VALUES) -> None:
        self._load = load
        self._max_values = max_values
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._values: list[Any] = []  # of whose turn it is

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """What is done inside is done for one large body at a time.

        Raises:
            InternalError: too many wait, or it took too long.
        """
        if self._waiting >= MAX_WAITING:
            raise _busy(f"{MAX_WAITING} large requests are waiting already")
        self._waiting += 1
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise _busy(f"other large requests took {TURN_SECONDS:.0f} s") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            values, self._values = self._values, []
            self._turn.release()
            await asyncio.shield(asyncio.to_thread(_forget, values))

    def is_too_slow(self, size: int, seconds: float) -> bool:
        """Whether the one whose turn it is keeps others waiting.

        Args:
            size: bytes that have come.
            seconds: since its turn began.
        """
        return self._waiting > 0 and seconds > SLOW_SECONDS + size / LARGE

    async def read(self, body: bytes) -> Any:
        """The JSON value, parsed in a thread.

        Raises:
            BadRequest: as the given ``load``; TooLarge also for too many values, or too large a piece.
        """
        large_values_come()
        try:
            values = self._values = list[Any]()
            await asyncio.to_thread(self._read, body, values)  # which returns none: its result would have it, too
            return values[0]
        finally:
            large_values_come()

    def _read(self, body: bytes, values: list[Any]) -> None:
        exhaust(count_values(body, self._max_values))
        steps = load_in_steps(body, max_bytes=len(body), load=self._load, path=RECORDS, max_piece=MAX_PIECE)
        values.append(exhaust(steps))


def _forget(values: list[Any]) -> None:
    """In a thread, and in pieces: at once, a million values would hold everything up for 50 ms."""
    exhaust(take_apart(values))
    give_back_memory()


def _busy(why: str) -> InternalError:
    return InternalError(why, hint="nothing was done; send it again in a minute")

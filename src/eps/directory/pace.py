"""How often a directory is asked, and how many wishes for news become one question."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from eps.core.defaults import DIRECTORY_SECONDS

RETRY_SECONDS = 1.0
"""The pace while the directory is empty, lacks ourselves or can't be reached: a network must be up within 5 s of its
last piece."""

REFRESH_EVERY = 1.0
"""Seconds between two refreshes that calls to unknown operators may cause."""

REFRESH_SECONDS = 5.0
"""The longest that a refresh keeps a call waiting."""

THOROUGH_EVERY = 60.0
"""Seconds until the tip is compared, although nothing is wrong; also how long a refused chain is not fetched again."""

MIN_PACE = 0.1
"""Seconds; a setting of 0 must not make a busy loop."""


@dataclass(frozen=True, slots=True)
class Pace:
    """All in seconds.

    Attributes:
        complete: between two questions while all is well.
        incomplete: between two while something is missing; never longer than ``complete``.
        refresh_every: at least this between two questions that :class:`Refreshes` cause.
        refresh_seconds: the longest that one who wishes for news waits.
        thorough_every: until the tip is compared, although nothing is wrong.
    """

    complete: float = DIRECTORY_SECONDS
    incomplete: float = RETRY_SECONDS
    refresh_every: float = REFRESH_EVERY
    refresh_seconds: float = REFRESH_SECONDS
    thorough_every: float = THOROUGH_EVERY

    def pause(self, *, missing: bool) -> float:
        """How long to wait until the next question."""
        complete = max(self.complete, MIN_PACE)
        return min(self.incomplete, complete) if missing else complete


class Refreshes:
    """Wishes for news, which all who have one at the same time share as one round.

    A question that is under way when the first of them comes may have been answered from before: so the round belongs
    to the next question, which :meth:`begin` gives it to.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._round: asyncio.Future[None] | None = None
        self._not_before = 0.0
        self._wake = asyncio.Event()

    async def wish(self) -> None:
        """Wish for news; returns when they are there, at the deadline, or at once if the last round was just now."""
        loop = asyncio.get_running_loop()
        if self._round is None:
            if loop.time() < self._not_before:
                return
            self._not_before = loop.time() + self._pace.refresh_every
            self._round = loop.create_future()
            self._wake.set()
        await asyncio.wait([self._round], timeout=self._pace.refresh_seconds)

    def hurry(self) -> None:
        """Have the next question asked now, though nobody waits for its answer."""
        self._wake.set()

    def begin(self) -> "asyncio.Future[None] | None":
        """The round that the question beginning now answers, for :meth:`end`; None if nobody has a wish."""
        self._wake.clear()
        return self._round

    def end(self, asked: "asyncio.Future[None] | None") -> None:
        """The question of that round is over, whatever came of it."""
        if asked is None:
            return
        if self._round is asked:
            self._round = None
        if not asked.done():
            asked.set_result(None)

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the next wish."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 can lose a cancellation
                await self._wake.wait()

    def close(self) -> None:
        """Nobody answers any more: let all go who wait."""
        self.end(self._round)

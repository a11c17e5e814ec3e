"""Waiting beats failing: a call that was certainly not sent is held and tried again, for some seconds.

    try ─▶ answered, or it may have been executed: that is the end
        └▶ not sent: final (no way at all), or no room to wait, or patience over: told to the caller
                     else a pause, and once more

A peer that is restarted, its proxy, the proxy's EPS server: each is back within a second or two. Nothing runs twice:
whether a call was sent is known where it was sent (``NotSent``), and only that error is caught here.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from eps.core.names import Operator
from eps.errors import NotSent

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4
"""Seconds between two attempts, doubled each time: what comes back is found at once, and some ten attempts of a call
in all are no burden for a peer that stays away; those who wait for one connection share its opening."""

MAX_WAITING = 1_000
"""Calls that are held at a time: what a server for 300 calls a second gets in three. Each keeps its params."""

MAX_WAITING_FOR_ONE = 500
"""Of them, those to one operator: one that stays away must not take the room of all others."""


class Patience:
    """Holds calls.

    Args:
        seconds: how long each is held, from its arrival on; 0: not at all.
        max_waiting, max_waiting_for_one: see the constants.
    """

    def __init__(
        self, seconds: float, max_waiting: int = MAX_WAITING, max_waiting_for_one: int = MAX_WAITING_FOR_ONE
    ) -> None:
        self._seconds = seconds
        self._max_waiting = max_waiting
        self._max_for_one = max_waiting_for_one
        self._waiting: Counter[Operator] = Counter()

    @property
    def waiting(self) -> int:
        """Calls that are held now."""
        return self._waiting.total()

    async def call(self, recipient: Operator, attempt: Callable[[], Awaitable[T]], deadline: float) -> T:
        """What ``attempt`` gives at last; it is repeated as long as that makes sense.

        Args:
            deadline: of the call, in ``time.monotonic()``.

        Raises:
            NotSent: the last attempt's. Any other error of ``attempt``, at once.
        """
        until = min(monotonic() + self._seconds, deadline)
        try:
            return await attempt()
        except NotSent as error:
            if monotonic() >= until or not self._may_wait(recipient, error):
                raise
        self._waiting[recipient] += 1
        try:
            return await _again(attempt, until)
        finally:
            self._waiting[recipient] -= 1
            if not self._waiting[recipient]:
                del self._waiting[recipient]

    def _may_wait(self, recipient: Operator, error: NotSent) -> bool:
        has_room = self.waiting < self._max_waiting and self._waiting[recipient] < self._max_for_one
        return self._seconds > 0 and not error.final and has_room


async def _again(attempt: Callable[[], Awaitable[T]], until: float) -> T:
    pause = FIRST_PAUSE
    while True:
        await asyncio.sleep(min(pause, max(until - monotonic(), 0.0)))
        try:
            return await attempt()
        except NotSent as error:
            if error.final or monotonic() >= until:
                raise
        pause = min(2 * pause, LONGEST_PAUSE)

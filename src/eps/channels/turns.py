"""Places for calls at the application: taken at once, waited for a moment, or refused (``core.overload`` decides).

A call that waits and whose caller gives up meanwhile is cancelled, and never begins.
"""

import asyncio
import math
import time
from collections import deque

from eps.core.latency import Begun
from eps.core.overload import WAIT_SECONDS, Limit, may_wait
from eps.errors import Busy, Side

LEAST_RETRY, MOST_RETRY = 1, 30
"""Seconds that callers are told to stay away: what the calls that run will take, between these."""

LAG_FALLS = 0.1
"""The lag rises with what is measured, and falls by this share of it: judged too slow, an application loses calls."""


class Lag:
    """How long our own event loop takes about a call, where it has much to do.

    Attributes:
        seconds: lately; twice what one waits for its turn: a call does as it goes out, and as its answer comes.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_asked = False

    def ask(self) -> None:
        """Measure it once more."""
        if not self._is_asked:
            self._is_asked = True
            asyncio.get_running_loop().call_soon(self._answer, time.monotonic())

    def _answer(self, asked_at: float) -> None:
        self._is_asked = False
        seconds = 2 * (time.monotonic() - asked_at)
        self.seconds = max(seconds, self.seconds + LAG_FALLS * (seconds - self.seconds))


class Turns:
    """The places of one application.

    Args:
        limit: how many there are.
        whose: how errors call the application.

    Attributes:
        running: calls that have a place.
    """

    def __init__(self, limit: Limit, whose: str) -> None:
        self.running = 0
        self._limit = limit
        self._whose = whose
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._refused_at = -math.inf
        self._lag = Lag()

    async def begin(self, method: str) -> Begun:
        """A place for a call of ``method``, to be given back with :meth:`end`.

        Raises:
            Busy: there is none, or none has become free in time.
        """
        if self.running < self._limit.most and not self._waiting:
            self.running += 1
        else:
            await self._wait()
        self._lag.ask()
        return self._limit.begun(method, self.running, time.monotonic(), self._lag.seconds)

    def end(self, call: Begun, took: float | None) -> None:
        """Give a place back.

        Args:
            took: seconds that the answer took, or that nobody wanted to wait any longer; inf: there was none in all the
                time that there was; None: it ended in another way, which says nothing.
        """
        if took is not None:
            took = max(took - self._lag.seconds, 0.0)
        try:
            self._limit.ended(call, time.monotonic(), took)
        finally:
            self._leave()

    async def _wait(self) -> None:
        now = time.monotonic()
        if not may_wait(len(self._waiting), self._limit, now - self._refused_at):
            raise self._refuse(now)
        self._limit.pressed(now, refused=False)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place came in the very moment in which we left
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise self._refuse(time.monotonic()) from None
            raise

    def _leave(self) -> None:
        self.running -= 1
        while self._waiting and self.running < self._limit.most:
            turn = self._waiting.popleft()
            if not turn.done():  # its caller goes just now
                self.running += 1
                turn.set_result(None)

    def _refuse(self, now: float) -> Busy:
        self._refused_at = now
        self._limit.pressed(now, refused=True)
        seconds = min(max(math.ceil(self._limit.pace.latency), LEAST_RETRY), MOST_RETRY)
        return Busy(f"{self._whose} is busy with {self.running:,} calls, and gets no more at once", seconds, Side.OURS)

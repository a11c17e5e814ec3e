"""An application on paper: calls arrive, wait for a place, are worked at, and end, in time that costs none."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from eps.core.latency import Begun
from eps.core.overload import WAIT_SECONDS, Limit, may_wait

Work = Callable[[], float]
"""Draws the seconds that one call takes by itself."""

Arrival = tuple[float, str, float]
"""When, which method, and how long it takes by itself."""


def about(seconds: float) -> Work:
    """Give or take a fifth."""
    return lambda: seconds * random.uniform(0.8, 1.2)


def anything(mean: float) -> Work:
    """Mostly short, at times long (exponential)."""
    return lambda: random.expovariate(1 / mean)


def arrivals(rate: float, begin: float, end: float, work: Work, method: str = "m") -> Iterator[Arrival]:
    """So many calls per second, at random moments."""
    at = begin
    while (at := at + random.expovariate(rate)) < end:
        yield at, method, work()


@dataclass
class Result:
    """Of the calls that came during a while: what accepted ones took, sorted, and how many were refused."""

    seconds: list[float]
    refused: int

    def quantile(self, share: float) -> float:
        return self.seconds[int(len(self.seconds) * share)]


class Simulation:
    """Calls in front of an application.

    Args:
        limit: how many it gets at once.
        workers: how many it works at; None: all of them.
        again: callers that call once more as soon as they have an answer, each with that work. None: nobody does.
    """

    def __init__(self, limit: Limit, workers: int | None, again: Work | None = None) -> None:
        self.limit = limit
        self._again = again
        self.now = 0.0
        self._free = workers
        self._running = 0
        self._waiting: list[Arrival] = []
        self._inside: list[tuple[Arrival, Begun]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._done: list[tuple[float, float]] = []
        self._refused: list[float] = []
        self._refused_at = -9.0

    def run(self, calls: Iterable[Arrival], until: float) -> None:
        for call in calls:
            self._at(call[0], lambda call=call: self._arrive(call))  # type: ignore[misc]
        while self._events and self._events[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._events)
            happen()

    def result(self, begin: float, end: float) -> Result:
        seconds = sorted(took for came, took in self._done if begin <= came < end)
        return Result(seconds, sum(begin <= came < end for came in self._refused))

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._number), happen))

    def _arrive(self, call: Arrival) -> None:
        if self._running < self.limit.most:
            self._begin(call)
        elif may_wait(len(self._waiting), self.limit, self.now - self._refused_at):
            self.limit.pressed(self.now, refused=False)
            self._waiting.append(call)
            self._at(self.now + WAIT_SECONDS, lambda: self._give_up(call))
        else:
            self._refuse(call)

    def _give_up(self, call: Arrival) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
            self._refuse(call)

    def _refuse(self, call: Arrival) -> None:
        self._refused.append(call[0])
        self._refused_at = self.now
        self._call_again(call)
        self.limit.pressed(self.now, refused=True)

    def _call_again(self, call: Arrival) -> None:
        if self._again is not None:
            again = (self.now + 1e-4, call[1], self._again())
            self._at(again[0], lambda: self._arrive(again))

    def _begin(self, call: Arrival) -> None:
        self._running += 1
        self._inside.append((call, self.limit.begun(call[1], self._running, self.now)))
        self._work()

    def _work(self) -> None:
        while self._inside and self._free != 0:
            if self._free is not None:
                self._free -= 1
            call, begun = self._inside.pop(0)
            self._at(self.now + call[2], lambda call=call, begun=begun: self._end(call, begun))  # type: ignore[misc]

    def _end(self, call: Arrival, begun: Begun) -> None:
        self._running -= 1
        if self._free is not None:
            self._free += 1
        self.limit.ended(begun, self.now, self.now - begun.at)
        self._done.append((call[0], self.now - call[0]))
        self._call_again(call)
        while self._waiting and self._running < self.limit.most:
            self._begin(self._waiting.pop(0))
        self._work()

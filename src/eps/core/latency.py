"""How long calls take, against what their methods take when few run; ``core.overload`` judges by it. Pure."""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

FAST, SLOW = 1.1, 1.3
"""The limit grows up to so many times the base: fast, slowly. At 1.3 times, a quarter more run than are worked at."""

COHORT, COHORTS = 20, 4
"""Calls whose latencies are looked at together, and how often, before they are judged: fewer would differ by chance."""

CLEARLY_LATE = 3.0
"""So many times the base is no chance, even in one cohort."""

QUICK = 0.03
"""Seconds that nobody minds: a method that takes less is late when it takes so many times this. An application that
answers in a millisecond takes forty of them where forty come at once, and none of their callers wants a refusal.
(Also, of some milliseconds most is our own work, and our machine's.)"""

SHARE = 0.25
"""Which of a window's latencies counts, and which a base is: the lower quarter."""

STEP = 0.03
"""By what a base follows each single latency upwards; downwards by three times that, so that a quarter lie below it."""

LONG_STEP = 0.005
"""By what the time in which nine of ten calls end is followed downwards; upwards by nine times that."""

OVERDUE = 1.5
"""After so many times that a call is overdue."""

STALL = 0.2
"""Seconds before which none is overdue: a machine that has much to do lets an application stand for so long."""

SURE, SURE_OF = 7, 10
"""So many of the last ten are overdue by chance in one of a hundred thousand cases, whatever the application does."""

MAX_WATCHED = 1_000
"""Calls that are watched at a time; of more, not all need be."""

FIRST = 20
"""Of so many calls a method's first base is the lower quarter: the very first may be slow for reasons of its own."""


class Pace:
    """How fast calls end, whichever they are.

    Attributes:
        latency: seconds that a call takes, roughly; 0: unknown.
    """

    def __init__(self) -> None:
        self.latency = 0.0
        self._apart = 0.0
        self._ended_at = -math.inf

    def ended(self, now: float, took: float) -> None:
        """A call has ended, after ``took`` seconds."""
        if math.isfinite(took):
            self.latency += 0.1 * (took - self.latency)
        # While it ran, one place at least was taken: a longer pause before was for want of calls.
        apart = min(now - self._ended_at, took)
        if math.isfinite(apart):
            self._apart += 0.05 * (apart - self._apart)
        self._ended_at = now

    def wait(self, waiting: int, places: int) -> float:
        """Seconds until there is a place behind ``waiting`` others; 0: unknown.

        Where fewer ran than have a place, they ended farther apart than they would now.
        """
        return (waiting + 1) * min(self._apart, self.latency / places)


@dataclass(slots=True)
class Begun:
    """A call that runs, or has ended.

    Attributes:
        method: what is called.
        running: calls that ran when it began, itself included.
        at: when it began.
        base: what its method takes when few run; 0: not known then.
        seconds: that it took; None: it runs. inf: no answer came.
    """

    method: str
    running: int
    at: float
    base: float = 0.0
    seconds: float | None = None

    def took(self, now: float) -> float:
        """Seconds that it took, or has been running for."""
        return now - self.at if self.seconds is None else self.seconds


@dataclass(slots=True)
class Cohort:
    """Calls that began one after the other. (Those that end one after the other won't do: the short ones come first.)

    Attributes:
        calls: :data:`COHORT` of them, once it is full.
        pressed: meanwhile calls found no place.
    """

    calls: list[Begun] = field(default_factory=list)
    pressed: bool = False

    def seen(self, now: float) -> "Seen | None":
        """What the lower quarter took, against their bases; None: not known yet."""
        if len(self.calls) < COHORT:
            return None
        late = lower([(call.took(now) / max(call.base, QUICK), call.seconds is None) for call in self.calls])
        if late is None:
            return None
        return Seen(late, sorted(call.running for call in self.calls)[COHORT // 2], self.pressed)

    def drop(self, call: Begun) -> None:
        """Another one takes the place of ``call``, if it is one of these."""
        self.calls = [one for one in self.calls if one is not call]


@dataclass(frozen=True, slots=True)
class Seen:
    """What cohorts show: how late calls were, among how many, and whether others found no place."""

    late: float
    running: float
    pressed: bool

    def is_clear(self) -> bool:
        """Whether one cohort is enough to judge by."""
        return self.late > CLEARLY_LATE or (self.pressed and self.late <= FAST)


def together(seen: Sequence[Seen]) -> Seen:
    count = len(seen)
    late, running = sum(one.late for one in seen) / count, sum(one.running for one in seen) / count
    return Seen(late, running, any(one.pressed for one in seen))


class Base:
    """What calls of one method take when few run.

    Args:
        few: so many.

    Attributes:
        seconds: the lower quarter of what they take; 0: not known.
        long: nine of ten end within these; 0: not known.
    """

    def __init__(self, few: int) -> None:
        self._few = few
        self.seconds = 0.0
        self.long = 0.0
        self._first: list[Begun] = []

    def begun(self, call: Begun) -> None:
        """A call began; by the first ones the base is known at all."""
        if not self.seconds and len(self._first) < FIRST:
            self._first.append(call)

    def forget(self, call: Begun) -> None:
        """A call has ended in a way that says nothing."""
        self._first = [one for one in self._first if one is not call]

    def ended(self, call: Begun, now: float, *, few: bool) -> None:
        """A call has ended; ``few`` ran beside it."""
        if self.seconds:
            if few and math.isfinite(took := call.took(now)):
                self.seconds *= 1 + STEP if took > self.seconds else 1 - 3 * STEP
                self.long = self.long * (1 + 9 * LONG_STEP if took > self.long else 1 - LONG_STEP) or took
        elif len(self._first) == FIRST:
            first = lower([(one.took(now), one.seconds is None) for one in self._first])
            if first is not None and math.isfinite(first):
                self.seconds = max(first, 1e-6)
                self.long = self._first_long()
                self._first = []

    def _first_long(self) -> float:
        """What the longest of those took that began among few. Where calls come too fast from the first one on, there
        are no others to learn it from."""
        among_few = [one.seconds for one in self._first if one.running <= self._few]
        ended = [seconds for seconds in among_few if seconds is not None and math.isfinite(seconds)]
        return max(ended, default=0.0) if len(ended) == len(among_few) else 0.0


class Watch:
    """Calls that take far longer than usually, which is known while they run.

    That calls wait for each other is seen when a quarter of a cohort has ended: late, if they wait for long. That of
    ten that should have ended most have not, is known before, though not what to make of it.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Begun]] = []
        self._last: deque[Begun] = deque(maxlen=SURE_OF)
        self._number = 0

    def begun(self, call: Begun, long: float, times: float) -> None:
        """Watch a call; ``long``: see :class:`Base`; ``times``: by how much longer calls take now, queue or not."""
        if long and len(self._due) < MAX_WATCHED:
            self._number += 1
            heapq.heappush(self._due, (call.at + max(OVERDUE * times * long, times * STALL), self._number, call))

    def overdue(self, now: float) -> float:
        """For how many seconds those run that should have ended last, if most of them still do; else 0."""
        while self._due and self._due[0][0] <= now:
            self._last.append(heapq.heappop(self._due)[2])
        running = [call for call in self._last if call.seconds is None]
        return now - running[0].at if len(running) >= SURE else 0.0


def lower(values: Sequence[tuple[float, bool]]) -> float | None:
    """The lower quarter of values; None: it isn't known yet, since a value below it may still grow."""
    value, grows = sorted(values)[int(len(values) * SHARE)]
    return None if grows or any(other < value for other, grows in values if grows) else value

"""How many calls an application gets at once, so that more of them don't make all of them slow. Pure: time comes in.

Theory of operation. An application that is asked faster than it can work answers no more calls for it, only later ones.
How long an answer takes doesn't show that: a call may wait ten seconds for an event, and a hundred of them beside it
take ten seconds as well. It is the two together that show it: answers come late **and** more calls run than usually;
and it is proved only by what follows: with fewer calls at once, each is answered sooner.

    latency of a call, against what its method takes when few run     (a base for each method)
      up to 1.1 or 1.3 times, and calls found no place   the limit grows, fast or slowly
      above 1.6 times, and more run than usually         the limit falls: to what the application does by itself,
                                                         halfway at the most
      the same after a fall: it did not help             the limit is what it was; calls just take longer now
      somewhat late, and calls refused, for long         a higher one is tried; if that does no harm: as above
    nobody was refused for a while                       it doubles: a burst finds room

Until a quarter of a cohort has ended an overload goes on for a while. That most of those calls still run that should
have ended is known sooner (``latency.Watch``), not why: then no more run for a moment, until cohorts show what it is.

Beyond the limit calls wait for a moment, so that a burst is not refused: as many as will get a place in that time, be
that one or a hundred. Where calls were refused just now it is no burst, a queue would only make all of them later, and
those wait whom that doesn't hurt. In the same way what takes a few hundredths of a second is not late, whatever else it
took (``latency.QUICK``): callers of a fast application, each with its next call, are answered, also a hundred of them.

Calls are judged in cohorts of those that began one after the other, since the last change of the limit; and of their
latencies the lower quarter counts: what even the quick ones wait for is a queue. That is known as soon as a quarter has
ended. (The idea of limits that follow latency is TCP Vegas'.)
"""

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Protocol

from eps.core.latency import COHORT, COHORTS, FAST, SLOW, Base, Begun, Cohort, Pace, Seen, Watch, together
from eps.core.recent import Recent

FLOOR = 8
"""Calls that any application is given at once: what runs with one worker gets a short queue, nothing else is slowed."""

CEILING = 512
"""Calls beyond which one application isn't asked at once: each needs a connection, on both sides."""

LATE = 1.6
"""From so many times the base on, calls wait for each other. Below twice, so that with the wait for a turn accepted
calls stay under twice what they took before."""

MORE = 2.0
"""Where usually a hundred calls run there may be a queue when two hundred do, not when a hundred and ten do."""

PROBE = 1.5
"""By what a limit is raised to see whether that does harm."""

PROBE_AFTER, MAX_PATIENCE = 10, 80
"""Judgements by which calls were rather late and others refused, after which a higher limit is tried; each time that it
did harm, twice as many, up to the second."""

HOLD = 3.0
"""Of the time that overdue calls run for, how long no more may run: until cohorts show what it is. If they don't, twice
as many may, and so on: what calls take now may be far from what they took."""

USUAL_SECONDS = 60.0
"""What has been running for so long is what usually does."""

QUIET_SECONDS = 1.0
"""After so long without a call that found no place the limit doubles; after two latencies, where these are longer."""

MAX_METHODS = 200
"""Methods whose bases are remembered, the latest."""

WAIT_SECONDS = 0.08
"""How long a call may wait for a place: whoever is refused shall know it within a tenth of a second."""

ALL_SECONDS = 0.09
"""While calls are refused, others wait only as long as wait and answer together take no longer."""

FEW_WAITING = 2
"""Calls that wait all the same, so that a place that becomes free is taken at once."""

MAX_WAITING = 256
"""Calls that wait for a place: of an application that answers three thousand a second, within :data:`WAIT_SECONDS`."""


def may_wait(waiting: int, limit: "Limit", since_refusal: float) -> bool:
    """Whether one more call may wait for a place: that is decided by how long it would, not by how many do.

    Args:
        waiting: those that wait already.
        since_refusal: seconds since a call was refused.
    """
    wait = limit.pace.wait(waiting, limit.most)
    if wait > WAIT_SECONDS or waiting >= MAX_WAITING:
        return False
    return since_refusal > QUIET_SECONDS or waiting < FEW_WAITING or wait + limit.pace.latency <= ALL_SECONDS


class Limit(Protocol):
    """How many calls may run, as :class:`Fixed` and :class:`Adaptive` say it.

    Attributes:
        most: calls at once.
        pace: how fast they end.
    """

    @property
    def most(self) -> int: ...

    @property
    def pace(self) -> Pace: ...

    def begun(self, method: str, running: int, now: float, lag: float = 0.0) -> "Begun":
        """A call is handed to the application; ``running`` counts it, too.

        Args:
            lag: seconds by which we know later than it is so that a call has ended.
        """
        ...

    def ended(self, call: "Begun", now: float, took: float | None) -> None:
        """It has ended, after ``took`` seconds; inf: without an answer, in all its time; None: that says nothing."""
        ...

    def pressed(self, now: float, *, refused: bool) -> None:
        """A call found no place: it waits, or is refused."""
        ...


class Fixed:
    """A number from the settings."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.pace = Pace()

    def begun(self, method: str, running: int, now: float, lag: float = 0.0) -> Begun:
        return Begun(method, running, now)

    def ended(self, call: Begun, now: float, took: float | None) -> None:
        if took is not None:
            self.pace.ended(now, took)

    def pressed(self, now: float, *, refused: bool) -> None:
        """A fixed limit stays."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """Another limit, until it has proved to help, or to do harm: what was seen before it.

    Attributes:
        most, old: the higher one of the two limits, and the one before.
    """

    most: float
    old: float
    lateness: float
    running: float

    def is_queue(self, lateness: float, running: float) -> bool | None:
        """Whether calls wait for each other: with fewer at once they are sooner answered, with more later.

        By a quarter of what a queue would make of it, as chance has its part; None where as many ran as before. Calls
        that got no answer at all count as a queue.
        """
        times = running / self.running
        if 0.9 < times < 1.1:
            return None
        same = self.lateness * (0.25 * times + 0.75)
        return math.isinf(lateness) or (lateness < same if times < 1 else lateness > same)


@dataclass(frozen=True, slots=True)
class _Held:
    """For a moment no more may run than do.

    Attributes:
        until: then twice as many may, and so on every ``seconds``.
        most: the limit before.
    """

    until: float
    seconds: float
    most: float


class Adaptive:
    """A limit that follows what the application does.

    Args:
        now: seconds, on the clock of all later calls.
    """

    def __init__(self, now: float) -> None:
        self._most = float(CEILING)
        self._bases: Recent[str, Base] = Recent(MAX_METHODS)
        self._cohorts = deque([Cohort()])
        self._seen: list[Seen] = []
        self._watch = Watch()
        self._held: _Held | None = None
        self._trial: _Trial | None = None
        self._allowed = 1.0
        self._late_before = 0.0
        self._stuck, self._patience = 0, PROBE_AFTER
        self._usual = 0.0
        self._running = 0
        self._since = self._looked_at = self._refused_at = now
        self.pace = Pace()

    @property
    def most(self) -> int:
        """Calls that may run at once."""
        return int(self._most)

    def begun(self, method: str, running: int, now: float, lag: float = 0.0) -> Begun:
        """See :class:`Limit`."""
        self._running = running
        if (
            self._most < CEILING
            and self._held is None
            and now - self._refused_at > max(QUIET_SECONDS, 2 * self.pace.latency)
        ):
            self._set(min(2 * self._most, float(CEILING)))
            self._refused_at = now
        base = self._bases.get(method)
        if base is None:
            self._bases.put(method, base := Base(FLOOR))
        call = Begun(method, running, now, base.seconds)
        base.begun(call)
        self._watch.begun(call, base.long, self._allowed)
        self._hold(running, now, lag)
        if call.base:
            if len(self._cohorts[-1].calls) == COHORT:
                self._cohorts.append(Cohort())
            self._cohorts[-1].calls.append(call)
        return call

    def _hold(self, running: int, now: float, lag: float) -> None:
        """Let no more run for a moment, if there may be a queue."""
        self._loosen(now)
        overdue = self._watch.overdue(now - lag)
        if overdue and FLOOR <= running < self._most and running > MORE * self._usual and self._held is None:
            self._held = _Held(now + HOLD * overdue, HOLD * overdue, self._most)
            self._most = float(running)

    def pressed(self, now: float, *, refused: bool) -> None:
        """See :class:`Limit`."""
        self._cohorts[-1].pressed = True
        if refused:
            self._refused_at = now
        self._loosen(now)

    def _loosen(self, now: float) -> None:
        """Twice as many may run as were held back."""
        held = self._held
        if held is not None and now > held.until:
            self._most = min(2 * self._most, held.most)
            self._held = replace(held, until=now + held.seconds) if self._most < held.most else None

    def ended(self, call: Begun, now: float, took: float | None) -> None:
        """See :class:`Limit`."""
        call.seconds = took or 0.0  # in any case, it runs no longer
        base = self._bases.get(call.method)
        if took is None:
            self._forget(call, base)
            return
        if base is not None:
            few = call.running <= min(max(FLOOR, self._usual), self._most / 2)
            # What is late is compared, before and after: by one base.
            base.ended(call, now, few=few and self._trial is None and self._held is None)
        self.pace.ended(now, took)
        while (seen := self._cohorts[0].seen(now)) is not None:
            self._look(seen, now)

    def _forget(self, call: Begun, base: Base | None) -> None:
        """Look at others instead of ``call``."""
        if base is not None:
            base.forget(call)
        for cohort in self._cohorts:
            cohort.drop(call)

    def _look(self, seen: Seen, now: float) -> None:
        """Judge by one cohort, if it is clear, or by several together."""
        self._cohorts.popleft()
        if not self._cohorts:
            self._cohorts.append(Cohort())
        self._seen.append(seen)
        if seen.is_clear():
            self._seen.clear()
            self._judge(seen, now)
        elif len(self._seen) == COHORTS:
            seen = together(self._seen)
            self._seen.clear()
            self._judge(seen, now)

    def _judge(self, seen: Seen, now: float) -> None:
        trial, late, running = self._trial, seen.late, seen.running
        self._trial = None
        queue = trial.is_queue(late, running) if trial is not None else None
        if queue or late * LATE < self._allowed:
            self._allowed = 1.0
        if trial is not None and queue is False:
            self._accept(late, trial)
        elif trial is not None and queue and trial.old < self._most:
            self._set(trial.old)
        elif late > LATE * self._allowed:
            self._fall(late, running, more=seen.pressed or running > MORE * self._usual)
        else:
            self._late_before = 0.0
            if seen.pressed:
                self._grow(late / self._allowed, running)
            else:
                self._remember_usual(running, now)
        self._looked_at = now

    def _accept(self, late: float, trial: _Trial) -> None:
        """Calls take so much longer now, for another reason than that many run."""
        self._allowed = max(late, 1.0)
        self._watch = Watch()
        self._late_before, self._stuck, self._patience = 0.0, 0, PROBE_AFTER
        self._set(max(self._most, trial.most))

    def _remember_usual(self, running: float, now: float) -> None:
        past = max(min(now - self._since, USUAL_SECONDS), 1e-3)
        self._usual += (running - self._usual) * -math.expm1((self._looked_at - now) / past)
        self._stuck, self._patience = 0, PROBE_AFTER

    def _fall(self, late: float, running: float, *, more: bool) -> None:
        """Lower the limit, if more than usually run and were late before, too: once may be chance."""
        before, self._late_before = self._late_before * running, late / running  # of a queue, as late as many run
        most = max(running / late * SLOW, max(running, self._running) / 2, FLOOR)
        if not more or not before or running <= FLOOR < most:
            return
        if most < self._most:
            self._try(most, min(late, before), running)
        else:
            self._probe(late, running)

    def _grow(self, late: float, running: float) -> None:
        if late <= FAST:
            self._set(min(self._most * 1.25, CEILING))
        elif late <= SLOW:
            self._set(min(self._most + max(1.0, self._most / 20), CEILING))
        else:
            self._probe(late * self._allowed, running)

    def _probe(self, late: float, running: float) -> None:
        """Try a higher limit now and then, where calls seem to wait for each other and others are refused for that."""
        self._stuck += 1
        if self._stuck >= self._patience:
            self._stuck, self._patience = 0, min(2 * self._patience, MAX_PATIENCE)
            self._try(min(PROBE * self._most, CEILING), late, running)

    def _try(self, most: float, late: float, running: float) -> None:
        # What no fewer than were held back show to be no queue, is shown of twice as many.
        before = min(self._held.most, 2 * self._most) if self._held is not None else self._most
        self._trial = _Trial(max(most, before), before, late, running)
        self._set(most)

    def _set(self, most: float) -> None:
        """Another limit; what is under way says nothing about it."""
        self._most = most
        self._held = None
        self._cohorts = deque([Cohort()])
        self._seen.clear()

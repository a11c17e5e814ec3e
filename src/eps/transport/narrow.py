"""What is in front of small messages on a narrow line, where a relay has a part of it: bytes of one connection, end to
end, go out in the order in which they came. So a flow that isn't known to be quick takes little at once
(:class:`Measure`), and its source's kernel keeps little where the sink is slow (:class:`Hold`).

A bound in bytes would hold every far line up for good: few bytes on their way are slow wherever the way is long. So
what may wait is a time: of the sink's work, as quick as it has just shown to be. Where a source is less far away than
that, its window grows until the sink is what is waited for; and while the sink is not, it grows with each round trip.

What a kernel has promised to take it can't refuse, so no less is kept before that has come (:class:`Room`); nor is a
small buffer given to a socket before it is connected, which would fix how large its window can ever be (RFC 7323,
section 2).
"""

import math
import socket

from eps.transport.pipes import PIPE_BYTES
from eps.transport.sockets import UNSENT_BYTES, confirmed, keep_less, keep_more, keeps, may_bound, promise_less

AHEAD = 0.1
"""Seconds of a sink's work that are taken at once: a line has enough to do until the event loop looks again."""

LEAST_TAKEN, FIRST_TAKEN = 16_384, 65_536
"""Bytes: what even the narrowest line gets at once; and what an unknown one does: a carrier, four times doubled."""

HELD = 1.0
"""Seconds of a sink's work that may wait here, all in all: sources that are less far away aren't held up by that."""

FIRST_HELD, LEAST_HELD = 65_536, 16_384
"""Bytes that a source's kernel may have for an unknown sink, as many as kernels begin with; and for the slowest."""

MOST_HELD = 4_000_000
"""Bytes from which on nothing is bounded: as much as kernels let wait by themselves, and more than is ever late."""

BESIDES = 2 * UNSENT_BYTES
"""Bytes that wait in other places for the narrowest line: unsent ones, and what is taken at once."""

GROWTH = 4
"""Times as much may be held after one sample, since what has waited may go out in one burst."""

SAMPLE = 0.5
"""Seconds of a sink's work after which its pace is known: it comes in bursts."""


class Measure:
    """How much a sink is given at once.

    Attributes:
        most: bytes.
        unsent: no more bytes than that are unsent there, as far as the flow has asked and has given since.
    """

    __slots__ = ("_queued", "_since", "most", "unsent")

    def __init__(self) -> None:
        self.most = FIRST_TAKEN
        self.unsent = 0
        self._queued = 0
        self._since = 0.0

    def went_through(self, taken: int) -> None:
        """The sink took ``taken`` bytes without a pause."""
        if taken >= self.most:
            self.most = min(2 * self.most, PIPE_BYTES)

    def waits(self, queued: int, now: float) -> None:
        """The sink has so many bytes to send, or to be given, before it gets more."""
        self._queued, self._since = queued, now

    def waited(self, now: float) -> tuple[int, float]:
        """All but :data:`UNSENT_BYTES` of them are on their way; how many that were, and in how many seconds."""
        self.unsent = UNSENT_BYTES
        sent, seconds = max(self._queued - UNSENT_BYTES, 0), max(now - self._since, 1e-6)
        self.most = int(min(max(sent / seconds * AHEAD, LEAST_TAKEN), PIPE_BYTES))
        return sent, seconds


class Promise:
    """How much a source's kernel may have that its sink has not been given.

    Attributes:
        most: bytes; None: as much as it likes.
    """

    __slots__ = (
        *("_arrived", "_before", "_begun", "_confirmed", "_looked_at"),
        *("_passed", "_passed_since", "_sent", "_worked", "most"),
    )

    def __init__(self) -> None:
        self.most: int | None = FIRST_HELD
        self._sent, self._worked = 0, 0.0
        self._before, self._begun, self._looked_at, self._confirmed = 0.0, 0.0, -math.inf, 0
        self._passed, self._passed_since, self._arrived = 0, 0.0, 0

    def worked(self, sent: int, seconds: float) -> bool:
        """A sink that nothing is bounded for had enough to do for so long, and sent so much; whether that is little."""
        self._sent += sent
        self._worked += seconds
        if self._worked < SAMPLE:
            return False
        rate, self._sent, self._worked = self._sent / self._worked, 0, 0.0
        return self._set(rate)

    def looked(self, confirmed: int, now: float) -> bool:
        """Of another sink, which was waited for, so many bytes have arrived in all; whether :attr:`most` has changed.

        They are confirmed in bursts, behind a lost packet, and a line that is new gets quicker: so two samples count.
        """
        self._passed, self._arrived = 0, confirmed
        if now - self._looked_at > HELD:
            self._begun, self._confirmed, self._before = now, confirmed, -1.0
        self._looked_at = now
        if now - self._begun < SAMPLE:
            return False
        rate = (confirmed - self._confirmed) / (now - self._begun)
        before, self._before, self._begun, self._confirmed = self._before, rate, now, confirmed
        if before < 0:
            return False  # one is not enough
        lower, upper = sorted((rate, before))
        bounded = self.most + BESIDES if self.most is not None else MOST_HELD
        return self._set(min(max(bounded / HELD, lower), upper))

    def passed(self, taken: int, now: float) -> bool:
        """The sink took so much and did not have to be waited for; whether it may well be quicker than that."""
        if now - self._passed_since > HELD:
            self._passed, self._passed_since = 0, now
        self._passed += taken
        if self.most is None or self._passed < self.most:
            return False
        self._passed = 0
        return True

    def proved(self, confirmed: int) -> bool:
        """So many bytes have arrived in all, and not all had to be waited for; whether :attr:`most` has changed."""
        arrived, self._arrived = confirmed - self._arrived, confirmed
        if self.most is None or arrived < self.most:
            return False
        self._looked_at = -math.inf
        return self._set((GROWTH * self.most + BESIDES) / HELD)

    def _set(self, rate: float) -> bool:
        before, most = self.most, max(int(rate * HELD) - BESIDES, LEAST_HELD)
        if before is not None:
            most = min(most, GROWTH * before)
        self.most = most if most < MOST_HELD else None
        return self.most != before


class Room:
    """What a source's kernel keeps: it is made less in two steps, since what was promised may come.

    Args:
        source: read by its owner. Where somebody has bounded what it keeps already, nothing is done.
        most: bytes.
        moved: bytes that were read from it in all.
    """

    __slots__ = ("_due", "_is_ours", "_most", "_source")

    def __init__(self, source: socket.socket, most: int, moved: int) -> None:
        self._source = source
        self._is_ours = may_bound(source)
        self._most: int | None = most
        self._due = math.inf
        self.become(most, moved)

    def become(self, most: int | None, moved: int) -> None:
        """Let it keep ``most`` bytes. (None: as many as it finds good.)

        Args:
            moved: bytes that were read from it in all.
        """
        if not self._is_ours:
            return
        self._most, kept = most, keeps(self._source)
        if most is None or 2 * most > kept:
            self._due = math.inf
            keep_more(self._source, most)
        else:
            promise_less(self._source, most)
            self._due = min(moved + kept // 2, self._due)

    def moved(self, moved: int) -> None:
        """So many bytes were read from it in all: once all came that had been promised, it may keep less."""
        if moved >= self._due and self._most is not None and 2 * self._most < keeps(self._source):
            keep_less(self._source, self._most)


class Hold:
    """What one direction of a relay lets its source's kernel keep; for a direction that has carried something.

    Args:
        moved: bytes, until now.
    """

    __slots__ = ("_promise", "_room", "_sink")

    def __init__(self, source: socket.socket, sink: socket.socket, moved: int) -> None:
        self._promise = Promise()
        self._room = Room(source, FIRST_HELD, moved)
        self._sink = sink

    def went_through(self, taken: int, moved: int, now: float) -> None:
        """The sink took ``taken`` bytes without a pause, ``moved`` in all."""
        if self._promise.passed(taken, now) and self._promise.proved(confirmed(self._sink)):
            self._room.become(self._promise.most, moved)

    def waited(self, sent: int, seconds: float, moved: int, now: float) -> None:
        """The sink, which was given ``moved`` bytes in all, had to be waited for, and sent so many meanwhile."""
        promise = self._promise
        self._room.moved(moved)
        bounded = promise.most is not None  # routers may have what was sent, for a narrow line behind them
        if promise.looked(confirmed(self._sink), now) if bounded else promise.worked(sent, seconds):
            self._room.become(promise.most, moved)

"""What is in front of small messages on a narrow line, where a relay has a part of it: bytes of one connection, end to
end, go out in the order in which they came. So a flow that isn't known to be quick takes little at once
(:class:`Measure`), and its source's kernel keeps little for it (:class:`Room`).

A receive window is a promise that can't be taken back, and a kernel makes greater ones the quicker its program reads:
what a relay reads at first goes into the sink's kernel at once, however narrow the line behind that is. So how much is
promised goes by what the sink's peer has confirmed.
"""

import socket

from eps.transport.pipes import PIPE_BYTES
from eps.transport.sockets import UNSENT_BYTES, Buffer, bound, free, may_bound, stop_growth, unacknowledged

AHEAD = 0.1
"""Seconds of a sink's work that are taken at once: a line has enough to do until the event loop looks again."""

LEAST_TAKEN, FIRST_TAKEN = 16_384, 65_536
"""Bytes: what even the narrowest line gets at once; and what an unknown one does: a carrier, four times doubled."""

QUICK = 96_000
"""Bytes per second: a sink that confirms so many has no need of a bound, since kernels find the right one then."""

PROOF_BYTES = 131_072
"""Confirmed ones, by which that is seen: more than routers on the way keep for a narrow line and its first burst."""

FAR = 0.25
"""Seconds: as far away may a source be without being held up by its window, which is so much of a sink's work."""

FIRST_ROOM, LEAST_ROOM = int(QUICK * FAR), 16_384
"""Bytes that a source may have on their way, or waiting here: as long as a sink is unknown; and for the narrowest."""

FIRST_FLIGHT = FIRST_ROOM // 2
"""Bytes that an unknown sink's kernel takes, by its own count: :data:`FIRST_ROOM` at the most. TCP would double what is
on its way until a narrow line's queue overflows, and has then to send most of it again."""


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

    def waited(self, now: float) -> float:
        """All but :data:`UNSENT_BYTES` of them are on their way; how many a second that were."""
        self.unsent = UNSENT_BYTES
        sent = max(self._queued - UNSENT_BYTES, 0)
        rate = sent / max(now - self._since, 1e-6)
        self.most = int(min(max(rate * AHEAD, LEAST_TAKEN), PIPE_BYTES))
        return rate


class Room:
    """How much the kernel keeps for a flow, before and behind it.

    Args:
        source, sink: of the flow. Where somebody has bounded their buffers already, nothing is done.
        now: the loop's clock.

    Attributes:
        is_free: as much as it likes, as far as this is concerned.
    """

    __slots__ = ("_bounds", "_confirmed", "_since", "_sink", "_source", "is_free")

    def __init__(self, source: socket.socket, sink: socket.socket, now: float) -> None:
        self._source, self._sink = source, sink
        self._confirmed = 0
        self._since = now
        self._bounds = may_bound(source, Buffer.RECEIVE) and may_bound(sink, Buffer.SEND)
        self.is_free = not self._bounds
        if self._bounds:
            bound(source, Buffer.RECEIVE, FIRST_ROOM)
            bound(sink, Buffer.SEND, FIRST_FLIGHT)

    def passed(self, moved: int, now: float) -> None:
        """The sink was given ``moved`` bytes by now; for one that isn't free."""
        if moved - self._confirmed < PROOF_BYTES:
            return
        confirmed = moved - unacknowledged(self._sink)
        if confirmed - self._confirmed < PROOF_BYTES:
            return
        if confirmed - self._confirmed >= QUICK * (now - self._since):
            self.is_free = True
            free(self._source, Buffer.RECEIVE)
            free(self._sink, Buffer.SEND)
        self._confirmed, self._since = confirmed, now

    def waited(self, rate: float, moved: int, now: float) -> None:
        """The sink sends so many bytes per second, of which it has been given ``moved``."""
        if not self._bounds or not 0 < rate < QUICK:
            return
        if self.is_free:
            self.is_free = False
            self._confirmed, self._since = moved, now
            stop_growth(self._source, Buffer.RECEIVE)
            stop_growth(self._sink, Buffer.SEND)
        else:
            bound(self._source, Buffer.RECEIVE, max(int(rate * FAR), LEAST_ROOM))

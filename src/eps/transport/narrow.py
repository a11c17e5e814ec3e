"""What is in front of small messages on a narrow line, where a relay has a part of it: bytes of one connection, end to
end, go out in the order in which they came. So a flow that isn't known to be quick takes little at once.

What its kernels have promised to take they may take all the same. To bound that was tried, twice. In bytes it held
every far line to some 90 kB/s: few bytes on their way are slow wherever the way is long, and a socket that is given a
small buffer before it is connected never has a large window (RFC 7323, section 2). In seconds of the sink's work far
lines were as quick as ever, but small messages took four to five seconds all the same: as much waits at the caller and
in the line's own queue. So the two ends bound what is on its way between them (``grpc.pace``): two to three seconds.
"""

from eps.transport.pipes import PIPE_BYTES
from eps.transport.sockets import UNSENT_BYTES

AHEAD = 0.1
"""Seconds of a sink's work that are taken at once: a line has enough to do until the event loop looks again."""

LEAST_TAKEN, FIRST_TAKEN = 16_384, 65_536
"""Bytes: what even the narrowest line gets at once; and what an unknown one does: a carrier, four times doubled."""


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

    def waited(self, now: float) -> None:
        """All but :data:`UNSENT_BYTES` of them are on their way."""
        self.unsent = UNSENT_BYTES
        sent = max(self._queued - UNSENT_BYTES, 0)
        rate = sent / max(now - self._since, 1e-6)
        self.most = int(min(max(rate * AHEAD, LEAST_TAKEN), PIPE_BYTES))

"""How long what may take at a public proxy's relay, and how much there may be."""

from dataclasses import dataclass

from eps.core.defaults import ACCEPT_SECONDS, RELAY_IDLE_SECONDS
from eps.transport.arrivals import MAX_ARRIVING

TELL_SECONDS = 2.0
"""Of ``accept_timeout``, for telling the caller that the other operator did not answer."""

MAX_TUNNELS = 8192
"""Joined or being made. Two sockets each: 16,384 open files, a fifth of them what systemd gives a service as its hard
limit (524,288); idle ones take a few KiB each."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """How long what may take, and how much there may be.

    Attributes:
        accept_timeout: seconds that a token lives, and that a connection has to show one.
        idle_timeout: seconds without a byte after which a joined connection is closed.
        max_tunnels: see :data:`MAX_TUNNELS`.
        max_arriving: connections that have not yet shown what they want.
        tells_durations: whether those who ask are told how long the parts took.
    """

    accept_timeout: float = ACCEPT_SECONDS
    idle_timeout: float = RELAY_IDLE_SECONDS
    max_tunnels: int = MAX_TUNNELS
    max_arriving: int = MAX_ARRIVING
    tells_durations: bool = True

    @property
    def ask_timeout(self) -> float:
        """Seconds that an operator has to answer: a little less, so that the one who waits for us hears why."""
        return max(self.accept_timeout - TELL_SECONDS, self.accept_timeout / 2)

"""Whether anybody is still there at the other end of a connection: when to ask, when to doubt, when to give up. Pure:
time comes in as a number, and what the kernel knows of the way as a value.

Theory of operation. A link that is dead says nothing (half-open TCP), and a busy peer says nothing either. So silence
counts only while somebody waits, and is judged by how long it lasts and by what the way shows:

    a call waits, and for 2 s nothing came        ASK: a ping, which any living peer answers at once
    nothing for 2 s more                          DOUBT: new calls go elsewhere, or wait until the doubt is over
    nothing for 5 s in all                        DEAD, if the way is: our bytes lie unconfirmed, and no confirmation of
                                                  any came since; or if the peer lives: another connection with it came
                                                  up since, and this one took all that we said, and was silent
    nothing for 15 s in all                       DEAD. Until then the peer may be slow only

Peers in use end connections that ping more often than every 15 s (PROTOCOL.md section 3): those that don't say they
are of our kind are asked no more often. Where a ping must wait, bytes of ours that lie unconfirmed are the question.
Any byte that comes is an answer.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class PulseLimits:
    """Times in seconds; all but the first and the last are counted from the question.

    Attributes:
        ask_after: that a call has waited while nothing came. Most answers are there sooner; a ping is cheap.
        doubt_after: that a question may stay unanswered. More than any round trip, and a stall or two.
        dead_after: as long, and a second for another connection to show that the peer lives: 5 s of silence in all.
        slow_after: for a peer that may be slow only, frozen by its debugger, its disk, its memory: 15 s in all.
        rare_pings: between two pings to peers that may not be of our kind.
    """

    ask_after: float = 2.0
    doubt_after: float = 2.0
    dead_after: float = 3.0
    slow_after: float = 13.0
    rare_pings: float = 15.0


class Sent(Enum):
    """What the kernel knows of the bytes that we sent."""

    QUIET = auto()
    """All are confirmed, or nothing is known."""
    MOVING = auto()
    """Some are not, but confirmations come."""
    DEAF = auto()
    """Some are not, and no confirmation of any has come since."""


def judge_sent(unconfirmed: int, confirmed_ago: float, since: float) -> Sent:
    """What is known of the bytes that we sent.

    Args:
        unconfirmed: bytes of ours without a confirmation.
        confirmed_ago: seconds since the last confirmation came.
        since: seconds since the question.
    """
    if not unconfirmed:
        return Sent.QUIET
    return Sent.DEAF if confirmed_ago >= since else Sent.MOVING


class Diagnosis(Enum):
    """What is to be done."""

    NOTHING = auto()
    ASK = auto()
    """Ping, and call :meth:`Pulse.asked`."""
    DOUBT = auto()
    DEAD = auto()


class Pulse:
    """That of one connection.

    Attributes:
        ours: whether the peer has shown that it is of our kind.
        doubtful: whether a question has been without an answer for too long.
        heard_at: when the last byte came.
        asked_at: since when a question is without an answer; None if there is none.
        pinged_at: when we pinged last; minus infinity if never.
    """

    __slots__ = ("_elsewhere_at", "_limits", "_waiting", "asked_at", "doubtful", "heard_at", "ours", "pinged_at")

    def __init__(self, limits: PulseLimits, now: float) -> None:
        self.ours = False
        self.doubtful = False
        self.heard_at = now
        self.asked_at: float | None = None
        self.pinged_at = float("-inf")
        self._limits = limits
        self._waiting: dict[Hashable, float] = {}
        self._elsewhere_at = float("-inf")

    def waits(self, who: Hashable, now: float) -> None:
        """Somebody waits for an answer from now on."""
        self._waiting[who] = now

    def done(self, who: Hashable) -> None:
        """And no more."""
        self._waiting.pop(who, None)

    def heard(self, now: float) -> None:
        """Bytes came."""
        self.heard_at = now
        self.asked_at = None
        self.doubtful = False

    def asked(self, now: float) -> None:
        """A ping went out."""
        self.asked_at = self.pinged_at = now

    def elsewhere(self, now: float) -> None:
        """Another connection with the same peer came up."""
        self._elsewhere_at = now

    @property
    def since(self) -> float | None:
        """Since when silence counts: the question, or else the last byte or the longest wait; None if nobody waits."""
        if self.asked_at is not None:
            return self.asked_at
        oldest = next(iter(self._waiting.values()), None)
        return None if oldest is None else max(oldest, self.heard_at)

    def due(self, now: float) -> float | None:
        """In how many seconds to look again; None while nobody waits."""
        since, limits = self.since, self._limits
        if since is None:
            return None
        if self.asked_at is None:
            left = since + limits.ask_after - now
            return left if left > 0 else limits.ask_after  # the ping has to wait; the way may show something sooner
        steps = (limits.doubt_after, limits.dead_after, limits.slow_after)
        return min((since + step - now for step in steps if since + step > now), default=0.0)

    def judge(self, now: float, sent: Sent) -> Diagnosis:
        """What the silence means by now; ``sent`` is what the kernel knows about the time since :attr:`since`."""
        since, limits = self.since, self._limits
        if since is None:
            return Diagnosis.NOTHING
        if self.asked_at is None:
            return self._question(now, since, sent)
        alive_elsewhere = sent is Sent.QUIET and self._elsewhere_at >= since
        is_dead = now >= since + limits.dead_after and (sent is Sent.DEAF or alive_elsewhere)
        if is_dead or now >= since + limits.slow_after:
            return Diagnosis.DEAD
        if now >= since + limits.doubt_after:
            self.doubtful = True
            return Diagnosis.DOUBT
        return Diagnosis.NOTHING

    def _question(self, now: float, since: float, sent: Sent) -> Diagnosis:
        if now < since + self._limits.ask_after:
            return Diagnosis.NOTHING
        if self.ours or now - self.pinged_at >= self._limits.rare_pings:
            return Diagnosis.ASK
        if sent is Sent.DEAF:
            self.asked_at = now
        return Diagnosis.NOTHING

"""Deadlines and repetitions of calls."""

from dataclasses import dataclass

from eps.client.errors import Busy, CallError, OutcomeUnknown, Unreachable

LASTING = frozenset({"no-way", "http-proxy-refuses", "own-entry"})
"""Reasons for which a call can't be delivered that only an administrator changes."""


DEFAULT_SECONDS = 32.0
"""See :class:`Policy`."""


def told_of(left: float) -> float:
    """Of the seconds that are left for a call, those that the servers are told: who is nearer to a fault can say more
    of it, and so is to speak first."""
    return left - min(left / 10, 2.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """How long calls may take, and how often they are tried. Times in seconds.

    Attributes:
        timeout: of a call in all, repetitions too. A little more than an EPS server's own 30 s, so that its answer,
            which says more, comes first. Another one than this is told to the servers on the way, less a little, and
            counts there, too.
        connect_timeout: of one attempt to reach the EPS server: name, TCP, HTTP proxy and TLS.
        attempts: at the most, the first one too; 1: nothing is ever repeated.
        pause: before the first repetition; twice as long before each further one.
        longest_pause: that a pause grows to. A server that is busy and asks for more gets more.
    """

    timeout: float = DEFAULT_SECONDS
    connect_timeout: float = 5.0
    attempts: int = 3
    pause: float = 0.1
    longest_pause: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.timeout, self.connect_timeout) <= 0 or min(self.pause, self.longest_pause) < 0:
            raise ValueError("attempts must be at least 1, timeouts more than 0, pauses not less than 0")


def pause_before_next(
    policy: Policy, error: CallError, attempt: int, *, left: float, idempotent: bool, chance: float
) -> float | None:
    """How long to wait before a failed call is sent again; None: it has failed for good.

    Args:
        attempt: which one has failed, from 1.
        left: seconds until the call's deadline.
        idempotent: whether its caller says that twice is as good as once.
        chance: 0 to 1, so that many callers do not come back all at once.
    """
    if attempt >= policy.attempts or not _may_be_repeated(error, idempotent):
        return None
    pause = min(policy.pause * 2 ** (attempt - 1), policy.longest_pause) * (0.5 + chance / 2)
    pause = max(pause, error.retry_after or 0.0)
    return pause if pause < left else None


def _may_be_repeated(error: CallError, idempotent: bool) -> bool:
    if isinstance(error, OutcomeUnknown):
        return idempotent
    certainly_not_run = isinstance(error, Unreachable | Busy) and error.executed == "no"
    return certainly_not_run and error.stage != "tls" and error.reason not in LASTING

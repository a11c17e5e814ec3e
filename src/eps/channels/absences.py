"""Why an operator holds no stream to us, or loses it again and again: what we have seen of that ourselves.

An operator whose certificate we refuse is not simply off, and two servers of one operator that take each other's place
look well, each for itself: whoever asks for a tunnel, and whoever reads our log, is to learn it.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence

from eps.core.event import Level, Notice
from eps.core.names import Operator
from eps.core.recent import Recent
from eps.errors import NoRoute, Side, Stage
from eps.reasons import Reason

REMEMBERED_SECONDS = 60.0
"""A refused operator comes again within a second, or, a server in use, within a minute."""

MAX_OPERATORS = 1_000
"""Of which refusals and replacements are remembered; some 300 bytes each."""

REPLACED_SECONDS, REPLACED_OFTEN = 30.0, 4
"""So many streams taken over within so many seconds are no restart, and no lost line: two servers at least."""

NEWER = "opened a newer stream"
"""Why a stream ended, as the one to whom it was held says it to its holder."""

TOLD_EVERY = 600.0
"""Seconds between two warnings of it."""


class Absences:
    """What is remembered of operators.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: Recent[str, tuple[float, str]] = Recent(MAX_OPERATORS)
        self._replaced: Recent[Operator, deque[float]] = Recent(MAX_OPERATORS)
        self._told: Recent[Operator, float] = Recent(MAX_OPERATORS)

    def refused(self, names: Sequence[str], why: str) -> None:
        """Somebody came with a certificate that carries ``names``, and that the directory doesn't pin."""
        for name in names[:10]:
            self._refused.put(name, (self._clock(), why))

    def came(self, operator: Operator) -> None:
        """It holds a stream: what was wrong with its certificate is no more."""
        self._refused.drop(operator)

    def why(self, operator: Operator, proxy: Operator) -> NoRoute | None:
        """Why ``operator`` holds no stream to us, its ``proxy``; None if that isn't known."""
        seen = self._refused.get(operator)
        if seen is None or self._clock() - seen[0] > REMEMBERED_SECONDS:
            return None
        return NoRoute(
            f"{operator} is not connected: {proxy} refuses its certificate: {seen[1]}",
            hint=f"{operator}'s administrators: submit the certificate's fingerprint, or use the file that is pinned",
            side=Side.PEER,
            reason=Reason.PEER_PIN,
        )

    def replaced(self, operator: Operator) -> bool:
        """A stream of ``operator`` was taken over; whether that is so often that it is to be told, now."""
        now, times = self._clock(), self._replaced.get(operator) or deque(maxlen=REPLACED_OFTEN)
        times.append(now)
        self._replaced.put(operator, times)
        often = len(times) == REPLACED_OFTEN and now - times[0] <= REPLACED_SECONDS
        last = self._told.get(operator)
        if not often or (last is not None and now - last < TOLD_EVERY):
            return False
        self._told.put(operator, now)
        return True


def is_replaced(reason: str, own: Operator) -> bool:
    """Whether the one to whom ``own`` held a stream says, and says nothing else, that another has taken its place."""
    return reason.endswith(f": {own} {NEWER})")


def two_servers(of: Operator, where: str, teller: str = "") -> Notice:
    """What both of them, and their proxy, have in their logs.

    Args:
        teller: who says so of our own servers; "": we have seen it of another's.
    """
    side = Side.OURS if teller else Side.PEER
    claimed = f"{teller} says that " if teller else ""
    unless = f"; if only one runs, ask {teller}'s administrators" if teller else ""
    return Notice(
        level=Level.WARN,
        text=f"{claimed}two servers of {of} replace each other's streams {where}, "
        f"so calls to {of} get lost between them",
        hint=f"stop one of the two{unless}",
        reason=Reason.SECOND_SERVER.value,
        stage=Stage.BROKER.value,
        side=side.value,
    )

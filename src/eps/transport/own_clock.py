"""This process's wall clock, compared with what others call the time: what goes wrong with dates says so first.

A process has one such clock, and failures of TLS are put into words in many places, so there is one of these.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from eps.core.clock import Comparisons, Moment, ahead_of
from eps.core.event import Emit, Level, Notice
from eps.errors import Side
from eps.reasons import TABLE, Reason


def this_moment() -> Moment:
    """By this machine's clocks."""
    return Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


class OwnClock:
    """What is known of it.

    Args:
        moment: tells the present one.

    Attributes:
        comparisons: what others told.
    """

    def __init__(self, moment: Callable[[], Moment] = this_moment) -> None:
        self.comparisons = Comparisons()
        self._moment = moment
        self._last = ("", "", True)

    def compare(self, who: str, date: str, *, verified: bool = True) -> None:
        """``who`` says, now, that it is ``date``: the value of an HTTP ``Date``; one that can't be read is no word.

        Args:
            verified: it is known that ``who`` says so.
        """
        if self._last == (who, date, verified):
            return  # in the same second, mostly: proxies ask many times in one
        self._last = (who, date, verified)
        now = self._moment()
        ahead = ahead_of(date, datetime.fromtimestamp(now.wall, UTC))
        if ahead is not None:
            self.comparisons.note(who, ahead, now, verified=verified)

    def note(self, who: str, ahead: float, *, verified: bool = True) -> None:
        """It is ``ahead`` seconds ahead of that of ``who``, now."""
        self.comparisons.note(who, ahead, self._moment(), verified=verified)

    def off(self) -> str:
        """How it differs from those of others, if by more than two minutes: the beginning of a message. Else ""."""
        return self.comparisons.off(self._moment())

    def agrees(self) -> bool:
        """Whether somebody has told the time lately, and nobody another one."""
        return self.comparisons.agrees(self._moment())

    def named_first(self, text: str) -> str:
        """``text``, which is about dates, behind how the clock differs, if it does."""
        off = self.off()
        return f"{off}; {text}" if off else text


OWN_CLOCK = OwnClock()
"""The process's."""


class ClockNews:
    """Tells the log when our clock is found to differ from that of those whom we ask, and when it agrees again.

    Args:
        whose: clock it is compared with, for the log.
    """

    def __init__(self, emit: Emit, whose: str, clock: OwnClock = OWN_CLOCK) -> None:
        self._emit = emit
        self._whose = whose
        self._clock = clock
        self._is_off = False

    def look(self) -> None:
        """Tell what has changed since the last look."""
        off = self._clock.off()
        if off and not self._is_off:
            self._is_off = True
            what, reason = f"{off}: certificates will seem expired, or not valid yet", Reason.OWN_CLOCK
            side, hint = Side.OURS.value, TABLE[reason].do
            self._emit(Notice(level=Level.WARN, text=what, hint=hint, reason=reason.value, side=side))
        elif self._is_off and self._clock.agrees():
            self._is_off = False
            self._emit(Notice(text=f"our clock agrees with that of {self._whose} again"))

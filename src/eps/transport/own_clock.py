"""This process's wall clock, compared with what others call the time: what goes wrong with dates says so first.

A process has one such clock, and failures of TLS are put into words in many places, so there is one of these.
"""

import time
from datetime import UTC, datetime

from eps.core.clock import Comparisons, ahead_of


class OwnClock:
    """What is known of it.

    Attributes:
        comparisons: what others told.
    """

    def __init__(self) -> None:
        self.comparisons = Comparisons()
        self._last = ("", "")

    def compare(self, who: str, date: str) -> None:
        """``who`` says, now, that it is ``date``: the value of an HTTP ``Date``; one that can't be read is no word."""
        if self._last == (who, date):
            return  # in the same second, mostly: proxies ask many times in one
        self._last = (who, date)
        ahead = ahead_of(date, datetime.now(UTC))
        if ahead is not None:
            self.note(who, ahead)

    def note(self, who: str, ahead: float) -> None:
        """It is ``ahead`` seconds ahead of that of ``who``, now."""
        self.comparisons.note(who, ahead, time.monotonic())

    def is_known(self, who: str, within: float) -> bool:
        """Whether ``who`` has told the time in the last ``within`` seconds."""
        return self.comparisons.has(who, time.monotonic(), within)

    def off(self) -> str:
        """How it differs from those of others, if by more than two minutes: the beginning of a message. Else ""."""
        return self.comparisons.off(time.monotonic())

    def named_first(self, text: str) -> str:
        """``text``, which is about dates, behind how the clock differs, if it does."""
        off = self.off()
        return f"{off}; {text}" if off else text


OWN_CLOCK = OwnClock()
"""The process's."""

"""Our wall clock beside those of others, as they tell the time in an HTTP ``Date`` (RFC 9110, section 6.6.1). Pure.

A wrong clock makes good certificates seem expired, or not valid yet: so it is named before any date is.
"""

from datetime import UTC, datetime

from eps.core.age import spoken

MAX_OFF_SECONDS = 120.0
"""Between two clocks: half of what change records may be dated ahead; certificates that were just made are valid from
then on."""

FORGOTTEN_SECONDS = 3600.0
"""After so long what somebody told of the time counts no more: clocks are set, and set wrong, meanwhile."""

MAX_OTHERS = 16
"""Of whom it is remembered; a network has a few service directories."""

DATE = "%a, %d %b %Y %H:%M:%S GMT"
"""As servers write it (RFC 9110, section 5.6.7)."""


def ahead_of(date: str, now: datetime) -> float | None:
    """By how many seconds we are ahead of a ``Date``, which counts whole ones; None if it can't be read.

    Args:
        now: by our clock, with a time zone.
    """
    try:
        there = datetime.strptime(date.strip(), DATE).replace(tzinfo=UTC)
    except ValueError:
        return None
    return (now - there).total_seconds()


def date_in(head: str) -> str:
    """The ``Date`` of an HTTP answer's head; "" if it has none."""
    fields = (line.partition(":") for line in head.splitlines()[1:])
    return next((value.strip() for name, _, value in fields if name.strip().lower() == "date"), "")


def how_far(ahead: float) -> str:
    """``3 days ahead of``: where our clock is that is ``ahead`` seconds ahead of another."""
    return f"{spoken(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'}"


class Comparisons:
    """What others told of the time; each one's last word counts."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, float]] = {}

    def note(self, who: str, ahead: float, at: float) -> None:
        """Our clock is ``ahead`` seconds ahead of that of ``who``; ``at``, by a clock that nobody sets."""
        self._told.pop(who, None)
        if len(self._told) >= MAX_OTHERS:
            self._told.pop(next(iter(self._told)))
        self._told[who] = (ahead, at)

    def has(self, who: str, at: float, within: float) -> bool:
        """Whether ``who`` has told the time in the last ``within`` seconds."""
        return who in self._told and at - self._told[who][1] <= within

    def off(self, at: float) -> str:
        """How our clock differs from those of others, in words; "" if it doesn't, as far as is known."""
        fresh = {who: ahead for who, (ahead, told) in self._told.items() if at - told <= FORGOTTEN_SECONDS}
        off = {who: ahead for who, ahead in fresh.items() if abs(ahead) > MAX_OFF_SECONDS}
        if not off:
            return ""
        who, ahead = next(reversed(off.items()))
        others = ", but others agree with it, so it may be theirs that is wrong" if len(off) < len(fresh) else ""
        return f"our clock is {how_far(ahead)} that of {who}{others}"

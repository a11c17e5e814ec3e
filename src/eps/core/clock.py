"""Our wall clock beside those of others, as they tell the time in an HTTP ``Date`` (RFC 9110, section 6.6.1). Pure.

A wrong clock makes good certificates seem expired, or not valid yet: so it is named before any date is.
"""

from datetime import UTC, datetime
from typing import NamedTuple

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


class Moment(NamedTuple):
    """A moment by two clocks, in seconds.

    Attributes:
        wall: by the one that people set, since 1970.
        steady: by one that nobody sets, and that goes on while the machine sleeps.
    """

    wall: float
    steady: float


class _Word(NamedTuple):
    """What one told of the time: what stays true when our clock is set.

    Attributes:
        theirs: where its clock stood when the steady one stood at 0.
        at: when it said so, by the steady one.
    """

    theirs: float
    at: float


class Comparisons:
    """What others told of the time; each one's last word counts.

    Each word is kept beside a clock that nobody sets: so ours can be set, and each word says at once what it would say
    now. A word that nobody has verified counts until the same server's clock is known otherwise, and nowhere while one
    that was verified agrees with us: anybody on the way can say it.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, bool], _Word] = {}

    def note(self, who: str, ahead: float, now: Moment, *, verified: bool = True) -> None:
        """Our clock is ``ahead`` seconds ahead of that of ``who``.

        Args:
            verified: it is known that ``who`` says so.
        """
        self._told.pop((who, verified), None)
        if verified:
            self._told.pop((who, False), None)
        if len(self._told) >= MAX_OTHERS:
            self._told.pop(next(iter(self._told)))
        self._told[who, verified] = _Word(now.wall - ahead - now.steady, now.steady)

    def off(self, now: Moment) -> str:
        """How our clock differs from those of others, in words; "" if it doesn't, as far as is known."""
        counting = self._counting(now)
        off = {who: ahead for who, ahead in counting.items() if abs(ahead) > MAX_OFF_SECONDS}
        if not off:
            return ""
        (who, verified), ahead = next(reversed(off.items()))
        others = ", but others agree with it, so it may be theirs that is wrong" if len(off) < len(counting) else ""
        return f"our clock is {how_far(ahead)} that of {who}{'' if verified else ' (not verified)'}{others}"

    def agrees(self, now: Moment) -> bool:
        """Whether somebody has told the time lately, and nobody another one than ours."""
        return bool(self._counting(now)) and not self.off(now)

    def _counting(self, now: Moment) -> dict[tuple[str, bool], float]:
        """By how much our clock is ahead, now, of those whose word counts; who told last is the last."""
        fresh = {
            who: now.wall - now.steady - word.theirs
            for who, word in self._told.items()
            if now.steady - word.at <= FORGOTTEN_SECONDS
        }
        if any(verified and abs(ahead) <= MAX_OFF_SECONDS for (_, verified), ahead in fresh.items()):
            return {who: ahead for who, ahead in fresh.items() if who[1]}
        return fresh

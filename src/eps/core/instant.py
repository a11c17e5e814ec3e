"""RFC 3339 dates with nanoseconds, exactly: the ``created_at`` of change records (PROTOCOL.md section 4).

The text is part of what is hashed and signed, so it is normalised by its digits and never through a binary fraction.
``datetime`` knows microseconds only; an instant here is an ``int``, the nanoseconds since 1970-01-01T00:00:00Z.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

MAX_FRACTION_DIGITS = 9
"""Nanoseconds; digits behind them are cut (PROTOCOL.md section 4)."""

MAX_TEXT_CHARS = 100
"""More fractional digits than any clock has; keeps the pattern's work small."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_FORM = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class Instant:
    """A point in time and how its record writes it.

    Attributes:
        text: the normalised RFC 3339 form: at most 9 fractional digits, no trailing zeros, ``Z`` for a zero offset,
            other offsets as they were.
        nanoseconds: since the epoch, exact; what dates are compared by.
    """

    text: str
    nanoseconds: int

    @property
    def time(self) -> datetime:
        """The instant in UTC, cut to microseconds; for comparison with certificates, which know seconds."""
        return _EPOCH + timedelta(microseconds=self.nanoseconds // 1000)


def nanoseconds_of(time: datetime) -> int:
    """``time`` (with a time zone) as nanoseconds since the epoch."""
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


def instant_of(time: datetime) -> Instant:
    """``time`` (with a time zone) as an instant, written in UTC."""
    return parse_instant(time.astimezone(UTC).isoformat())


def parse_instant(text: str) -> Instant:
    """The instant that ``text`` writes.

    Raises:
        ValueError: not RFC 3339, or no such date; the message is one for the administrator.
    """
    match = _FORM.fullmatch(text) if len(text) <= MAX_TEXT_CHARS else None
    if match is None:
        raise ValueError("is not a date of the form 2026-11-22T10:44:19.5Z (RFC 3339)")
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    fraction = (match[7] or "")[:MAX_FRACTION_DIGITS].rstrip("0")
    offset, offset_seconds = _offset(match[8])
    if hour > 23 or minute > 59 or second > 59 or offset_seconds is None:
        raise ValueError("holds a time of day or an offset that does not exist")
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise ValueError("holds a day that does not exist") from None
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset_seconds
    instant = Instant(
        text[:19] + (f".{fraction}" if fraction else "") + offset,
        seconds * 10**9 + int(fraction.ljust(MAX_FRACTION_DIGITS, "0")),
    )
    try:
        _ = instant.time
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 in UTC") from None
    return instant


def _offset(text: str) -> tuple[str, int | None]:
    """The offset as it is written after normalisation, and its seconds east of UTC; None if there is none such."""
    if text == "Z":
        return "Z", 0
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        return text, None
    seconds = (hours * 60 + minutes) * 60
    return (text, -seconds if text[0] == "-" else seconds) if seconds else ("Z", 0)

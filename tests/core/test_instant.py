"""Dates of change records: exact to the nanosecond, in the form that is hashed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.instant import MAX_TEXT_CHARS, instant_of, nanoseconds_of, parse_instant


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("2021-05-17T10:00:00Z", "2021-05-17T10:00:00Z"),
        ("2026-11-22T10:44:19.932305725Z", "2026-11-22T10:44:19.932305725Z"),
        ("2026-11-22T10:44:19.500000Z", "2026-11-22T10:44:19.5Z"),
        ("2026-11-22T10:44:19.000Z", "2026-11-22T10:44:19Z"),
        ("2026-11-22T10:44:19.1234567899Z", "2026-11-22T10:44:19.123456789Z"),
        ("2026-11-22T10:44:19.0000000009Z", "2026-11-22T10:44:19Z"),
        ("2026-11-22T11:44:19+01:00", "2026-11-22T11:44:19+01:00"),
        ("2026-11-22T11:44:19.10-09:30", "2026-11-22T11:44:19.1-09:30"),
        ("2026-11-22T10:44:19+00:00", "2026-11-22T10:44:19Z"),
        ("2026-11-22T10:44:19-00:00", "2026-11-22T10:44:19Z"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
    ],
)
def test_normalises(text: str, normalised: str) -> None:
    assert parse_instant(text).text == normalised
    assert parse_instant(normalised).text == normalised
    assert parse_instant(normalised).nanoseconds == parse_instant(text).nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "2026-11-22T10:44:19",
        "2026-11-22 10:44:19Z",
        "2026-11-22t10:44:19z",
        "2026-11-22T10:44:19.Z",
        "2026-11-22T10:44:19,5Z",
        "2026-11-22T10:44Z",
        "2026-11-22T10:44:19+0100",
        "2026-11-22T10:44:19Z\n",
        " 2026-11-22T10:44:19Z",
        "２026-11-22T10:44:19Z",
        "2026-11-22T10:44:19." + "1" * MAX_TEXT_CHARS + "Z",
        "2026-13-22T10:44:19Z",
        "2025-02-29T10:44:19Z",
        "2026-11-31T10:44:19Z",
        "0000-01-01T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T23:60:00Z",
        "2026-11-22T23:59:60Z",
        "2026-11-22T23:59:59+24:00",
        "2026-11-22T23:59:59+01:60",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_refuses_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is not|holds|lies)"):
        parse_instant(text)


def test_offsets_and_nanoseconds_count_exactly() -> None:
    assert parse_instant("2026-11-22T11:44:19+01:00").nanoseconds == parse_instant("2026-11-22T10:44:19Z").nanoseconds
    earlier, later = (parse_instant(f"2026-11-22T10:44:19.93230572{digit}Z").nanoseconds for digit in "45")
    assert later - earlier == 1
    assert parse_instant("1970-01-01T00:00:00Z").nanoseconds == 0
    assert parse_instant("1969-12-31T23:59:59.999999999Z").nanoseconds == -1
    assert parse_instant("2026-11-22T10:44:19.000001999Z").time == datetime(2026, 11, 22, 10, 44, 19, 1, UTC)


ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES))  # noqa: DTZ001 (timezones adds it)
def test_agrees_with_datetime(time: datetime) -> None:
    for instant in (parse_instant(time.isoformat()), instant_of(time)):
        assert instant.time == time
        assert instant.nanoseconds == nanoseconds_of(time)
        assert parse_instant(instant.text) == instant

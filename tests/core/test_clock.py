"""Our clock beside those of others."""

from datetime import UTC, datetime

import pytest

from eps.core.clock import FORGOTTEN_SECONDS, MAX_OFF_SECONDS, MAX_OTHERS, Comparisons, ahead_of, date_in, how_far

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = 86_400.0


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        ("Sun, 22 Nov 2026 11:59:00 GMT", 60.0),
        (" Sun, 22 Nov 2026 12:00:01 GMT ", -1.0),
        ("Sun, 22 Nov 99999 12:00:01 -0000", None),
        ("soon", None),
        ("", None),
    ],
    ids=["ahead", "behind", "no year", "no date", "none"],
)
def test_their_time(date: str, ahead: float | None) -> None:
    assert ahead_of(date, NOW) == ahead


@pytest.mark.parametrize(
    ("head", "date"),
    [
        ("HTTP/1.1 200 OK\r\ndate: now\r\n", "now"),
        ("HTTP/1.1 200 OK\r\nX: y\r\nDate :  then \r\n", "then"),
        ("Date: first line\r\n", ""),
        ("", ""),
    ],
    ids=["small", "second", "status line", "nothing"],
)
def test_the_date_of_a_head(head: str, date: str) -> None:
    assert date_in(head) == date


def test_how_far() -> None:
    assert how_far(3 * DAY) == "3 days ahead of"
    assert how_far(-7200.0) == "2 hours behind"


def test_nobody_told() -> None:
    assert Comparisons().off(0.0) == ""


def test_two_minutes_are_no_difference() -> None:
    told = Comparisons()
    told.note("sd", MAX_OFF_SECONDS, 0.0)
    assert told.off(0.0) == ""
    told.note("sd", MAX_OFF_SECONDS + 1, 1.0)
    assert told.off(1.0) == "our clock is 2 minutes ahead of that of sd"


def test_the_last_word_counts_and_is_forgotten() -> None:
    told = Comparisons()
    told.note("sd", -3 * DAY, 0.0)
    assert told.off(FORGOTTEN_SECONDS) == "our clock is 3 days behind that of sd"
    assert told.off(FORGOTTEN_SECONDS + 1) == ""
    told.note("sd", 0.5, 10.0)
    assert told.off(10.0) == ""


def test_others_that_agree_are_told() -> None:
    told = Comparisons()
    told.note("sd 1", DAY * 2, 0.0)
    told.note("sd 2", 1.0, 0.0)
    assert told.off(0.0) == (
        "our clock is 2 days ahead of that of sd 1, but others agree with it, so it may be theirs that is wrong"
    )


def test_who_has_told_lately() -> None:
    told = Comparisons()
    assert not told.has("sd", 0.0, 60.0)
    told.note("sd", 1.0, 0.0)
    assert told.has("sd", 60.0, 60.0)
    assert not told.has("sd", 61.0, 60.0)


def test_no_more_than_so_many_are_remembered() -> None:
    told = Comparisons()
    for number in range(MAX_OTHERS + 1):
        told.note(f"sd {number}", 0.0, 0.0)
    assert not told.has("sd 0", 0.0, 1.0)
    assert told.has("sd 1", 0.0, 1.0)

"""Our clock beside those of others."""

from datetime import UTC, datetime

import pytest

from eps.core.clock import (
    FORGOTTEN_SECONDS,
    MAX_OFF_SECONDS,
    MAX_OTHERS,
    Comparisons,
    Moment,
    ahead_of,
    date_in,
    how_far,
)

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


def moment(at: float, step: float = 0.0) -> Moment:
    """``at`` by the steady clock; ours was set by ``step`` since the beginning."""
    return Moment(1_000_000.0 + at + step, at)


def test_nobody_told() -> None:
    assert Comparisons().off(moment(0.0)) == ""
    assert not Comparisons().agrees(moment(0.0))


def test_two_minutes_are_no_difference() -> None:
    told = Comparisons()
    told.note("sd", MAX_OFF_SECONDS, moment(0.0))
    assert told.off(moment(0.0)) == ""
    assert told.agrees(moment(0.0))
    told.note("sd", MAX_OFF_SECONDS + 1, moment(1.0))
    assert told.off(moment(1.0)) == "our clock is 2 minutes ahead of that of sd"
    assert not told.agrees(moment(1.0))


def test_the_last_word_counts_and_is_forgotten() -> None:
    told = Comparisons()
    told.note("sd", -3 * DAY, moment(0.0))
    assert told.off(moment(FORGOTTEN_SECONDS)) == "our clock is 3 days behind that of sd"
    assert told.off(moment(FORGOTTEN_SECONDS + 1)) == ""
    assert not told.agrees(moment(FORGOTTEN_SECONDS + 1)), "nobody has told lately"
    told.note("sd", 0.5, moment(10.0))
    assert told.off(moment(10.0)) == ""


def test_others_that_agree_are_told() -> None:
    told = Comparisons()
    told.note("sd 1", DAY * 2, moment(0.0))
    told.note("sd 2", 1.0, moment(0.0))
    assert told.off(moment(0.0)) == (
        "our clock is 2 days ahead of that of sd 1, but others agree with it, so it may be theirs that is wrong"
    )


@pytest.mark.parametrize("verified", [True, False])
def test_a_clock_that_is_set_is_right_at_once(verified: bool) -> None:
    told = Comparisons()
    told.note("sd", -3 * DAY, moment(0.0), verified=verified)
    assert told.off(moment(60.0)).startswith("our clock is 3 days behind that of sd")
    assert told.off(moment(60.0, step=3 * DAY)) == ""
    assert told.agrees(moment(60.0, step=3 * DAY))
    assert told.off(moment(90.0, step=5 * DAY)).startswith("our clock is 2 days ahead of that of sd")


def test_a_verified_word_is_in_the_place_of_the_same_servers_unverified_one() -> None:
    told = Comparisons()
    told.note("sd", -3 * DAY, moment(0.0), verified=False)
    assert told.off(moment(0.0)) == "our clock is 3 days behind that of sd (not verified)"
    told.note("sd", -2 * DAY, moment(1.0))
    assert told.off(moment(1.0)) == "our clock is 2 days behind that of sd"


def test_an_unverified_word_counts_nowhere_while_a_verified_one_agrees() -> None:
    told = Comparisons()
    told.note("sd 1", -3 * DAY, moment(0.0), verified=False)
    told.note("sd 2", 0.4, moment(1.0))
    assert told.off(moment(2.0)) == ""
    assert told.agrees(moment(2.0))
    told.note("sd 2", -3 * DAY, moment(3.0))
    assert told.off(moment(3.0)) == "our clock is 3 days behind that of sd 2"


def test_no_more_than_so_many_are_remembered() -> None:
    told = Comparisons()
    told.note("the first", DAY, moment(0.0))
    for number in range(MAX_OTHERS):
        assert told.off(moment(0.0)), "it is remembered"
        told.note(f"sd {number}", 0.0, moment(0.0))
    assert told.off(moment(0.0)) == ""

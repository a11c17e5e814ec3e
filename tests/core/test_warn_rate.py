"""One warning a second, and the number of those that were left out."""

from eps.core.event import Event, Level, Notice, Refused
from eps.core.warn_rate import WARN_SECONDS, WarnRate, sparing


def test_the_first_is_a_warning_and_the_next_one_counts_those_between() -> None:
    rate = WarnRate()
    assert [rate.judge(now, "a") for now in (0.0, 0.1, 0.9)] == [(Level.WARN, 0), (Level.DEBUG, 0), (Level.DEBUG, 0)]
    assert rate.judge(0.5, "b") == (Level.WARN, 0)
    assert rate.judge(WARN_SECONDS, "a") == (Level.WARN, 2)
    assert rate.judge(5.0, "a") == (Level.WARN, 0)


def test_who_was_warned_of_is_forgotten_when_there_are_too_many() -> None:
    rate = WarnRate(1)
    assert [rate.judge(0.0, key)[0] for key in "aba"] == [Level.WARN] * 3


def test_events_of_each_kind_keep_their_level_once_a_second_and_none_is_lost() -> None:
    now, seen = 0.0, list[Event]()
    emit = sparing(seen.append, lambda: now)
    refused, trouble = Refused(listener="x", why="y", source="z"), Notice(text="t", level=Level.ERROR)
    for event in (refused, refused, trouble, trouble, Notice(text="fine"), Notice(text="fine")):
        emit(event)
    assert [event.level for event in seen] == [Level.WARN, Level.DEBUG, Level.ERROR, Level.DEBUG, *[Level.INFO] * 2]
    now = WARN_SECONDS
    emit(refused)
    assert (seen[-1].level, seen[-1].left_out) == (Level.WARN, 1)
    assert seen[-1].line() == "x: refused z (y); 1 more line of this kind is in the debug log only"
    emit(trouble)
    now += WARN_SECONDS
    emit(refused)
    assert seen[-1] is refused and refused.line() == refused.message()

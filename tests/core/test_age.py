"""When the age of the directory is worth a line, and how it is said."""

import pytest

from eps.core.age import DAY, spoken, spoken_roughly, worth_saying


@pytest.mark.parametrize(
    ("before", "age", "maximum", "due"),
    [
        (0, 1, DAY, False),
        (DAY - 1, DAY, DAY, True),
        (DAY, DAY + 1, DAY, False),
        (DAY + 9, 2 * DAY + 1, DAY, True),
        (59, 60, 60, True),
        (60, 61, 60, False),
        (DAY - 1, DAY + 1, 7 * DAY, True),
        (5, 0, DAY, False),
    ],
)
def test_a_line_is_due_beyond_the_maximum_and_daily(before: float, age: float, maximum: float, due: bool) -> None:
    assert worth_saying(before, age, maximum) is due


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than a second"),
        (1.5, "1 second"),
        (90, "90 seconds"),
        (120, "2 minutes"),
        (7300, "2 hours"),
        (26 * 3600, "26 hours"),
        (49 * 3600, "2 days"),
    ],
)
def test_it_is_said_in_whole_units(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (59, "less than a minute"),
        (60, "less than an hour"),
        (3599, "less than an hour"),
        (3600, "more than an hour"),
        (7200, "2 hours"),
        (3 * DAY, "3 days"),
    ],
)
def test_what_is_told_again_when_it_changes_is_said_in_hours(seconds: float, text: str) -> None:
    assert spoken_roughly(seconds) == text

"""core/wording: numbers and what they count."""

import pytest

from eps.core.wording import counted


@pytest.mark.parametrize(
    ("number", "noun", "plural", "text"),
    [
        (0, "record", "", "0 records"),
        (1, "record", "", "1 record"),
        (2, "more operator", "", "2 more operators"),
        (1, "entry", "entries", "1 entry"),
        (2, "entry", "entries", "2 entries"),
    ],
)
def test_what_is_counted(number: int, noun: str, plural: str, text: str) -> None:
    assert counted(number, noun, plural) == text

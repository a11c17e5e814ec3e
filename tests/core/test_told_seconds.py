"""How long connections are kept by what servers say, and how long calls may take by what callers say."""

import pytest

from eps.core.told_seconds import kept_for, read_timeout, render_timeout


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("timeout=5", 4.0), ("max=100, Timeout = 20", 19.0), ("timeout=5; max=9", 4.0), ("timeout=1", 0.5),
        ("timeout=0", 0.0), ("timeout=1000000", 60.0), ("", 7.0), ("max=100", 7.0), ("x-timeout=5", 7.0),
        ("timeout=99999999", 7.0), ("timeout=-5", 7.0), ("timeout=", 7.0),
    ],
)  # fmt: skip
def test_a_second_less_than_the_server_says(field: str, seconds: float) -> None:
    assert kept_for(field, 7.0) == seconds


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("5", 5.0), ("0.25", 0.25), ("3600.000", 3600.0)])
def test_a_callers_time(text: str | None, seconds: float | None) -> None:
    assert read_timeout(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", "5s", "1e3", "inf", "nan", " 5", ".5", "5.", "1" * 10, "٣"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="seconds above 0"):
        read_timeout(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.0, "5.000"), (1.23456, "1.235"), (-1.0, "0.001"), (1e12, "999999999.000")]
)
def test_a_time_as_it_is_sent_can_be_read(seconds: float, text: str) -> None:
    assert render_timeout(seconds) == text and read_timeout(text) == float(text)

"""How long connections are kept by what servers say."""

import pytest

from eps.core.keep_alive import kept_for


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

"""The quick way to canonical JSON has to be the slow one's text, for whatever calls carry."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.canonical import canonical_json
from eps.core.quick_canonical import ForAThread, Holds, at_once, canonical_pieces, holds, quick_canonical

_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_SCALARS = st.none() | st.booleans() | _NUMBERS.filter(lambda number: abs(number) < 1e300) | st.text()
VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)


@given(VALUES)
def test_it_is_the_same_text(value: Any) -> None:
    assert quick_canonical(value, holds(value)) == canonical_json(value)
    assert b"".join(canonical_pieces(value)) == canonical_json(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"b": 1.0, "a": -0.0}, b'{"a":0,"b":1}', id="whole doubles"),
        pytest.param([1e21, 1e16, 1e-7], b"[1e+21,10000000000000000,1e-7]", id="exponents"),
        pytest.param([2**53 + 1, -(2**60)], b"[9007199254740992,-1152921504606847000]", id="beyond 53 bits"),
        pytest.param(
            {"\U0001f600": 1, "\ufb33": 2}, '{"\U0001f600":1,"\ufb33":2}'.encode(), id="keys in UTF-16's order"
        ),
        pytest.param({"a": 1.5, "t": "x:1.0,y"}, b'{"a":1.5,"t":"x:1.0,y"}', id="a text that looks like a number"),
        pytest.param(3.0, b"3", id="a number alone"),
        pytest.param({"ü": "é"}, '{"ü":"é"}'.encode(), id="other letters"),
    ],
)
def test_what_the_writer_writes_otherwise(value: Any, text: bytes) -> None:
    assert quick_canonical(value, holds(value)) == text


def test_what_a_value_holds() -> None:
    assert holds({"a": [1, "x", None, True]}) is Holds.PLAIN
    assert holds([{"a": 1.5}]) is Holds.DOUBLES
    assert holds([[1.5] * 10], most=5) is Holds.MUCH


def test_much_is_written_in_pieces() -> None:
    value = {"z": [[number, {"b": 1.0, "a": str(number)}] for number in range(20_000)], "a": 1}
    pieces = list(canonical_pieces(value))
    assert len(pieces) > 5
    assert b"".join(pieces) == canonical_json(value)
    assert value["a"] == 1  # it is left as it was


@pytest.mark.parametrize(
    "value",
    [{"a": ["x" * 70_000, 1.5]}, {"é" * 40_000: 1}, [2**60], {"a": "\ud800"}],
    ids=["a long text and a double", "a long key", "beyond 53 bits", "no JSON"],
)
def test_what_takes_long_is_for_a_thread(value: Any) -> None:
    with pytest.raises(ForAThread):
        at_once(value, holds(value))


def test_what_does_not_is_written_at_once() -> None:
    for value in ({"a": "x" * 70_000}, {"é": 1.0}, [1.5], {}):
        assert at_once(value, holds(value)) == canonical_json(value)


def test_half_a_character_is_no_json() -> None:
    with pytest.raises(orjson.JSONEncodeError):
        quick_canonical({"a": "\ud800"}, Holds.PLAIN)

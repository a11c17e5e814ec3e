"""place: steps in a row, of values and of text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.place import place_below, where
from eps.core.travel import first_problem


def test_steps_in_a_row() -> None:
    assert where(None) == ""
    assert where((((None, "params"), ".a"), "[0]")) == "params.a[0]"


@pytest.mark.parametrize(
    ("text", "most", "place"),
    [
        (b"{}", 0, ""),
        (b"[]", 1, ""),
        (b'[1, "[[", {"a": 1}]', 1, "[2]"),
        (b'{"a": [1, 2], "b" : {}}', 1, "a"),
        (b'{"a": {"x": 1}, "b" : {"c": [[], {}, [{}]]}}', 4, "b.c[2][0]"),
        (b'{"}": "]", "q\\"{": [[{]}}} nonsense', 3, 'q\\"{[0][0]'),
        (b"]]]},,,[[", 1, "[0]"),
        (b'"key": {', 0, ""),
        (b'{"\xff' + b"k" * 500 + b'": {', 1, "\ufffd" + "k" * 199),
    ],
)
def test_where_the_first_one_lies_that_is_too_deep(text: bytes, most: int, place: str) -> None:
    assert place_below(text, most) == place


keys = st.text("ab,:[]{}", max_size=3)
values = st.recursive(
    st.none() | st.text("ab,:[]{}", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=15,
)


@given(values, st.integers(1, 4))
def test_text_and_value_have_the_same_places(value: Any, most: int) -> None:
    problem = first_problem(value, "", most)
    place = place_below(json.dumps(value).encode(), most)
    if problem is None:
        assert place == ""
    else:
        assert problem.message.startswith(f"too deep at {place or 'the value'}: ")

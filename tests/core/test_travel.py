"""travel: what params and results may hold; the quick look and the thorough one agree."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.travel import first_problem, travels
from eps.errors import BadParams, BadRequest, TooDeep

values = st.recursive(
    st.none()
    | st.booleans()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    | st.sampled_from([0, 1.5, 2**53, 2**53 + 1, -(2**53), -(2**53) - 1, 1e308, math.inf, -math.inf, math.nan]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=3),
    max_leaves=12,
)


@given(values, st.integers(0, 5))
def test_the_quick_look_and_the_thorough_one_agree(value: Any, most: int) -> None:
    """The second one only runs where the first has found something, to say where."""
    assert travels(value, most) is (first_problem(value, "", most) is None)


@pytest.mark.parametrize(
    ("value", "message", "kind"),
    [
        ({"a": [1, 2**53 + 1]}, "params.a[1]: the integer is beyond", BadRequest),
        ({"a": -(10**5000)}, "params.a: the integer is beyond", BadRequest),
        ([math.nan], "params[0]: NaN is no number", BadRequest),
        ([-math.inf], "params[0]: the number is beyond", BadRequest),
        ({"b": 1, "a": "\ud800"}, "params.a: holds a lone surrogate", BadParams),
        ({"b": 1, "a": {"\ud800": 1}}, "params.a: holds a lone surrogate", BadParams),
        ({"a": {7: 1}}, "params.a: a key is not a string", BadParams),
        ([b"x"], "params[0]: bytes is not a JSON value", BadParams),
        ({"a": ([],)}, "too deep at params.a[0]: at most", TooDeep),
        ([[[]], 2**60], "too deep at params[0][0]: at most", TooDeep),
        ([2**60, [[]]], "params[0]: the integer", BadRequest),
    ],
)
def test_the_first_problem_is_told_with_its_place(value: Any, message: str, kind: type[BadRequest]) -> None:
    problem = first_problem(value, "params", 2)
    assert type(problem) is kind
    assert problem.message.startswith(message)


def test_the_whole_value() -> None:
    problem = first_problem(2**60, "", 1)
    assert problem is not None and problem.message.startswith("the value: the integer")
    assert travels([], 1) and travels({}, 1) and travels("x", 0)
    assert not travels([], 0)


def test_long_places_and_integers_are_shortened() -> None:
    problem = first_problem({"k" * 500: int("9" * 119)}, "params", 1)
    assert problem is not None and len(problem.message) < 300


def test_values_behind_the_first_problem_are_not_looked_at() -> None:
    """Two million of them would take 400 MiB, and hold Python's lock for as long as it takes to forget them."""

    class Long(list[Any]):
        seen = 0

        def __iter__(self) -> Iterator[Any]:
            for item in super().__iter__():
                self.seen += 1
                yield item

    long = Long([0, 2**60, *range(1_000)])
    problem = first_problem({"a": long}, "params", 2)
    assert problem is not None and problem.message.startswith("params.a[1]:")
    assert long.seen == 2


def test_neither_calls_itself() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert not travels(deep, 200_000 - 100_000)
    assert travels(deep, 100_001)
    assert first_problem(deep, "", 100_001) is None
    while deep:  # Python would take it apart by calls
        deep = deep.pop()

"""core/json_steps: the same values and refusals as parsing at once, in many steps."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eps.core.json_steps import RECORDS, STEP_TOKENS, count_values, load_in_steps
from eps.core.jsonrpc_text import strict_loads
from eps.core.steps import exhaust
from eps.errors import BadRequest, EpsError, NotJson, TooLarge

leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.just("result"), inner, max_size=4)
    ),
    max_leaves=20,
)


def load(body: bytes, step_bytes: int = 1, max_bytes: int = 10**8) -> tuple[int, Any]:
    """How many steps it took, and the value."""
    steps = load_in_steps(body, max_bytes=max_bytes, step_bytes=step_bytes)
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return count, end.value
        count += 1


def verdict(function: Any) -> Any:
    try:
        return function()
    except EpsError:
        return "refused"


@given(st.fixed_dictionaries({"jsonrpc": st.just("2.0"), "result": st.lists(values, max_size=8), "id": leaves}))
def test_an_answer_is_the_same_in_steps(answer: dict[str, Any]) -> None:
    for separators in ((",", ":"), (" , ", " : ")):
        body = json.dumps(answer, separators=separators).encode()
        assert load(body)[1] == strict_loads(body)


@given(values, st.data())
@example({"result": [{}, {}]}, None)
def test_damaged_text_is_refused_as_when_parsed_at_once(value: Any, data: st.DataObject | None) -> None:
    text = bytearray(json.dumps({"result": [{}, value, {}], "id": value}).encode())
    if data is not None:
        for _ in range(data.draw(st.integers(0, 3))):
            position = data.draw(st.integers(0, len(text) - 1))
            text[position : position + data.draw(st.integers(0, 1))] = data.draw(
                st.sampled_from(b'"\\[]{},:0 x')
            ).to_bytes()
    body = bytes(text)
    assert verdict(lambda: load(body)[1]) == verdict(lambda: strict_loads(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"result": [{}, {},]}',
        b'{"result": [{}, {}, ]}',
        b'{"result": [{}, ,{}]}',
        b'{"result": [{} {}]}',
        b'{"result": [{}, {}}',
        b'{"result": [{}, {}]',
        b'{"result": [{}, {}], "result": [{}, {}]}',
        b'{"result": [{}, {}], "\\u0072esult": 1}',
        b'{"result": 1 [{}, {}]}',
        b'{"result": {}, [{}, {}]}',
        b'{"result": [{}, {"a": "unterminated \\" }, {}]}',
        b'{"result": [{}, {"a": "unterminated \\',
        b"]]]]",
        b"",
        b'["result", [{}, {}]]',
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson if b'esult": 1}' not in body and body.count(b"result") < 2 else BadRequest):
        load(body)


def test_limits_hold_in_every_piece_with_the_elements_number() -> None:
    deep: Any = 1
    for _ in range(127):
        deep = {"a": deep}
    fits = json.dumps({"result": [{}, {}, deep]}).encode()
    assert load(fits)[1] == strict_loads(fits)
    with pytest.raises(BadRequest, match=r"^too deep at result\[2\]\.a\.a"):
        load(json.dumps({"result": [{}, {}, {"a": deep}]}).encode())
    with pytest.raises(BadRequest, match=r"^result\[1\]\.x: the integer"):
        load(json.dumps({"result": [{}, {"x": 2**54}, {}]}).encode())
    with pytest.raises(TooLarge, match="limit is 10"):
        load(b"[" * 11, max_bytes=10)


def test_steps_are_taken_within_the_list_and_elsewhere() -> None:
    listed = json.dumps({"result": [{"a": "x" * 100}] * 50}).encode()
    assert load(listed)[0] == 49
    assert load(listed, step_bytes=1000)[0] in range(4, 7)
    elsewhere = json.dumps({"result": {"a": ["x"] * (STEP_TOKENS * 3)}}).encode()
    steps, value = load(elsewhere)
    assert steps == 3
    assert value == strict_loads(elsewhere)


def test_unterminated_strings_cost_no_quadratic_time() -> None:
    with pytest.raises(NotJson):
        load(b'{"result": [{}, "' + b'\\"' * 2_000_000)


@given(
    st.fixed_dictionaries({"id": leaves, "params": st.fixed_dictionaries({"records": st.lists(values), "x": values})})
)
@example({"id": 1, "params": {"records": [{}, {}], "x": {"records": [[]]}}})
def test_a_submission_is_the_same_in_steps(request: dict[str, Any]) -> None:
    body = json.dumps(request).encode()
    steps = load_in_steps(body, max_bytes=len(body), step_bytes=1, path=RECORDS)
    assert exhaust(steps) == strict_loads(body)


@pytest.mark.parametrize("body", [b'{"params": [["records", [{}, {}]]]}', b'["params", ["records", [{}, {}]]]'])
def test_a_list_at_another_place_is_not_taken_for_the_records(body: bytes) -> None:
    assert verdict(lambda: exhaust(load_in_steps(body, max_bytes=99, step_bytes=1, path=RECORDS))) in (
        "refused",
        json.loads(body),
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"params": {"records": [{"name": "' + b"x" * 200 + b'"}, {}]}}',  # one element
        b'{"params": {"records": [{}, {}], "more": "' + b"x" * 200 + b'"}}',  # what is around the list
        b'{"params": {"more": "' + b"x" * 200 + b'"}}',  # no list
    ],
)
def test_what_cannot_be_cut_is_bounded(body: bytes) -> None:
    def read(max_piece: int) -> Any:
        return exhaust(load_in_steps(body, max_bytes=999, step_bytes=1, path=RECORDS, max_piece=max_piece))

    assert read(len(body)) == json.loads(body)
    with pytest.raises(TooLarge, match="in one piece, the limit is 100"):
        read(100)


def count(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(count(item) for item in inner)


@given(values)
@example({",[{": ['a,"[', "\\", []]})
def test_values_are_counted_exactly(value: Any) -> None:
    for separators in ((",", ":"), (" , ", " : ")):
        body = json.dumps(value, separators=separators).replace("[]", "[ ]").encode()
        exhaust(count_values(body, count(value)))
        if count(value) > 1:
            with pytest.raises(TooLarge):
                exhaust(count_values(body, count(value) - 1))


def test_counting_takes_steps() -> None:
    body = b"[" + b",".join([b'"a,b"'] * 600_000) + b"]"
    steps = 0
    for _ in count_values(body, 600_001):
        steps += 1
    assert steps > 10

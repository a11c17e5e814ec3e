"""``OPERATOR.METHOD(ID)``: read and written."""

import re
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eps.core.address import MAX_ID_CHARS, Address, parse_address
from eps.core.names import Operator
from eps.errors import AddressError
from support.vectors import load

RULE = re.compile(r"(.*)\.([^.(]+)\(([^)]+)\)", re.DOTALL)
"""Section 2's words as a pattern, whose greedy operator finds the last possible parenthesis."""

TEXTS = st.text("ab.()_ -:é", max_size=14)


def parsed(text: str) -> tuple[str, str, str] | None:
    try:
        address = parse_address(text)
    except AddressError:
        return None
    return address.operator, address.method, address.id


@pytest.mark.parametrize("vector", load("address.json"), ids=lambda vector: repr(vector["id"]))
def test_vector(vector: Any) -> None:
    expected = vector.get("address")
    assert parsed(vector["id"]) == (tuple(expected.values()) if expected else None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.f(x.y(z)", ("a.f(x", "y", "z")),
        ("a.f((1)", ("a", "f", "(1")),
        ("a.f(b(c)", ("a", "f", "b(c")),
        ("a.f)(1)", ("a", "f)", "1")),
        ("a.f(1)(2)", None),
        ("a.f(1)b.g(2)", ("a.f(1)b", "g", "2")),
        ("a.f(x.y()", ("a", "f", "x.y(")),
        ("a.f(x.(z)", ("a", "f", "x.(z")),
        ("..f(1)", (".", "f", "1")),
        ("f(1)", None),
        ("a.f", None),
        ("a.f()", None),
        (")", None),
        ("()", None),
        ("a.f(line\nbreak)", ("a", "f", "line\nbreak")),
        ("a\n.f(1)", None),
        ("a.f\n(1)", None),
        ("a.f(x\ny.g(z)", ("a", "f", "x\ny.g(z")),
        ("a.f(1) ", None),
        ("a.f(" + "1" * (MAX_ID_CHARS - 5) + ")", ("a", "f", "1" * (MAX_ID_CHARS - 5))),
        ("a.f(" + "1" * (MAX_ID_CHARS - 4) + ")", None),
    ],
)
def test_cases(text: str, expected: tuple[str, str, str] | None) -> None:
    assert parsed(text) == expected


@given(TEXTS | st.text(max_size=20))
@example("a.b(c.d(e)")
@example(".a.b(c")
def test_reads_what_the_rule_says_and_writes_it_back(text: str) -> None:
    found = parsed(text)
    if "\n" not in text:
        match = RULE.fullmatch(text)
        assert found == (match.groups() if match else None)
    if found is not None:
        assert str(parse_address(text)) == text


@given(
    operator=st.text(st.characters(exclude_characters="\n"), max_size=10),
    method=st.text(st.characters(exclude_characters=".(\n"), min_size=1, max_size=10),
    local_id=st.text(st.characters(exclude_characters="()"), min_size=1, max_size=10),
)
def test_parse_after_render_is_the_identity(operator: str, method: str, local_id: str) -> None:
    address = Address(Operator(operator), method, local_id)
    assert parse_address(str(address)) == address
    assert address.target == f"{operator}.{method}"


@pytest.mark.parametrize("unit", ["(", ".", "a.", ".a(", "a(", ".(", "))"])
def test_long_texts_cost_little(unit: str) -> None:
    text = ".f" + unit * (MAX_ID_CHARS // len(unit) - 2) + ")"
    times = []
    for _ in range(3):
        began = time.process_time()
        parsed(text)
        times.append(time.process_time() - began)
    assert min(times) < 0.02


def test_the_message_shows_the_beginning_only() -> None:
    with pytest.raises(AddressError, match=r"is not of the form OPERATOR.METHOD\(ID\)") as caught:
        parse_address("x" * 5000)
    assert len(caught.value.message) < 200
    assert caught.value.code == 1

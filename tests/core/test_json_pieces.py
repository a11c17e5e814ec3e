"""JSON in pieces: the same values, and the same refusals, as at once."""

import json
from typing import Any

import jiter
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eps.core.json_pieces import (
    FEW_VALUES,
    PIECE_BYTES,
    PIECE_VALUES,
    DeeperThan,
    has_few,
    is_heavy,
    parse_in_pieces,
    write_in_pieces,
)
from eps.core.jsonrpc_text import parse_json, parse_request, strict_loads
from eps.errors import BadRequest, NotJson, TooDeep

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text('ab,[]{}"\\', max_size=3), inner, max_size=5),
    max_leaves=40,
)


def at_once(text: bytes) -> Any:
    return jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True)


def pieces(text: bytes, piece: int = 1, most: int = 50) -> Any:
    return parse_in_pieces(text, lambda part: parse_json(part, 10_000), most=most, piece=piece)


@given(values, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=300)
def test_whatever_the_pieces_the_value_is_the_same(
    value: Any, piece: int, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    found = pieces(text, piece)
    assert found == value
    assert json.dumps(found) == json.dumps(value)  # in the same order, too


@given(st.text('[]{},:"1a\\ n', max_size=14), st.integers(1, 6))
@settings(max_examples=1_000)
def test_whatever_is_no_json_is_none_in_pieces_either(text: str, piece: int) -> None:
    body = text.encode()
    try:
        expected = at_once(body)
    except ValueError:
        with pytest.raises(BadRequest):
            pieces(body, piece)
    else:
        assert pieces(body, piece) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[1,]", "[,1]", "[1,,2]", "[[1,2],,[3]]", "[[1,2] [3,4],5]", "[[1,2][3,4],5]", "[[1,2],]", "[[1,2],3,]", "[1,2",
        "[1,2}", "{1,2]", "]", "[1,2]]", "[1,2] 3", "x[1,2]", '{"a":[1,2],}', '{"a":[1,2] "b":1}', '{[1,2]}',
        '{"a"[1,2]}', '{"a":1,[1,2]}', '{"a":[1,2],"a":1}', '{"a":1,"b":[1,2],"a":[3,4]}', '{"a":1,"b":2,"a":3}',
        '["a,b', "", "nul,",
        '{"a":1 [1,2]}', "[1 [1,2]]", '{"a":[1,2]:3}', "[[1,2]3,4]", '[1,"\\ud800",2]', "[1,NaN,2]",
    ],
)  # fmt: skip
def test_what_is_malformed_at_a_seam(text: str) -> None:
    for piece in range(1, len(text) + 2):
        with pytest.raises(BadRequest):
            pieces(text.encode(), piece)


@pytest.mark.parametrize("between", ["", " ", "3,", " 3,"])
def test_a_comma_that_is_missing_at_a_seam_is_named(between: str) -> None:
    """Before a container that is parsed in pieces of its own, and before a run of values."""
    for text in (f"[[1,2]{between}[3,4],5]", f'{{"a":[1,2]{between}[3,4],"b":5}}'):
        with pytest.raises(NotJson, match="a comma is missing"):
            pieces(text.encode())


def test_what_is_neither_an_object_nor_a_list() -> None:
    assert pieces(b' "a,[b" ') == "a,[b"
    assert pieces(b"7") == 7


def test_depth_is_counted_across_pieces() -> None:
    assert pieces(b"[1,[2,[3,4]]]", most=3) == [1, [2, [3, 4]]]
    with pytest.raises(DeeperThan):
        pieces(b"[1,[2,[3,4]]]", most=2)


def test_only_what_has_many_values_is_heavy() -> None:
    assert not is_heavy(b'"' + b"x" * 4_000_000 + b'"')
    assert not is_heavy(b"[" + b"1," * (PIECE_BYTES // 4) + b"1]")
    assert is_heavy(b"[" + b"1," * PIECE_BYTES + b"1]")


def test_no_piece_keeps_the_lock_for_long() -> None:
    """Nor is any much shorter than it could be: each costs something."""
    seen: list[int] = []

    def parse(part: bytes) -> Any:
        seen.append(len(part))
        return parse_json(part, len(part))

    for text in (b"[]," * 300_000, b"1," * 300_000, b'{"a":[1,2,{"b":"c,d"}]},' * 30_000):
        seen.clear()
        value = b'{"a":{"b":[' + text + b'1],"c":2}}'
        assert parse_in_pieces(value, parse, most=9) == at_once(value)
        assert max(seen) < 2 * PIECE_BYTES
        assert len(seen) < len(value) / PIECE_BYTES + 5
    long = b'{"a":"' + b"x" * 1_000_000 + b'"}'
    assert parse_in_pieces(long, parse, most=9) == at_once(long)


MANY = b"{}," * 40_000


def test_a_heavy_request_and_a_heavy_answer_are_what_they_would_be() -> None:
    body = b'{"jsonrpc":"2.0","method":"a.b","params":{"x":[' + MANY + b'1],"y":{"z":2}},"id":"7"}'
    call = parse_request(body, "application/json")
    assert (call.method, call.id, call.params) == ("a.b", "7", {"x": [{}] * 40_000 + [1], "y": {"z": 2}})
    assert strict_loads(body) == at_once(body)


def test_a_heavy_one_is_refused_with_the_same_words() -> None:
    deep = b'{"a":[' + MANY + b'{"b":' + b"[" * 130 + b"]" * 130 + b"}]}"
    with pytest.raises(TooDeep, match="too deep at a"):
        strict_loads(deep)
    with pytest.raises(BadRequest, match=r"a\[40000\]: the integer is beyond"):
        strict_loads(b'{"a":[' + MANY + b"9007199254740993]}")
    with pytest.raises(BadRequest, match="duplicate key"):
        strict_loads(b'{"a":[' + MANY + b'1],"a":2}')
    with pytest.raises(NotJson):
        strict_loads(b'{"a":[' + MANY + b"1]")


@pytest.mark.parametrize(
    ("value", "few"),
    [
        (7, True),
        ("x" * 1_000_000, True),
        ([None] * (FEW_VALUES - 1), True),
        ([None] * FEW_VALUES, False),
        ({str(number): number for number in range(FEW_VALUES)}, False),
        ([[{}] * 1_000] * 4, True),
        ([({},) * 1_000] * 5, False),
    ],
    ids=["number", "text", "few", "many", "keys", "few inside", "many inside"],
)
def test_what_has_few_values(value: Any, few: bool) -> None:
    assert has_few(value) is few


@given(values | st.tuples(values, values), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=300)
def test_whatever_the_pieces_are_the_text_is_the_same(value: Any, most: int, batch: int) -> None:
    assert b"".join(write_in_pieces(value, most=most, batch_items=batch)) == orjson.dumps(value)


@pytest.mark.parametrize("wrong", [{1: 2}, {"a": 2**64}, ["\ud800"], {"\ud800": 1}, {1, 2}], ids=repr)
def test_what_can_not_be_written_is_refused_in_pieces_too(wrong: Any) -> None:
    for value in (wrong, [[0] * 9, wrong], {"a": [0] * 9, "b": wrong}):
        with pytest.raises(orjson.JSONEncodeError):
            list(write_in_pieces(value, most=3, batch_items=1))


def test_no_piece_is_written_for_long() -> None:
    """Whatever the value is: much in few elements, and few in many."""
    wide, deep = [[]] * 600_000, 7
    for _ in range(90):
        deep = [deep]
    for value in (wide, {"a": wide, "b": {"c": [deep] * 20_000}}, {str(key): {} for key in range(300_000)}):
        pieces_of = list(write_in_pieces(value))
        assert b"".join(pieces_of) == orjson.dumps(value)
        assert max(piece.count(b"[") + piece.count(b"{") for piece in pieces_of) <= PIECE_VALUES
        assert len(pieces_of) < 25_000

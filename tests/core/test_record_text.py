"""The JSON text of records: any double, any depth, and back as it was."""

import contextlib
import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core import record_text
from eps.core.jsonrpc_text import strict_loads
from eps.core.record import parse_change_record
from eps.core.record_text import MAX_LEVELS, Number, dumps, loads
from eps.core.structure import structured_hash
from eps.errors import BadRequest, NotJson, TooLarge
from support.strategies import VALUES
from support.vectors import load


def read(text: str | bytes) -> Any:
    return loads(text.encode() if isinstance(text, str) else text, max_bytes=64 * 1024 * 1024)


def nested(depth: int, inside: str = "1", *, lists: bool = False) -> str:
    return ("[" if lists else '{"k":') * depth + inside + ("]" if lists else "}") * depth


@pytest.mark.parametrize("vector", load("foreign_numbers.json"), ids=lambda vector: vector["record_text"][:16])
def test_vectors_are_hashed_and_passed_on(vector: Any) -> None:
    text = vector["record_text"].encode()
    value = read(text)
    record = parse_change_record(value)
    assert record.hash() == vector["hash"]
    assert dumps(value) == text
    assert parse_change_record(read(dumps(record.to_json()))).hash() == vector["hash"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-0", -0.0),
        ("-0.0", -0.0),
        ("-0e5", -0.0),
        ("0", 0),
        ("0.0", 0.0),
        ("1000000000000000000", 1e18),
        ("-1000000000000000000", -1e18),
        ("9007199254740993", 9007199254740992.0),
        ("9007199254740991", 9007199254740991),
        ("1" + "0" * 300, 1e300),
        ("1E5", 1e5),
        ("5e-324", 5e-324),
        ("1e-400", 0.0),
        ("123456789.125", 123456789.125),
    ],
)
def test_every_number_is_a_double_and_keeps_its_text(text: str, number: float) -> None:
    for form in ("%s", "[%s]", '{"a":%s}', '{"a":[1,%s],"b":"x"}', "[-0, 1.5, %s ]"):
        value = read(form % text)
        assert dumps(value).decode() == (form % text).replace(" ", "")
        while isinstance(value, list | dict):
            value = value["a"] if isinstance(value, dict) else value[-1]
        assert value == number
        assert math.copysign(1, value) == math.copysign(1, number)


def test_texts_that_look_like_numbers_stay() -> None:
    for text in ('["-0"]', r'["a\"-0",-0]', '{"-0":-0}', '["[-0,"]', '{"a":"1e5","b":1e5}', '{"a":":-0 ,-0"}'):
        assert dumps(read(text)).decode() == text


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["%r", "%.20e", "%.400f", "%d"]))
def test_any_double_survives_hash_and_passage(number: float, form: str) -> None:
    text = '{"v":[' + form % number + "]}"
    value = read(text)
    again = read(dumps(value))
    assert dumps(again) == dumps(value) == text.encode()
    assert structured_hash(again) == structured_hash(value) == structured_hash({"v": [float(form % number)]})


@given(VALUES)
def test_ordinary_values_are_read_as_everywhere(value: Any) -> None:
    text = json.dumps(value).encode()
    assert read(text) == strict_loads(text) == value
    assert read(dumps(read(text))) == value
    assert read(b"[" * 300 + text + b"]" * 300) == read(b"[" * 300 + dumps(value) + b"]" * 300)


@pytest.mark.parametrize("depth", [199, 200, 201, 253, 254, 255, 1_000, 10_000])
@pytest.mark.parametrize("lists", [True, False])
def test_depth_is_read_and_written_by_loops(depth: int, lists: bool) -> None:
    for inside in ("1", "[]", "{}", '"x"', "null", '[-0,{"a":true,"b":[1e+300, false]}]'):
        text = nested(depth, inside.replace(" ", ""), lists=lists)
        value = read(nested(depth, inside, lists=lists))
        assert dumps(value).decode() == text
        assert len(structured_hash(value)) == 32


def test_what_is_written_may_hold_finished_pieces() -> None:
    piece = orjson.Fragment(b'{"a":1e+300}')
    assert dumps({"x": [piece], "y": ()}) == b'{"x":[{"a":1e+300}],"y":[]}'
    assert dumps([read(nested(300)), piece]).endswith(b',{"a":1e+300}]')
    assert dumps({"a": [Number("1e+300")]}, indent=True) == b'{\n  "a": [\n    1e+300\n  ]\n}'
    with pytest.raises(orjson.JSONEncodeError):
        dumps([object()])


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[1,]",
        '{"a":1,}',
        '{"a" 1}',
        "{1:2}",
        "[01]",
        "[+1]",
        "[1.]",
        "[NaN]",
        "[-Infinity]",
        "[1e400]",
        "[1" + "0" * 400 + "]",
        '["\\ud800"]',
        '["\\x"]',
        '["a]',
        '["a\n"]',
        "[1 2]",
        "[1]x",
        "[tru]",
        "[}",
        '{"a":1]',
        '{"a":1,"a":2}',
        '{"a":-0,"a":2}',
        "[1.5,tru]",
    ],
)
def test_what_is_no_json_is_refused_at_any_depth(text: str) -> None:
    deep = nested(300, "%s", lists=True) % text
    for attempt in (text, f"[-0,{text}]", deep, deep.replace("[[", "[-0,[", 1), nested(300) + text):
        with pytest.raises((NotJson, BadRequest)):
            read(attempt)


@given(st.binary(max_size=40))
def test_bytes_of_strangers(data: bytes) -> None:
    for attempt in (data, b"[" * 250 + data, b"[" * 250 + data + b"]" * 250):
        with contextlib.suppress(BadRequest):
            dumps(read(attempt))


def test_bounds() -> None:
    with pytest.raises(TooLarge):
        loads(b"[1]", max_bytes=2)
    assert read(nested(MAX_LEVELS, lists=True))
    for text in (nested(MAX_LEVELS + 1), "[" * 1_000_000):
        with pytest.raises(BadRequest, match=f"more than {MAX_LEVELS} deep"):
            read(text)


def test_what_takes_long_is_bounded_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_text, "MAX_DEEP_BYTES", 1_000)
    assert read(nested(300, lists=True)) and read("[" + "1," * 1_000 + "1]")
    with pytest.raises(TooLarge, match="nested deep"):
        read("[" + nested(300, lists=True) + ",1" * 300 + "]")


def test_numbers_compute_as_doubles() -> None:
    assert Number("1e3") == 1000.0
    assert Number("1e3") + 1 == 1001.0

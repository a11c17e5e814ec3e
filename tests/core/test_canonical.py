"""Canonical JSON, by the examples of RFC 8785 and by its laws."""

import json
import math
import shutil
import struct
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core import record_text
from eps.core.canonical import canonical_json, number_text
from support.strategies import VALUES

NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
"""RFC 8785, appendix B."""

finite = st.floats(allow_nan=False, allow_infinity=False)


def read(text: str) -> Any:
    return record_text.loads(text.encode(), max_bytes=64 * 1024 * 1024)


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items(), ids=NUMBERS)
def test_numbers_as_in_appendix_b(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert number_text(number) == text
    assert canonical_json([number]) == f"[{text}]".encode()


@given(finite | st.integers(-(10**300), 10**300).map(float))
def test_a_number_is_itself_again_and_has_one_text(number: float) -> None:
    text = number_text(number)
    assert float(text) == number
    assert canonical_json(read(f"[{text}]")) == f"[{text}]".encode()
    assert canonical_json(read(f"[{number!r}]")) == f"[{text}]".encode()


def test_numbers_are_those_of_an_ecmascript_engine() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")
    numbers = [math.ldexp(m, e) for e in range(-1074, 1024, 7) for m in (1, 1.1, -1.7)]
    numbers += [10.0**e * m for e in range(-30, 30) for m in (1, 12, 1.5, 123456789)]
    script = "console.log(JSON.stringify(JSON.parse(require('fs').readFileSync(0, 'utf8'))))"
    done = subprocess.run([node, "-e", script], input=json.dumps(numbers).encode(), capture_output=True, timeout=60)
    assert canonical_json(numbers) == done.stdout.strip(), done.stderr


def test_the_rfcs_examples() -> None:
    given_text = r"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    expected = r"""{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"""
    expected += '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical_json(read(given_text)).decode() == expected


def test_keys_stand_in_the_order_of_their_utf_16_code_units() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical_json(dict.fromkeys(keys)))) == ordered


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), st.none(), max_size=6))
def test_order_of_any_keys(value: dict[str, None]) -> None:
    expected = sorted(value, key=lambda key: key.encode("utf-16-be"))
    assert list(json.loads(canonical_json(value))) == expected


def test_every_character_is_written_as_the_rfc_says() -> None:
    short = {8: r"\b", 9: r"\t", 10: r"\n", 12: r"\f", 13: r"\r", 0x22: r"\"", 0x5C: r"\\"}
    for point in (*range(0xD800), *range(0xE000, 0x10000), 0x10000, 0x1F600, 0x10FFFF):
        written = short.get(point) or (f"\\u{point:04x}" if point < 0x20 else chr(point))
        assert canonical_json(chr(point)).decode() == f'"{written}"'


@given(VALUES)
def test_laws(value: Any) -> None:
    """What is read again is the same value, and canonical; the order of keys and the spaces don't matter."""
    text = canonical_json(value)
    assert json.loads(text, parse_int=float) == value
    assert canonical_json(read(text.decode())) == text
    shuffled = json.dumps(value, indent=1, sort_keys=True).encode()
    assert canonical_json(record_text.loads(shuffled, max_bytes=10**6)) == text


@pytest.mark.parametrize("depth", [1, 255, 1_000, 16_000])
def test_depth_is_no_matter(depth: int) -> None:
    for opening, closing in (('{"k":', "}"), ("[", "]")):
        text = opening * depth + "9007199254740993" + closing * depth
        assert canonical_json(read(text)) == text.replace("993", "992").encode()

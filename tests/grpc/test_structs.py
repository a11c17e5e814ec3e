"""structs: what is kept with constants and remembered of messages changes nothing of what travels."""

import math
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from eps.core.limits import MAX_LEVELS
from eps.core.message import Constant
from eps.errors import BadRequest
from eps.grpc.structs import Memory, Unfit, decode_struct, encode_struct

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4).map(Constant)
    ),
    max_leaves=60,
)
objects = st.dictionaries(texts, values, max_size=4)

ENTRY = {"name": "hd-1", "groups": ["a"] * 300, "records": [{"hash": "0" * 64, "n": 1.5, "none": None}] * 20}


def decoded(encoded: bytes, memory: Memory) -> Any:
    return decode_struct(Struct.FromString(encoded), memory)


@given(objects)
def test_a_struct_comes_back_as_it_was(value: dict[str, Any]) -> None:
    memory = Memory()
    for _ in range(2):  # the second time some parts are known, at both ends
        assert decoded(encode_struct(value), memory) == value


@given(objects)
def test_a_constant_travels_like_any_other_object(value: dict[str, Any]) -> None:
    assert encode_struct({"a": Constant(value)}) == encode_struct({"a": value})


def test_a_constant_is_encoded_once() -> None:
    constant = Constant(ENTRY)
    encoded = encode_struct({"a": constant})
    kept = constant.encoded
    assert encode_struct({"b": 1, "a": constant}).endswith(encoded)
    assert constant.encoded is kept is not None


def test_a_constant_counts_as_deep_as_it_is() -> None:
    deep: Any = 1
    for number in range(31):
        deep = [deep] if number % 2 else {"a": deep}
    constant = Constant({"a": deep})
    levels = 3 * 17 + 2 * 15
    encode_struct(constant)
    for wrappers in range((MAX_LEVELS - levels) // 3 + 2):
        value: Any = constant
        for _ in range(wrappers):
            value = {"b": value}
        if levels + 3 * wrappers <= MAX_LEVELS:
            Struct.FromString(encode_struct(value))
        else:
            with pytest.raises(Unfit):
                encode_struct(value)


@pytest.mark.parametrize("unfit", [math.nan, math.inf, 2**53 + 1, object(), {1: 2}, {"a": {2: 1}}])
def test_what_cannot_travel(unfit: Any) -> None:
    with pytest.raises(Unfit):
        encode_struct({"a": [unfit]})


def test_a_large_object_that_comes_again_is_the_same_object() -> None:
    memory = Memory()
    first = decoded(encode_struct({"time": 1, "entry": ENTRY}), memory)
    second = decoded(encode_struct({"time": 2, "entry": ENTRY}), memory)
    assert first["entry"] is second["entry"]
    assert (first["time"], second["time"]) == (1, 2)


def test_a_large_object_inside_a_changing_one() -> None:
    memory = Memory()
    first = decoded(encode_struct({"params": {"n": 1, "entry": ENTRY}}), memory)
    second = decoded(encode_struct({"params": {"n": 2, "entry": ENTRY}}), memory)
    assert first["params"]["entry"] is second["params"]["entry"]
    assert second["params"]["n"] == 2


def test_an_object_too_large_to_be_kept_still_has_parts_that_are() -> None:
    memory = Memory()
    value = {"a": {"text": "x" * 70_000, "entry": ENTRY}}
    first, second = (decoded(encode_struct(value), memory) for _ in range(2))
    assert first == second == value
    assert first["a"] is not second["a"]
    assert first["a"]["entry"] is second["a"]["entry"]


def test_the_memory_forgets_what_was_not_used_for_longest() -> None:
    memory = Memory(limit=30)
    kept = {bytes([number]) * 10: {"n": number} for number in range(3)}
    for encoded, value in kept.items():
        memory.put(encoded, value)
    first, second, third = kept
    assert memory.get(first) == {"n": 0}
    memory.put(b"d" * 10, {"n": 3})
    assert memory.get(second) is None
    assert memory.get(first) == {"n": 0}
    assert memory.get(third) == {"n": 2}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nothing_with_a_number_that_is_none_is_kept(bad: float) -> None:
    struct = Struct()
    struct.update({"entry": {"text": "x" * 600, "number": bad}})
    memory = Memory()
    for _ in range(2):
        with pytest.raises(BadRequest, match="not a JSON number"):
            decode_struct(struct, memory)


def test_a_value_without_a_kind_is_null() -> None:
    struct = Struct()
    struct.fields["none"].SetInParent()
    struct.fields["text"].string_value = "x" * 600
    assert decode_struct(struct, Memory()) == {"none": None, "text": "x" * 600}


UNKNOWN = b"\x7a\x01z"
"""A field that struct.proto does not have."""


def field(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + content


@pytest.mark.parametrize("where", ["struct", "inner struct", "value", "entry"])
def test_fields_that_nobody_knows(where: str) -> None:
    """protobuf keeps them, and they are no reason to see anything else than protobuf does."""
    value = field(0x1A, b"x" * 600)
    inner = field(0x0A, field(0x0A, b"text") + field(0x12, value)) + UNKNOWN * (where == "inner struct")
    outer = field(0x2A, inner) + UNKNOWN * (where == "value")
    entry = field(0x0A, b"a") + field(0x12, outer) + UNKNOWN * (where == "entry")
    encoded = field(0x0A, entry) + UNKNOWN * (where == "struct")
    memory = Memory()
    for _ in range(2):
        assert decoded(encoded, memory) == json_format.MessageToDict(Struct.FromString(encoded))

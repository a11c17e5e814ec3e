"""Structs are read as protobuf reads them, and deeper; what is remembered of messages changes nothing."""

import contextlib
import math
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from eps.core.limits import WIRE_NESTING
from eps.errors import BadRequest, TooDeep
from eps.grpc.struct_decoder import Memory, decode_struct
from eps.grpc.struct_encoder import encode_struct
from support.grpc_rig import field, nested, written_by_hand
from support.json_values import ENTRY, objects, texts, values


def decoded(encoded: bytes, memory: Memory) -> Any:
    return decode_struct(encoded, "params", memory)


@given(objects)
def test_a_struct_comes_back_as_it_was(value: dict[str, Any]) -> None:
    memory = Memory()
    for _ in range(2):  # the second time some parts are known, at both ends
        assert decoded(encode_struct(value), memory) == value


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


def test_an_object_of_very_many_values_is_not_kept() -> None:
    memory = Memory()
    value = {"a": {"lists": [[] for _ in range(9_000)], "entry": ENTRY}}
    first, second = (decoded(encode_struct(value), memory) for _ in range(2))
    assert first == second == value
    assert first["a"] is not second["a"] and first["a"]["entry"] is second["a"]["entry"]


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
        with pytest.raises(BadRequest, match=r"params holds a number that JSON doesn't know"):
            decoded(struct.SerializeToString(), memory)


def test_a_value_without_a_kind_is_null() -> None:
    struct = Struct()
    struct.fields["none"].SetInParent()
    struct.fields["text"].string_value = "x" * 600
    assert decoded(struct.SerializeToString(), Memory()) == {"none": None, "text": "x" * 600}


UNKNOWN = b"\x7a\x01z"
"""A field that struct.proto does not have."""


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


@given(st.dictionaries(texts, values, max_size=4))
def test_protobuf_says_the_same(value: dict[str, Any]) -> None:
    """Of what it reads itself."""
    theirs = Struct()
    json_format.ParseDict(value, theirs)
    assert decoded(theirs.SerializeToString(), Memory()) == json_format.MessageToDict(theirs) == value


@pytest.mark.parametrize("kinds", ["o" * 90, "o" + "l" * 90, "ol" * 45, "o" * WIRE_NESTING, "o" + "l" * 128])
def test_as_deep_as_may_be(kinds: str) -> None:
    encoded = written_by_hand(kinds)
    assert decoded(encoded, Memory()) == nested(kinds)
    assert encode_struct(nested(kinds)) == encoded


@pytest.mark.parametrize(
    ("kinds", "place"),
    [
        ("o" * (WIRE_NESTING + 1), "params" + ".a" * 57 + "…"),
        ("o" + "l" * WIRE_NESTING, "params.a" + "[0]" * 37 + "[…"),
        ("o" * 2_000, "params.a.a.a"),
    ],
)
def test_deeper_is_refused_with_its_place(kinds: str, place: str) -> None:
    with pytest.raises(TooDeep) as caught:
        decoded(written_by_hand(kinds), Memory())
    assert f"too deep at {place}" in caught.value.message


def test_the_place_is_that_of_the_first_one_too_deep() -> None:
    deep = field(0x2A, written_by_hand("o" * WIRE_NESTING))
    listed = field(0x32, field(0x0A, b"\x08\x00") + field(0x0A, deep))
    entries = [(b"one", b"\x20\x01"), (b"two", listed), (b"three", b"\x08\x00")]
    encoded = b"".join(field(0x0A, field(0x0A, key) + field(0x12, value)) for key, value in entries)
    with pytest.raises(TooDeep, match=r"too deep at params\.two\[1\]\.a\.a"):
        decoded(encoded, Memory())


@pytest.mark.parametrize(
    "encoded",
    [
        b"\xff",
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\x7f\x0a\x01a",
        field(0x0A, field(0x0A, b"a") + b"\x12\x7f"),
        field(0x0A, b"\x0a\x7fa"),
        field(0x0A, field(0x0A, b"a") + field(0x12, b"\x11\0\0")),
        field(0x0A, field(0x0A, b"a") + field(0x12, b"\x1a\x7fx")),
        field(0x0A, field(0x0A, b"a") + field(0x12, field(0x1A, b"\xff"))),
        field(0x0A, field(0x0A, b"\xff") + field(0x12, b"\x08\x00")),
    ],
)
def test_what_is_no_struct_is_refused(encoded: bytes) -> None:
    with pytest.raises(BadRequest, match="params can't be read"):
        decoded(encoded, Memory())


def test_an_entry_without_anything_is_null_under_the_empty_key() -> None:
    null = field(0x0A, field(0x0A, b"n\xc3\x9f") + field(0x12, b"\x08\x00"))
    assert decoded(b"\x0a\x00" + null, Memory()) == {"": None, "nß": None}
    text = field(0x0A, field(0x0A, b"a") + field(0x12, field(0x1A, b"\xc3\x9f")))
    for cut in range(len(text)):
        with pytest.raises(BadRequest) if cut else contextlib.nullcontext():
            decoded(text[:cut], Memory())
    assert decoded(b"\x0a\x00" + text, Memory()) == {"": None, "a": "ß"}


def test_a_key_behind_its_value_and_one_that_is_left_out() -> None:
    """Nobody writes so; protobuf reads it."""
    backwards = field(0x0A, field(0x12, field(0x1A, b"x")) + field(0x0A, b"a"))
    nameless = field(0x0A, field(0x12, field(0x32, field(0x0A, b"\x20\x01") + field(0x0A, b"\x11" + bytes(8)))))
    null = field(0x0A, field(0x0A, b"n") + field(0x12, b"\x08\x00"))
    assert decoded(backwards + nameless + null, Memory()) == {"a": "x", "": [True, 0], "n": None}


def test_zeros_keep_their_sign() -> None:
    assert repr(decode_struct(encode_struct({"a": [-0.0, 0.0, 0]}))) == "{'a': [-0.0, 0, 0]}"

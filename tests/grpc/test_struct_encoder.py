"""Structs are written as protobuf writes them, and deeper; what is kept with constants changes nothing."""

import enum
import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given

from eps.core.limits import WIRE_NESTING
from eps.core.message import Constant
from eps.grpc.struct_decoder import decode_struct
from eps.grpc.struct_encoder import JOINED_PIECES, Unfit, encode_struct
from support.grpc_rig import nested
from support.json_values import ENTRY, objects


@given(objects)
def test_protobuf_reads_it(value: dict[str, Any]) -> None:
    encoded = encode_struct(value)
    assert decode_struct(Struct.FromString(encoded).SerializeToString()) == value


@given(objects)
def test_a_constant_travels_like_any_other_object(value: dict[str, Any]) -> None:
    assert encode_struct({"a": Constant(value)}) == encode_struct({"a": value})


def test_a_constant_is_encoded_once() -> None:
    constant = Constant(ENTRY)
    encoded = encode_struct({"a": constant})
    kept = constant.encoded
    assert encode_struct({"b": 1, "a": constant}).endswith(encoded)
    assert constant.encoded is kept is not None


@pytest.mark.parametrize("kinds", ["o", "ol", "olo" * 20, "o" * 127])
def test_a_constant_counts_as_deep_as_it_is(kinds: str) -> None:
    constant = Constant(nested(kinds))
    for wrappers in range(1, WIRE_NESTING - len(kinds) + 2):
        value: Any = constant
        for number in range(wrappers):
            value = {"b": value} if number % 2 == 0 else {"c": [value]} if number % 4 == 1 else {"d": value}
        levels = len(kinds) + sum(2 if number % 4 == 1 else 1 for number in range(wrappers))
        if levels <= WIRE_NESTING:
            assert decode_struct(encode_struct(value)) == value
        else:
            with pytest.raises(Unfit):
                encode_struct(value)


def test_a_constant_that_is_too_deep_itself() -> None:
    with pytest.raises(Unfit):
        encode_struct(Constant(nested("o" * (WIRE_NESTING + 1))))


@pytest.mark.parametrize("unfit", [math.nan, math.inf, 2**53 + 1, object(), {1: 2}, {"a": {2: 1}}])
def test_what_cannot_travel(unfit: Any) -> None:
    with pytest.raises(Unfit):
        encode_struct({"a": [unfit]})


@pytest.mark.parametrize("kinds", ["o" * (WIRE_NESTING + 1), "o" + "l" * WIRE_NESTING, "ol" * 50_000])
def test_what_is_too_deep(kinds: str) -> None:
    with pytest.raises(Unfit):
        encode_struct(nested(kinds))


class Word(enum.StrEnum):
    HELLO = "hello"


class Pairs(dict[str, Any]):
    """An object that is not quite a dict."""


def test_subclasses_of_json_types_travel_as_those() -> None:
    odd = {"a": Word.HELLO, "b": Pairs(c=[Pairs(), True, (1, Word.HELLO)]), "d": 1}
    assert decode_struct(encode_struct(odd)) == {"a": "hello", "b": {"c": [{}, True, [1, "hello"]]}, "d": 1}


def test_long_keys_and_sizes_of_several_bytes() -> None:
    value = {"k" * 70_000: "v" * 3_000_000, "list": list(range(40_000)), "": {"": "x" * 1_023}}
    encoded = encode_struct(value)
    assert decode_struct(encoded) == value
    assert decode_struct(Struct.FromString(encoded).SerializeToString()) == value


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_values_of_many_pieces(extra: int) -> None:
    value = {"numbers": list(range(JOINED_PIECES + extra)), "objects": [{"a": []}] * (JOINED_PIECES + extra)}
    assert decode_struct(encode_struct(value)) == value

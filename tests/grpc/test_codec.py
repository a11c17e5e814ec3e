"""codec: messages ↔ protobuf; what can't travel is refused with its place."""

import enum
import json
import math
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from eps.core.address import Address, parse_address
from eps.core.jsonrpc_text import check_value, strict_loads
from eps.core.message import Error, Request, Response
from eps.core.names import Operator
from eps.errors import AddressError, BadParams, BadRequest, TooLarge
from eps.grpc import eps_pb2 as pb
from eps.grpc.codec import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    struct_to_dict,
)

HD_1 = Operator("hd-1")
PING = Address(Operator("hd-2"), "_ping", "1")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


def wire(message: Any) -> Any:
    """The message as the other side parses it."""
    return type(message).FromString(message.SerializeToString())


def struct_of(value: dict[str, Any]) -> Struct:
    """The Struct in which ``value`` travels."""
    return encode_response(Response("1", value), "1").result


@given(st.dictionaries(texts, values, max_size=4))
def test_a_struct_comes_back_as_it_was(value: dict[str, Any]) -> None:
    struct = struct_of(value)
    assert struct_to_dict(Struct.FromString(struct.SerializeToString())) == value


@given(st.dictionaries(texts, values, max_size=3))
def test_a_struct_says_what_protobufs_own_json_says(value: dict[str, Any]) -> None:
    struct = struct_of(value)
    theirs = json_format.ParseDict(json.loads(json.dumps(value)), Struct())
    assert struct == theirs


def test_integers_stay_integers_within_2_to_the_53() -> None:
    struct = struct_of({"a": 2**53, "b": -(2**53), "c": 1.5, "d": 1e300, "e": 3.0, "f": True, "g": -0.0})
    result = struct_to_dict(struct)
    assert result == {"a": 2**53, "b": -(2**53), "c": 1.5, "d": 1e300, "e": 3, "f": True, "g": 0}
    assert [type(result[key]) for key in "abcdefg"] == [int, int, float, float, int, bool, int]


class Word(enum.StrEnum):
    HELLO = "hello"


class Number(enum.IntEnum):
    SEVEN = 7


def test_subclasses_of_json_types_travel_as_those() -> None:
    struct = struct_of({"word": Word.HELLO, "number": Number.SEVEN, "pair": (1, "x"), "operator": HD_1})
    assert struct_to_dict(struct) == {"word": "hello", "number": 7, "pair": [1, "x"], "operator": "hd-1"}


def nested(objects: int, leaf: Any = 1) -> dict[str, Any]:
    value: Any = leaf
    for _ in range(objects):
        value = {"a": value}
    return dict(value)


def nested_lists(lists: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(lists):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, {"b": 2**53 + 1}]}, "params.a[1].b: the integer is beyond"),
        ({"a": -(2**60)}, "params.a: the integer is beyond"),
        ({"a": math.nan}, "params.a: nan"),
        ({"a": [math.inf]}, "params.a[0]: inf"),
        ({"a": "\ud800"}, "params.a: holds a lone surrogate"),
        ({"\ud800": 1}, "params: holds a lone surrogate"),
        ({"a": {"\udfff": 1}}, "params.a: holds a lone surrogate"),
        ({"a": b"x"}, "params.a: bytes is not a JSON value"),
        ({"a": {1: 2}}, "params.a: a key is not a string"),
        (nested(34), "nested too deeply; at most 33 objects, or 48 lists in an object"),
        (nested_lists(49), "nested too deeply"),
    ],
)
def test_what_cannot_travel_is_refused_with_its_place(value: dict[str, Any], place: str) -> None:
    with pytest.raises(BadParams) as caught:
        encode_request(Request(PING, value), HD_1)
    assert place in caught.value.message


deepest = [nested(32), nested(31, {}), nested(32, [1]), nested_lists(48), nested(15, nested_lists(25)), nested(31, [])]


@pytest.mark.parametrize("value", deepest)
def test_what_json_accepts_can_travel_and_is_parsed_at_the_other_end(value: dict[str, Any]) -> None:
    check_value(value, "params")
    assert decode_request(wire(encode_request(Request(PING, value), HD_1))).params == value
    assert decode_response(wire(encode_response(Response("1", value), "1")), "1").result == value
    error = Error(1, "x", value)
    assert decode_response(wire(encode_response(Response("1", error=error), "1")), "1").error == error


@pytest.mark.parametrize("value", [nested(33), nested_lists(49), nested(32, [[1]])])
def test_json_is_never_laxer(value: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        check_value(value, "params")


def test_a_list_as_the_result_travels_as_deep_as_json_accepts_it() -> None:
    value = nested_lists(48)["a"]
    strict_loads(json.dumps({"result": value}).encode())
    assert decode_response(wire(encode_response(Response("1", value), "1")), "1").result == value


def test_a_request_goes_there_and_back() -> None:
    request = Request(PING, {"a": [None, {"b": "ü"}], "_client": {"name": "forged"}})
    message = wire(encode_request(request, HD_1))
    assert (message.method, message.id, message.clientName) == ("hd-2._ping", "hd-2._ping(1)", "hd-1")
    assert decode_request(message) == Request(PING, {"a": [None, {"b": "ü"}]})
    assert "_client" in request.params  # the caller's own object is left alone


ADDRESSES = json.loads((Path(__file__).parents[1] / "vectors/address.json").read_text())


@pytest.mark.parametrize("text", [case["id"] for case in ADDRESSES if "address" in case])
def test_every_good_address_travels(text: str) -> None:
    address = parse_address(text)
    assert decode_request(wire(encode_request(Request(address, {}), HD_1))) == Request(address, {})


def test_the_method_must_repeat_the_ids() -> None:
    with pytest.raises(BadRequest, match=r"'hd-2\.other' does not repeat the id's 'hd-2\._ping'"):
        decode_request(pb.Request(method="hd-2.other", id="hd-2._ping(1)"))
    with pytest.raises(BadRequest):
        decode_request(pb.Request(id="hd-2._ping(1)"))
    with pytest.raises(AddressError):
        decode_request(pb.Request(method="hd-2._ping", id="nonsense"))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused_from_the_wire(number: float) -> None:
    message = pb.Request(method="hd-2._ping", id="hd-2._ping(1)")
    message.params.fields["a"].number_value = number
    with pytest.raises(BadRequest, match="not a JSON number"):
        decode_request(message)


def test_nulls_are_kept_and_values_without_a_kind_are_null() -> None:
    message = pb.Request(method="hd-2._ping", id="hd-2._ping(1)")
    message.params.fields["a"].null_value = 0
    message.params.fields["b"].SetInParent()
    assert decode_request(message).params == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("result", "back"),
    [({"a": 1}, {"a": 1}), ([1, 2], [1, 2]), ("x", "x"), (0, 0), (False, False), (None, {}), ({}, {}), ({"_": 1}, 1)],
)
def test_results_are_wrapped_and_unwrapped(result: Any, back: Any) -> None:
    message = wire(encode_response(Response("caller's", result), "hd-2._ping(1)"))
    assert message.id == "hd-2._ping(1)"
    assert message.HasField("result")
    assert not message.HasField("error")
    assert decode_response(message, "caller's") == Response("caller's", back)


def test_an_error_comes_without_a_result() -> None:
    message = wire(encode_response(Response("1", error=Error(403, "no", ["why"])), "1"))
    assert not message.HasField("result")
    assert decode_response(message, "7") == Response("7", error=Error(403, "no", ["why"]))


def test_an_errors_odd_parts_do_not_prevent_it() -> None:
    message = wire(encode_response(Response("1", error=Error(2**31, "\ud800 broken", None)), "1"))
    assert (message.error.code, message.error.message) == (-32603, "? broken")


def test_neither_result_nor_error_is_an_empty_result() -> None:
    assert decode_response(pb.Response(id="1"), "1") == Response("1", {})


def test_an_error_beside_a_result_counts() -> None:
    message = pb.Response(id="1", error=pb.Error(code=5, message="x"))
    message.result["a"] = 1
    assert decode_response(message, "1") == Response("1", error=Error(5, "x", {}))


def test_over_4_mib_is_named_with_its_size() -> None:
    with pytest.raises(TooLarge, match=r"the call to hd-2\._ping has 4,194,\d{3} bytes, at most 4,194,304"):
        encode_request(Request(PING, {"a": "x" * 4_194_304}), HD_1)
    with pytest.raises(TooLarge, match="the result has 5,000,0"):
        encode_response(Response("1", "x" * 5_000_000), "1")
    with pytest.raises(TooLarge, match="the error has"):
        encode_response(Response("1", error=Error(1, "m", "x" * 5_000_000)), "1")

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
from eps.core.limits import MAX_NESTING
from eps.core.message import Error, Request, Response
from eps.core.names import Operator
from eps.errors import AddressError, BadRequest, TooDeep, TooLarge
from eps.grpc import eps_pb2 as pb
from eps.grpc.codec import (
    SURELY_FITS,
    decode_response,
    encode_request,
    encode_response,
    tell_duration,
    tell_trace,
)
from support.grpc_rig import nested, struct
from support.wire_messages import decode_request

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


def travelled(value: dict[str, Any]) -> Any:
    """``value`` at the other end."""
    return decode_response(wire(encode_response(Response("1", value), "1")), "1").result


@given(st.dictionaries(texts, values, max_size=4))
def test_a_struct_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert travelled({"x": value}) == {"x": value}


@given(st.dictionaries(texts, values, max_size=3))
def test_a_struct_says_what_protobufs_own_json_says(value: dict[str, Any]) -> None:
    ours = Struct.FromString(encode_response(Response("1", value), "1").result)
    theirs = json_format.ParseDict(json.loads(json.dumps(value)), Struct())
    assert ours == theirs


def test_integers_stay_integers_within_2_to_the_53() -> None:
    result = travelled({"a": 2**53, "b": -(2**53), "c": 1.5, "d": 1e300, "e": 3.0, "f": True, "g": -0.0})
    assert result == {"a": 2**53, "b": -(2**53), "c": 1.5, "d": 1e300, "e": 3, "f": True, "g": 0}
    assert [type(result[key]) for key in "abcdefg"] == [int, int, float, float, int, bool, float]


class Word(enum.StrEnum):
    HELLO = "hello"


class Number(enum.IntEnum):
    SEVEN = 7


def test_subclasses_of_json_types_travel_as_those() -> None:
    odd = travelled({"word": Word.HELLO, "number": Number.SEVEN, "pair": (1, "x"), "operator": HD_1})
    assert odd == {"word": "hello", "number": 7, "pair": [1, "x"], "operator": "hd-1"}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, {"b": 2**53 + 1}]}, "params.a[1].b: the integer is beyond"),
        ({"a": -(2**60)}, "params.a: the integer is beyond"),
        ({"a": math.nan}, "params.a: NaN is no number"),
        ({"a": [math.inf]}, "params.a[0]: the number is beyond"),
        ({"a": "\ud800"}, "params.a: holds a lone surrogate"),
        ({"\ud800": 1}, "params: holds a lone surrogate"),
        ({"a": {"\udfff": 1}}, "params.a: holds a lone surrogate"),
        ({"a": b"x"}, "params.a: bytes is not a JSON value"),
        ({"a": {1: 2}}, "params.a: a key is not a string"),
        ({"b": 1, "a": nested("o" * 129)}, "too deep at params.a.a.a"),
        ({"a": [1, nested("l" * 128)]}, "too deep at params.a[1][0][0]"),
    ],
)
def test_what_cannot_travel_is_refused_with_its_place(value: dict[str, Any], place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        encode_request(Request(PING, value), HD_1)
    assert place in caught.value.message


DEEPEST = ["o" * 90, "o" + "l" * 90, "o" * MAX_NESTING, "o" + "l" * 127, "ol" * 64, "olo" * 42]


@pytest.mark.parametrize("kinds", DEEPEST)
def test_what_json_accepts_can_travel_and_is_read_at_the_other_end(kinds: str) -> None:
    value = nested(kinds)
    check_value(value, "params")
    assert decode_request(wire(encode_request(Request(PING, value), HD_1))).params == value
    assert decode_response(wire(encode_response(Response("1", value), "1")), "1").result == value
    error = Error(1, "x", value)
    assert decode_response(wire(encode_response(Response("1", error=error), "1")), "1").error == error


@pytest.mark.parametrize("kinds", ["o" * 130, "o" + "l" * 130, "l" * 129])
def test_json_is_never_laxer(kinds: str) -> None:
    with pytest.raises(TooDeep):
        check_value(nested(kinds), "result")
    with pytest.raises(TooDeep):
        encode_response(Response("1", nested(kinds)), "1")


def test_a_list_as_the_result_travels_as_deep_as_json_accepts_it() -> None:
    value = nested("l" * MAX_NESTING)
    strict_loads(json.dumps({"result": value}).encode())
    assert travelled(value) == value


def test_the_place_in_a_result_is_as_its_application_knows_it() -> None:
    with pytest.raises(TooDeep, match=r"too deep at result\[0\]\[0\]"):
        encode_response(Response("1", nested("l" * 129)), "1")


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
    params = Struct()
    params.fields["a"].number_value = number
    message = pb.Request(method="hd-2._ping", id="hd-2._ping(1)", params=params.SerializeToString())
    with pytest.raises(BadRequest, match=r"params holds a number that JSON doesn't know"):
        decode_request(message)


def test_nulls_are_kept_and_values_without_a_kind_are_null() -> None:
    params = Struct()
    params.fields["a"].null_value = 0
    params.fields["b"].SetInParent()
    message = pb.Request(method="hd-2._ping", id="hd-2._ping(1)", params=params.SerializeToString())
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
    message = pb.Response(id="1", error=pb.Error(code=5, message="x"), result=struct(a=1))
    assert decode_response(message, "1") == Response("1", error=Error(5, "x", {}))


def test_over_4_mib_is_named_with_its_size() -> None:
    with pytest.raises(TooLarge, match=r"the call to hd-2\._ping has 4,194,\d{3} bytes, at most 4,194,304"):
        encode_request(Request(PING, {"a": "x" * 4_194_304}), HD_1)
    with pytest.raises(TooLarge, match="the result has 5,000,0"):
        encode_response(Response("1", "x" * 5_000_000), "1")
    with pytest.raises(TooLarge, match="the error has"):
        encode_response(Response("1", error=Error(1, "m", "x" * 5_000_000)), "1")


def test_what_is_told_of_a_trace_makes_no_message_too_large() -> None:
    request, answer = pb.Request(params=b"x" * SURELY_FITS), pb.Response(result=b"x" * SURELY_FITS)
    tell_trace(request, "00-…")
    tell_duration(answer, "00001.000000")
    assert (request.traceparent, answer.took) == ("00-…", "00001.000000")
    large, failed = pb.Request(params=b"x" * (SURELY_FITS + 1)), pb.Response(id="1")
    failed.error.data = b"x" * (SURELY_FITS + 1)
    tell_trace(large, "00-…")
    tell_duration(failed, "00001.000000")
    assert (large.traceparent, failed.took) == ("", "")

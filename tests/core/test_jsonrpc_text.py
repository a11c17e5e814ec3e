"""core/jsonrpc_text: sizes, syntax, values, ids, answers."""

import json
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.jsonrpc_text import (
    caller_id,
    check_value,
    network_id,
    parse_request,
    parse_response,
    render_request,
    render_response,
    strict_loads,
)
from eps.core.limits import MAX_MESSAGE_BYTES
from eps.core.message import Error, Response
from eps.errors import (
    AnswerRefused,
    BadRequest,
    DeliveryError,
    EpsError,
    InternalError,
    NotJson,
    OutcomeUnknown,
    TooDeep,
    TooLarge,
)

JSON = "application/json"

safe_numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | safe_numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def nested(objects: int, lists: int = 0, leaf: Any = 1) -> Any:
    value = leaf
    for _ in range(lists):
        value = [value]
    for _ in range(objects):
        value = {"a": value}
    return value


def body(**changes: Any) -> bytes:
    request = {"jsonrpc": "2.0", "method": "hd-1._ping", "params": {}, "id": "1"}
    request.update(changes)
    return json.dumps({key: value for key, value in request.items() if value is not ...}).encode()


# --- gates ---


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{} {}",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00x"',
        b"\xef\xbb\xbf{}",
        b"01",
        b"[1,]",
        b'"\x00"',
        b"9" * 5000,
    ],
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(NotJson) as caught:
        strict_loads(text)
    assert caught.value.code == -32700


@pytest.mark.parametrize("text", [b'{"a": 1, "a": 2}', b'{"x": [{"b": 1, "\\u0062": 2}]}', b"[" * 300 + b"]" * 300])
def test_ambiguous_or_bottomless_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        strict_loads(text)
    assert caught.value.code == -32600


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b'{"a": {"b": [0, 9007199254740993]}}', "a.b[1]: the integer is beyond ±2^53"),
        (b"-9007199254740993", "the value: the integer is beyond ±2^53"),
        (b'{"a": 1e400}', "a: the number"),
        (b"[-1E+400]", "[0]: the number"),
        (b"[" + b"9" * 400 + b".5]", "[0]: the number"),
        (b'{"a": ' + b"1" * 4000 + b"}", "a: the integer"),
    ],
)
def test_numbers_that_can_not_travel_are_refused_with_their_path(text: bytes, where: str) -> None:
    with pytest.raises(BadRequest) as caught:
        strict_loads(text)
    assert caught.value.message.startswith(where)
    assert caught.value.code == -32600
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("text", [b"9007199254740992", b"-9007199254740992", b"1e308", b'{"a": "9007199254740993"}'])
def test_the_largest_numbers_pass(text: bytes) -> None:
    assert strict_loads(text) == json.loads(text)


@pytest.mark.parametrize("value", [nested(128), nested(0, 128), nested(64, 64), nested(127, 0, {}), [nested(127)] * 2])
def test_nesting_up_to_the_limit_passes(value: Any) -> None:
    check_value(value, "params")
    assert strict_loads(json.dumps({"result": value}).encode()) == {"result": value}
    rendered = render_response(Response("1", value))
    assert parse_response(rendered, "1", source="there").result == value


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (nested(129), "result.a.a.a"),
        (nested(0, 129), "result[0][0]"),
        ([1, {"b": nested(64, 64)}], "result[1].b.a.a"),
        (nested(198), "result.a.a.a"),
        (nested(200), "result.a.a.a"),
        ([{"x,": '"[{'}, 7, {"\\": "y", 'k"': nested(300)}], 'result[2].k\\".a.a'),
        (nested(0, 5000), "result[0][0]"),
    ],
)
def test_nesting_beyond_the_limit_is_refused_with_its_place(value: Any, place: str) -> None:
    text = json.dumps({"id": "1", "result": None, "x": [1]}).replace("null", deep_json(value)).encode()
    with pytest.raises(TooDeep) as caught:
        strict_loads(text)
    found = caught.value.message.replace('k".a', 'k\\".a')  # before and behind the parser
    assert found.startswith(f"too deep at {place}"), found
    assert len(found) < 250
    with pytest.raises(AnswerRefused, match=r"there executed the call, but its answer can't be passed on: too deep"):
        parse_response(text, "1", source="there")
    with pytest.raises(AnswerRefused):  # a result comes from a call that ran
        parse_response(text, "1", source="there", status=500)
    error = text.replace(b'"result"', b'"error"')
    with pytest.raises(DeliveryError, match=r"HTTP 500 .*too deep at error") as failed:
        parse_response(error, "1", source="there", status=500)
    assert failed.value.outcome == "failed"


def test_the_place_is_not_looked_for_in_megabytes() -> None:
    text = b'{"params": [' + b"[]," * 1_000_000 + b"[" * 300
    with pytest.raises(TooDeep, match="too deep at a place far behind the begin"):
        strict_loads(text)


def deep_json(value: Any) -> str:
    """As json.dumps, which calls itself."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        return json.dumps(value)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"error": {"a": 1, "a": 2}}', "duplicate key"),
        (b'{"id": "1", "error": {"code": 1, "data": 9007199254740993}}', "±2^53"),
        (b'{"time": 9007199254740993, "result": 1}', "±2^53"),
        (b'{"id": "1", "error": {"code": 1, "data": [NaN]}}', "error.data[0]: NaN is no number"),
    ],
)
def test_answers_that_cannot_be_passed_on_were_executed(text: bytes, why: str) -> None:
    with pytest.raises(AnswerRefused, match="there executed the call") as caught:
        parse_response(text, "1", source="there")
    assert caught.value.outcome == "executed"
    assert why in caught.value.message
    with pytest.raises(DeliveryError, match="HTTP 404") as caught_404:
        parse_response(text, "1", source="there", status=404)
    assert caught_404.value.outcome == "failed"


def test_a_result_with_a_number_that_cannot_travel_was_executed_whatever_the_http_status() -> None:
    for status in (200, 404, 502):
        with pytest.raises(AnswerRefused, match=r"result\[0\]: the integer"):
            parse_response(b'{"id": "1", "result": [9007199254740993]}', "1", source="there", status=status)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b'{"a": [1, NaN]}', r"result\.a\[1\]: NaN is no number"),
        (b"-Infinity", "result: the number is beyond what a double can hold"),
        (rb'{"a": "\ud800"}', r"result\.a: holds a lone surrogate"),
    ],
)
def test_results_that_json_libraries_write_though_they_are_no_json_were_executed(value: bytes, why: str) -> None:
    with pytest.raises(AnswerRefused, match=why):
        parse_response(b'{"id": "1", "result": %b}' % value, "1", source="there")


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"result": NaN' + b" " * 70_000 + b"}"])
def test_only_a_short_answer_is_looked_at_for_what_is_no_json(body: bytes) -> None:
    with pytest.raises(EpsError) as caught:
        parse_response(body, "1", source="there")
    assert "result" not in str(caught.value)


def test_size_is_checked_before_anything_is_parsed() -> None:
    with pytest.raises(TooLarge, match=f"{MAX_MESSAGE_BYTES + 1} bytes") as caught:
        strict_loads(b"{" * (MAX_MESSAGE_BYTES + 1))
    assert caught.value.code == 400
    assert strict_loads(b" " * MAX_MESSAGE_BYTES + b"1", max_bytes=MAX_MESSAGE_BYTES + 1) == 1


@given(values)
def test_rendering_and_parsing_a_request_is_the_identity(value: Any) -> None:
    parsed = parse_request(render_request("a.b", {"v": value}, "x"), JSON)
    assert (parsed.method, parsed.params, parsed.id) == ("a.b", {"v": value}, "x")


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_parsers_raise_nothing_but_our_errors(data: bytes) -> None:
    for parse in (
        lambda: strict_loads(data),
        lambda: parse_request(data, JSON),
        lambda: parse_response(data, "1", source="there"),
    ):
        with suppress(EpsError):
            parse()


# --- requests ---


@pytest.mark.parametrize("kind", [JSON, "Application/JSON", "application/json; charset=utf-8", " application/json ;x"])
def test_content_types_that_are_json(kind: str) -> None:
    assert parse_request(body(), kind).method == "hd-1._ping"


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/jsonrpc", "application/json/x"])
def test_other_content_types_are_refused(kind: str | None) -> None:
    with pytest.raises(NotJson, match="Content-Type"):
        parse_request(body(), kind)


@pytest.mark.parametrize("text", [b"[]", b'"x"', b"1", b"1.5", b"true", b"null"])
def test_a_body_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(NotJson, match="not an object"):
        parse_request(text, JSON)


@pytest.mark.parametrize(
    "changes",
    [
        {"jsonrpc": ...},
        {"jsonrpc": "2.0,"},
        {"jsonrpc": 2.0},
        {"method": ...},
        {"method": ""},
        {"method": 5},
        {"method": "m" * 101},
        {"method": "ü" * 51},
        {"params": ...},
        {"params": None},
        {"params": []},
        {"params": {"a": 2**53 + 1}},
        {"id": True},
        {"id": [1]},
        {"id": {}},
        {"id": 1.5},
        {"id": 2**31},
        {"id": -(2**31) - 1},
        {"id": "x" * 1025},
        {"id": "ü" * 513},
    ],
)
def test_invalid_requests_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request(body(**changes), JSON)
    assert caught.value.code == -32600
    assert set(caught.value.data()) == {"stage", "side", "outcome", "reason", "hint"}


def test_paths_in_params_begin_with_params() -> None:
    with pytest.raises(BadRequest, match=r"^params\.a\[1\]: the integer"):
        parse_request(body(params={"a": [1, 2**60]}), JSON)


def test_params_count_as_the_first_object() -> None:
    assert parse_request(body(params=nested(128)), JSON).params == nested(128)
    for deeper in (129, 180, 250):
        with pytest.raises(TooDeep, match=r"^too deep at params\.a\.a"):
            parse_request(body(params=nested(deeper)), JSON)


@pytest.mark.parametrize("method", ["m", "m" * 100, "ü" * 50])
def test_methods_of_1_to_100_bytes_pass(method: str) -> None:
    assert parse_request(body(method=method), JSON).method == method


@pytest.mark.parametrize("missing", [..., None, ""])
def test_a_request_without_an_id_gets_a_random_one(missing: Any) -> None:
    assert parse_request(body(id=missing), JSON, new_id=lambda: "fresh").id == "fresh"
    assert len(bytes.fromhex(parse_request(body(id=missing), JSON).id)) == 16


# --- ids ---


@pytest.mark.parametrize(
    ("written", "inside"),
    [
        (7, "n:7"),
        (-7, "n:-7"),
        (0, "n:0"),
        (2**31 - 1, "n:2147483647"),
        (-(2**31), "n:-2147483648"),
        ("n:7", "nn:7"),
        ("nn:-7", "nnnn:-7"),
        ("nnn:7", "nnnnnn:7"),
        ("n:", "n:"),
        ("n:7a", "n:7a"),
        ("n:٣", "n:٣"),
        ("n:7\n", "n:7\n"),
        ("an:7", "an:7"),
        ("x" * 1024, "x" * 1024),
        ("äö😀", "äö😀"),
    ],
)
def test_ids_inside_the_network(written: str | int, inside: str) -> None:
    assert network_id(written) == inside
    assert caller_id(inside) == written


@given(
    st.text(max_size=300) | st.from_regex(r"n{1,5}:-?[0-9]{1,30}", fullmatch=True) | st.integers(-(2**31), 2**31 - 1)
)
def test_every_id_comes_back_as_it_was(written: str | int) -> None:
    inside = network_id(written)
    assert caller_id(inside) == (written if written != "" else None)


@pytest.mark.parametrize("zero", ["-0", "-0.0", "-0e5"])
@pytest.mark.parametrize("around", ['{{"v":{}}}', '{{"v": {} , "w":1}}', '{{"v":[{}]}}', '{{"v":[1,{}\n]}}'])
def test_a_negative_zero_keeps_its_sign(zero: str, around: str) -> None:
    """It is the double that servers in use read; as an integer it would become 0."""
    value = strict_loads(around.format(zero).encode())["v"]
    value = value[-1] if isinstance(value, list) else value
    assert repr(value) == "-0.0" and b"-0.0" in render_request("f", {"v": value}, "1")
    request = f'{{"jsonrpc":"2.0","method":"f","id":{zero},"params":{around.format(zero)}}}'.encode()
    call = parse_request(request, JSON)
    assert b"-0.0" in render_request("f", call.params, "1") and call.id == "n:0"


def test_what_looks_like_a_negative_zero_stays() -> None:
    text = {"2024-0": "-0", "a": '\\"-0,', "b": ["x-0,", -0.5, -1, 0, '"', -0.0]}
    assert repr(strict_loads(json.dumps(text).encode())) == repr(text)
    with pytest.raises(NotJson):
        strict_loads(b'{"v":-0 0}')
    with pytest.raises(NotJson):
        strict_loads(b'{"v":-00,"w":-0}')


def test_an_integer_written_as_a_float_is_that_integer() -> None:
    assert network_id(7.0) == "n:7"


@pytest.mark.parametrize("foreign", ["nnn:7", "n:123456789012345678901234567890"])
def test_ids_that_are_not_ours_stay_as_they_are(foreign: str) -> None:
    assert caller_id(foreign) == foreign


# --- answers ---


def test_answers_have_the_recorded_order_of_keys() -> None:
    assert render_response(Response("n:7", {"a": 1})) == b'{"jsonrpc":"2.0","result":{"a":1},"id":7}'
    assert render_response(Response("1", None)) == b'{"jsonrpc":"2.0","result":null,"id":"1"}'
    expected = b'{"jsonrpc":"2.0","error":{"code":404,"message":"m","data":{"x":1}},"id":null}'
    assert render_response(Response("", error=Error(404, "m", {"x": 1}))) == expected


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, {"a": "\ud800"}, {"a": 2**70}])
def test_what_json_can_not_express_is_our_error(value: Any) -> None:
    with pytest.raises(InternalError):
        render_response(Response("1", value))


def answer(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "1", **members}).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (answer(result={"a": 1}), Response("1", {"a": 1})),
        (answer(result=None), Response("1", None)),
        (answer(result=[1]), Response("1", [1])),
        (answer(), Response("1", {})),
        (answer(result={}, error=None), Response("1", {})),
        (answer(error={"code": 404, "message": "m", "data": {"x": 1}}), Response("1", error=Error(404, "m", {"x": 1}))),
        (answer(error={"code": 1, "message": "m"}), Response("1", error=Error(1, "m", {}))),
        (answer(error={"code": 1}), Response("1", error=Error(1, "", {}))),
        (answer(error={"code": 1, "data": {"_": "text"}}), Response("1", error=Error(1, "", "text"))),
        (answer(error={"code": 1, "data": "text"}), Response("1", error=Error(1, "", "text"))),
        (answer(jsonrpc="2.0,", error={"code": 1}, id=None), Response("1", error=Error(1, "", {}))),
        (answer(error={"code": 1}, result={}), Response("1", error=Error(1, "", {}))),
    ],
)
def test_answers_that_peers_send(text: bytes, expected: Response) -> None:
    assert parse_response(text, "1", source="there") == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"<html>404 page not found</html>", "but 31 bytes of HTML: "),
        (b"", "but an empty body: this is not JSON"),
        (b" \r\n", "but 3 bytes of nothing but space: "),
        (b"\n <!DOCTYPE HTML><p>", "but 20 bytes of HTML: "),
        (b'<?xml version="1.0"?>', "but 21 bytes of XML: "),
        (b"secret", "but 6 bytes: "),
        (b"[]", "a list, not an object"),
        (answer(method="f", params={}), "it is a request"),
        (b'{"message":"not found"}', "it has neither result nor error"),
        (b'{"result":1}', "its id is absent or null, not '1'"),
        (answer(id="2", result={}), "its id is another text, not '1'"),
        (answer(id="2", error={"code": 1}), "its id is another text, not '1'"),
        (answer(id=1, error={"code": 1}), "its id is a number, not '1'"),
        (b'{"id": "1", "Result": {"a": 1}}', "not named in small letters"),
        (b'{"id": "1", "ERROR": {"code": 1}, "error": null}', "not named in small letters"),
        (answer(error="text"), "no 32-bit integer code"),
        (answer(error={"code": "1"}), "no 32-bit integer code"),
        (answer(error={"code": True}), "no 32-bit integer code"),
        (answer(error={"code": 2**31}), "no 32-bit integer code"),
        (answer(error={"code": 1, "message": 5}), "not a string"),
        (b" " * 200, "limit is 100"),
    ],
)
def test_bodies_that_answer_nothing_are_errors_not_empty_successes(text: bytes, why: str) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        parse_response(text, "1", source="http://there/x", max_bytes=100)
    assert why in caught.value.message
    assert caught.value.message.startswith("http://there/x answered HTTP 200")
    with pytest.raises(DeliveryError) as caught_404:
        parse_response(text, "1", source="http://there/x", status=404, max_bytes=100)
    assert caught_404.value.outcome == "failed"


def test_a_result_with_a_bad_status_is_no_success() -> None:
    with pytest.raises(DeliveryError, match="HTTP 503"):
        parse_response(answer(result={}), "1", source="there", status=503)


def test_another_reader_may_take_more() -> None:
    text = body(params={"a": 2**60})
    assert parse_request(text, JSON, load=lambda given, *, max_bytes: json.loads(given)).params == {"a": 2**60}

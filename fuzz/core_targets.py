"""Fuzz targets: the parsers of ``eps.core`` other than the ClientHello's."""

import json
from collections.abc import Hashable, Sequence
from typing import Any

from engine import Rnd, Target, mutate_value

from eps.core import brokering
from eps.core import jsonrpc_text as jsonrpc
from eps.core.address import parse_address
from eps.core.advice import Surroundings, doubtful, wrong
from eps.core.endpoint import relay_trust
from eps.core.entries import Directory
from eps.core.host_port import parse_host_port, render_host_port
from eps.core.instant import parse_instant
from eps.core.json_pieces import DeeperThan, parse_in_pieces
from eps.core.json_steps import count_values
from eps.core.message import CLIENT_KEY, Error, Request, Response
from eps.core.names import Object, Operator
from eps.core.record import parse_change_record, parse_signed_record
from eps.core.steps import exhaust
from eps.errors import AddressError, BadParams, BadRequest, DeliveryError, TooDeep, TooLarge, TunnelFailed
from eps.grpc.codec import encode_request
from support.vectors import load
from support.wire_messages import decode_request

JSON_TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"null", b"true", b"false", b"NaN", b"Infinity", b"-", b"1e400"),
    *(
        b"9007199254740993",
        b"-0.0",
        b"1e-400",
        b"\\ud800",
        b"\\u0000",
        b"\xed\xa0\x80",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\n",
    ),
    *(b'"jsonrpc": "2.0"', b'"id": 1', b'"id": null', b'"params": {}', b'"method": "a.b"', b"[" * 60, b'{"a":' * 40),
    *(b'"a": 1, "a": 2', b"12345678901234567890", b'"error": {"code": 1, "message": ""}', b'"result": {"_": 1}'),
)
WORDS = (
    *("name", "section", "data", "created_at", "hash", "parent_hash", "record", "signature", "r", "s", "c"),
    *("groups", "channels", "services", "certificates", "settings", "preferences", "records", "properties"),
    *(
        "type",
        "methods",
        "permissions",
        "rights",
        "group",
        "call",
        "parameters",
        "fingerprint",
        "key_usage",
        "operator",
    ),
    *("operator", "grpc_server", "address", "internal", "proxy", "internal_endpoints", "displayName", "client"),
    *(
        "entry",
        "token",
        "endpoint",
        "channel",
        "_",
        "2026-11-22T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "9999-12-31T23:59:60+23:59",
        None,
        1,
    ),
)


def texts(*words: str) -> list[bytes]:
    return [word.encode() for word in words]


def as_text(data: bytes) -> str:
    """Text as it comes out of protobuf or JSON: valid, whatever the bytes were."""
    return data.decode("utf-8", "replace")


# JSON-RPC


def http_bodies() -> list[bytes]:
    return [case["request"]["body"].encode() for case in load("jsonrpc_http.json") if case["request"].get("body")]


def values_in(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(values_in(item) for item in inner)


def run_count_values(body: bytes) -> Hashable:
    """What is counted is what the parser makes, to the last value."""
    count = values_in(jsonrpc.parse_json(body, len(body)))
    exhaust(count_values(body, count))
    if count == 1:
        return 1
    try:
        exhaust(count_values(body, count - 1))
    except TooLarge:
        return count
    raise AssertionError(f"{count} values, and not counted")


def run_strict_loads(body: bytes) -> Hashable:
    return type(jsonrpc.strict_loads(body))


def run_json_in_pieces(body: bytes) -> Hashable:
    """Wherever a text is cut, it says the same, or is refused as well."""
    try:
        whole = jsonrpc.parse_json(body, len(body))
    except TooDeep:
        return "deep"  # for that parser; pieces may be deeper
    except BadRequest:
        whole = BadRequest
    for piece in (1, 7, 50):
        try:
            found = parse_in_pieces(body, lambda part: jsonrpc.parse_json(part, len(part)), most=300, piece=piece)
        except (BadRequest, DeeperThan):
            found = BadRequest
        assert found == whole
    return type(whole)


def carried(params: Object) -> Object:
    """``params`` after a journey over gRPC."""
    request = Request(parse_address("a.b(c)"), params)
    sent = {key: value for key, value in params.items() if key != CLIENT_KEY}
    assert decode_request(encode_request(request, Operator("a"))).params == sent
    return sent


def run_request(body: bytes) -> Hashable:
    """What passes survives the network unchanged: «carried over gRPC without loss»."""
    request = jsonrpc.parse_request(body, "application/json", new_id=lambda: "fresh")
    carried(request.params)
    sent = json.loads(body).get("id")
    assert jsonrpc.caller_id(request.id) == ("fresh" if sent in (None, "") else sent)
    rendered = jsonrpc.render_request(request.method, request.params, request.id)
    assert jsonrpc.parse_request(rendered, "application/json").params == request.params
    return len(request.params), type(sent)


def answers() -> list[bytes]:
    bodies = [json.dumps(case["body"]).encode() for case in load("jsonrpc_http.json") if isinstance(case["body"], dict)]
    responses = [
        Response("1", {"a": [1]}),
        Response("1", error=Error(7, "no", {"_": 1})),
        Response("", error=Error(-100, "")),
    ]
    return bodies + [jsonrpc.render_response(response) for response in responses] + [b"<html>", b""]


def run_response(body: bytes) -> Hashable:
    response = jsonrpc.parse_response(body, "1", source="http://a", status=200)
    assert jsonrpc.parse_response(jsonrpc.render_response(response), "1", source="", status=200) is not None
    return response.error is None, type(response.result)


def mutate_json(rnd: Rnd, pool: Sequence[bytes]) -> bytes:
    """A change to the value, not to its spelling."""
    try:
        value = json.loads(pool[-1 - int(rnd() * len(pool))])
    except ValueError:
        value = {"jsonrpc": "2.0", "method": "a.b", "params": {"a": [1, {"b": None}]}, "id": "1"}
    for _ in range(1 << int(rnd() * 3)):
        value = mutate_value(rnd, value, (value,), WORDS)
    return json.dumps(value, ensure_ascii=rnd() < 0.5).encode("utf-8", "surrogatepass")


# Text


def addresses() -> list[bytes]:
    return texts(*(case["id"] for case in load("address.json")))


def run_address(data: bytes) -> Hashable:
    text = as_text(data)
    address = parse_address(text)
    assert str(address) == text
    assert parse_address(str(address)) == address
    return "." in address.operator, len(address.id) > 10


def run_host_port(data: bytes) -> Hashable:
    host, port = parse_host_port(as_text(data), 443 if len(data) % 2 else None)
    assert 0 <= port < 65536
    assert parse_host_port(render_host_port(host, port)) == (host, port)
    return ":" in host, bool(host)


def run_instant(data: bytes) -> Hashable:
    text = as_text(data)
    instant = parse_instant(text)
    assert parse_instant(instant.text).text == instant.text
    return len(instant.text)


# JSON values


def run_change_record(value: Any) -> Hashable:
    record = parse_change_record(value)
    again = parse_change_record(record.to_json())
    assert again == record and again.hash() == record.hash()
    around = Surroundings.of(Directory.from_records([record]))
    return record.section, len(wrong(record, value)), len([*doubtful(record, value, around)])


def run_signed_record(value: Any) -> Hashable:
    record = parse_signed_record(value)
    assert parse_signed_record(record.to_json()) == record
    record.record.hash()
    return record.record.section, record.is_root


def connection_requests() -> list[Any]:
    token = brokering.encode_token(brokering.Token(bytes(32)))
    client = {"name": "hd-1", "entry": {"name": "hd-1", "channels": [], "groups": None}}
    return [{"endpoint": "localhost:9999", "channel": "grpc_server", "token": token, "client": client}]


def run_connection_request(value: Any) -> Hashable:
    if not isinstance(value, dict):  # parse_request has made sure of that
        return None
    channel, endpoint, token = brokering.parse_connection_request(value)
    assert channel and endpoint and len(token) == brokering.TOKEN_BYTES
    return "accepted"


def run_offer(value: Any) -> Hashable:
    token, endpoint = brokering.parse_offer(value, "proxy")
    assert endpoint and len(token) == brokering.TOKEN_BYTES
    return "accepted"


def run_relay_trust(value: Any) -> Hashable:
    """Settings come from another operator: nothing in them may raise."""
    trust = relay_trust(value if isinstance(value, dict) else {"internal_endpoints": value}, [], "proxy:1")
    return trust.listed is None, len(trust.listed or ())


RECORDS = load("records.json")
TARGETS = [
    Target(
        "jsonrpc_strict_loads", run_strict_loads, http_bodies, (BadRequest,), tokens=JSON_TOKENS, mutate=mutate_json
    ),
    Target("json_in_pieces", run_json_in_pieces, http_bodies, (), tokens=JSON_TOKENS, mutate=mutate_json),
    Target("count_values", run_count_values, http_bodies, (BadRequest,), tokens=JSON_TOKENS, mutate=mutate_json),
    Target("jsonrpc_request", run_request, http_bodies, (BadRequest,), tokens=JSON_TOKENS, mutate=mutate_json),
    Target("jsonrpc_response", run_response, answers, (DeliveryError,), tokens=JSON_TOKENS, mutate=mutate_json),
    Target("address", run_address, addresses, (AddressError,), tokens=texts(".", "(", ")", "\n", "a.b(")),
    Target(
        "host_port",
        run_host_port,
        lambda: texts("localhost:1", "[::1]:65535", "[fe80::1%eth0]:1", ":80", "a", "192.0.2.1:0"),
        (BadParams,),
        tokens=texts(":", "[", "]", "%", "::", "0", "٣", "²", "65536", "_", " ", "\0"),
    ),
    Target(
        "instant",
        run_instant,
        lambda: texts("2026-11-22T14:00:00Z", "2026-11-22T14:00:00.123456789+01:00", "0001-01-01T00:00:00-23:59"),
        (ValueError,),
        tokens=texts("T", "Z", "+", "-", ".", ":", "0", "9999", "60", "24", "02-29", "٣"),
    ),
    Target(
        "change_record",
        run_change_record,
        lambda: [record["record"] for record in RECORDS],
        (BadParams,),
        values=True,
        tokens=WORDS,
    ),
    Target("signed_record", run_signed_record, lambda: RECORDS, (BadParams,), values=True, tokens=WORDS),
    Target("connection_request", run_connection_request, connection_requests, (BadParams,), values=True, tokens=WORDS),
    Target("offer", run_offer, connection_requests, (TunnelFailed,), values=True, tokens=WORDS),
    Target("relay_trust", run_relay_trust, lambda: [{"internal_endpoints": ["a:1"]}], (), values=True, tokens=WORDS),
]

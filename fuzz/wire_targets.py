"""Fuzz targets: what comes over gRPC, from datastores, settings files and HTTP proxies."""

import asyncio
import base64
import contextlib
import functools
import os
import socket
import tempfile
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core_targets import JSON_TOKENS, as_text, http_bodies, mutate_json, texts
from engine import Rnd, Target
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from h2.connection import H2Connection
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from eps.core import free_form
from eps.core.address import parse_address
from eps.core.limits import WIRE_NESTING
from eps.core.message import CLIENT_KEY, Error, Request, Response
from eps.core.names import Object, Operator
from eps.datastores import DataEntry, decode_entry, encode_entry
from eps.errors import BadRequest, TooDeep, TooLarge, Unreachable
from eps.grpc import eps_pb2 as pb
from eps.grpc import struct_decoder
from eps.grpc.codec import decode_response, encode_request, encode_response
from eps.grpc.framing import Assembler, FramingError, Status, frame, read_status, read_timeout
from eps.grpc.guard import PREFACE, FrameGuard, GoAway, GuardLimits, Violation
from eps.grpc.struct_encoder import encode_struct
from eps.settings import read_program
from eps.settings.models import EpsSettings, ProxySettings, SdSettings
from eps.settings.node import plain
from eps.settings.text import TextError, parse_text
from eps.transport import dial
from support.vectors import load
from support.wire_messages import decode_request

SETTINGS = Path(__file__).resolve().parent.parent / "settings"


def in_two(data: bytes) -> tuple[bytes, bytes]:
    """``data`` cut somewhere that depends on nothing but ``data``."""
    middle = (sum(data[:16]) * 7 + len(data)) % (len(data) + 1)
    return data[:middle], data[middle:]


# gRPC messages


def request_messages() -> list[bytes]:
    params = {"a": [1, 2.5, None, True, {"b": "ß"}], "c": {"d": []}}
    request = Request(parse_address("hd-2._ping(1)"), params)
    return [encode_request(request, Operator("hd-1")).SerializeToString(), b""]


def run_decode_request(data: bytes) -> Hashable:
    message = pb.Request.FromString(data)
    request = decode_request(message)
    # What arrived can be sent on, unless it is deeper than we send.
    try:
        sent = encode_request(request, Operator("a"))
    except (TooDeep, TooLarge):
        return "deep"
    again = decode_request(sent)
    assert again.address == request.address
    assert again.params == {key: value for key, value in request.params.items() if key != CLIENT_KEY}
    return len(request.params)


def response_messages() -> list[bytes]:
    answers = [Response("1", {"a": [1]}), Response("1", 7), Response("1", error=Error(404, "no", {"stage": "call"}))]
    return [encode_response(answer, "1").SerializeToString() for answer in answers]


def run_decode_response(data: bytes) -> Hashable:
    response = decode_response(pb.Response.FromString(data), "1")
    try:
        encode_response(response, "1")
    except (TooDeep, TooLarge):
        return "deep"
    return response.error is None, type(response.result)


def structs_of_all_kinds() -> list[bytes]:
    """Structs, some with fields that struct.proto does not have, which protobuf keeps, and some deep ones."""
    value = {"a": {"b": {"c": [1, {"d": None}], "e": "text" * 20}}, "": {"_": True}, "ß": {}}
    plain = encode_struct(value)
    inner = b"\x2a" + bytes([len(plain)]) + plain + b"\x7a\x01x"
    entry = b"\x0a\x01k\x12" + bytes([len(inner)]) + inner + b"\x7a\x01x"
    deep: Any = 1
    for level in range(WIRE_NESTING - 1):
        deep = {"a": deep} if level % 3 else [deep]
    odd = [b"\x7a\x01x" + plain, plain + b"\x78\x01", b"\x0a" + bytes([len(entry)]) + entry]
    return [plain, *odd, encode_struct({"x": deep})]


def run_struct(data: bytes) -> Hashable:
    """Our codec reads what protobuf reads, and deeper; what it remembers changes nothing; what it read can be sent."""
    memory = struct_decoder.Memory(200)
    with quick_for_small_objects():
        ours = _value_or_error(lambda: struct_decoder.decode_struct(data, "params", memory))
        again = _value_or_error(lambda: struct_decoder.decode_struct(data, "params", memory))
    assert ours == again
    try:
        message = Struct.FromString(data)
    except DecodeError:
        assert ours in (BadRequest, TooDeep) or free_form.levels(ours) > PROTOBUFS_OBJECTS
    else:
        theirs = _value_or_error(lambda: struct_decoder._fields(message, ""))
        assert ours == theirs
    if not isinstance(ours, dict):
        return ours
    assert struct_decoder.decode_struct(encode_struct(ours)) == ours
    return len(ours)


PROTOBUFS_OBJECTS = 33
"""Its parsers go no deeper."""


@contextlib.contextmanager
def quick_for_small_objects() -> Iterator[None]:
    """Small inputs say more per second; what is remembered is meant to be large."""
    usual = struct_decoder.WORTH_REMEMBERING
    struct_decoder.WORTH_REMEMBERING = range(2, 4096)
    try:
        yield
    finally:
        struct_decoder.WORTH_REMEMBERING = usual


def _value_or_error(decode: Callable[[], Object]) -> Object | type[BadRequest]:
    try:
        return decode()
    except BadRequest as error:
        return type(error)


# gRPC frames


def run_assembler(data: bytes) -> Hashable:
    whole = Assembler()
    try:
        messages = whole.feed(data)
    except FramingError:
        split = Assembler()
        with contextlib.suppress(FramingError):
            for piece in in_two(data):
                split.feed(piece)
            raise AssertionError("accepted in two pieces") from None
        raise
    split = Assembler()
    assert [message for piece in in_two(data) for message in split.feed(piece)] == messages
    assert split.partial == whole.partial and split.missing == whole.missing
    assert data.startswith(b"".join(map(frame, messages)))
    return len(messages).bit_length(), whole.partial


def run_grpc_status(data: bytes) -> Hashable:
    number, _, text = as_text(data).partition(" ")
    line = read_status({"grpc-status": number, "grpc-message": text})
    assert isinstance(line.status, Status)
    return line.status


def run_grpc_timeout(data: bytes) -> Hashable:
    assert read_timeout(as_text(data)) >= 0
    return "accepted"


def h2_flights() -> list[bytes]:
    """What a client sends: a preface, and frames of every kind."""
    client = H2Connection()
    client.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/EPS/Call"),
        (":authority", "hd-2"),
        ("te", "trailers"),
    ]
    client.send_headers(1, headers)
    client.send_data(1, frame(b"message"), end_stream=True)
    flight = client.data_to_send()
    frames = [
        DataFrame(1, b"data"),
        DataFrame(1, b""),
        GoAwayFrame(0, last_stream_id=3, error_code=0, additional_data=b"bye"),
        HeadersFrame(3, b"\x82"),
        PingFrame(0, b"12345678"),
        RstStreamFrame(1, 8),
        SettingsFrame(0, {4: 65535}),
    ]
    return [
        flight,
        *(PREFACE + one.serialize() for one in frames),
        PREFACE + b"".join(one.serialize() for one in frames),
    ]


LIMITS = GuardLimits(
    resets=3, pings=3, settings=3, priorities=3, empty_data=3, fragments=30, window_updates=3, unknown=3
)


def guarded(pieces: Sequence[bytes]) -> list[bytes | GoAway]:
    guard = FrameGuard(server=True, clock=lambda: 1.0, limits=LIMITS)
    return [out for piece in pieces for out in guard.feed(piece)]


def run_guard(data: bytes) -> Hashable:
    """What comes out is what went in, without GOAWAYs and without the last, incomplete frame."""
    try:
        pieces = guarded([data])
    except Violation:
        with contextlib.suppress(Violation):
            guarded(in_two(data))
            raise AssertionError("accepted in two pieces") from None
        raise
    split = guarded(in_two(data))
    passed = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    assert passed == b"".join(piece for piece in split if isinstance(piece, bytes))
    leaving = [piece for piece in pieces if isinstance(piece, GoAway)]
    assert leaving == [piece for piece in split if isinstance(piece, GoAway)]
    assert len(passed) + 17 * len(leaving) <= len(data)
    assert leaving or data.startswith(passed)
    return len(passed).bit_length(), len(leaving)


def frames_mutate(rnd: Rnd, pool: Sequence[bytes]) -> bytes:
    """Frames with right lengths, of any kind."""
    parts = [PREFACE] if rnd() < 0.95 else []
    for _ in range(1 + int(rnd() * 8)):
        length = int(rnd() * (1 << int(rnd() * 8)))
        kind, flags, stream = int(rnd() * 11), int(rnd() * 256), int(rnd() * 5)
        body = bytes(int(rnd() * 256) for _ in range(length))
        parts.append(length.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body)
    return b"".join(parts)


# Datastores


def data_entries() -> list[bytes]:
    return [base64.b64decode(case["encoded_base64"]) for case in load("data_entry.json")] + [b"", b"\1\1\0\0"]


def run_decode_entry(data: bytes) -> Hashable:
    entry = decode_entry(data)
    assert encode_entry(entry) == data
    return len(entry.id).bit_length(), bool(entry.data)


def run_encode_entry(data: bytes) -> Hashable:
    entry = DataEntry(sum(data[:2]), data[2:34], data[34:])
    assert decode_entry(encode_entry(entry)) == entry
    return entry.type.bit_length()


# Settings


def settings_files() -> list[bytes]:
    files = [path for path in sorted(SETTINGS.rglob("*")) if path.suffix in (".yml", ".yaml", ".json")]
    return [path.read_bytes() for path in files if path.stat().st_size < 4096 and path.is_file()] + [b""]


WHOLE = (
    """name: hd-1
directory: {type: json, settings: {path: x.json}}
channels:
- {name: out, type: stdout, settings: {}}
- name: in
  type: jsonrpc_server
  settings:
    bind_address: localhost:5555
    cors: {allowed_hosts: [example], allowed_headers: [a], allowed_methods: [POST]}
    tcp_rate_limits: [{type: second, limit: 5}]
- {name: back, type: jsonrpc_client, settings: {endpoint: "http://localhost:6666/jsonrpc"}}
metrics: {bind_address: "localhost:1"}
""",
    """vars: {PORT: {source: literal, type: int, value: 3322}, HOME: {source: env, type: string, variable: HOME}}
jsonrpc_server: {bind_address: "localhost:$PORT"}
directory:
  datastore: {type: sqlite, settings: {path: "$HOME/a.db"}}
  ca_certificate_files: ["/$DIR/x.yml"]
  "ca_intermediate_certificate_files!": []
""",
    """public:
  name: p
  datastore: {type: sqlite, settings: {}}
  jsonrpc_client: {endpoint: "http://localhost:1/jsonrpc"}
  jsonrpc_server: {bind_address: "localhost:2"}
more: {$include: x.yml, $ref: public.jsonrpc_server}
""",
)
"""Settings of each program that are in order."""

YAML_TOKENS = (
    *texts("vars:", "$include: x.yml", "$ref: a.b.0", "$DIR", "$PATH", "$$", "$NAME", "source: env", "source: literal"),
    *texts(
        "source: prompt", "type: int", "value: 1", "&a", "*a", "<<: *a", "!!python/object:os.system", "---", "...", "|"
    ),
    *texts(
        "- ", "  ", "? ", ": ", "\n", "\t", "'", '"', "# ", "{", "}", "[", "]", "channels!:", "null", "~", ".nan", "1e9"
    ),
    *texts("2026-11-22", "2026-99-99", "0x", "0b", "1:60", "!!binary x", "!!timestamp x", "!!int x", '"\\UFFFFFFFF"'),
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
)


def run_yaml(data: bytes) -> Hashable:
    return _run_text(data, "x.yml")


def run_json(data: bytes) -> Hashable:
    return _run_text(data, "x.json")


def _run_text(data: bytes, file: str) -> Hashable:
    node = parse_text(as_text(data), file)
    plain(node)
    return node.size.bit_length(), node.depth


@functools.cache
def _folder() -> Path:
    """A folder of this process's own, with a file to include."""
    folder = Path(tempfile.mkdtemp(prefix="eps-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    (folder / "x.yml").write_text("name: included\nchannels: [{name: a, type: stdout}]\n")
    (folder / "x.json").write_text('{"records": []}')
    return folder


def run_settings(data: bytes) -> Hashable:
    """Whatever a file holds becomes settings or problems, each of which can be shown."""
    folder = _folder()
    file = folder / "settings.yml"
    file.write_bytes(data)
    outcomes = []
    for name, model in (("eps", EpsSettings), ("sd", SdSettings), ("proxy", ProxySettings)):
        environment = {f"{name.upper()}_SETTINGS": "settings.yml", "HOME": "/nowhere"}
        reading = read_program(name, model, environment, folder, lambda name, hidden: "7")
        for problem in reading.problems:
            str(problem).encode()
        outcomes.append("good" if reading.settings is not None else reading.problems[0].text[:12])
    return tuple(outcomes)


# HTTP proxies


@contextlib.contextmanager
def socket_with(data: bytes) -> Iterator[socket.socket]:
    """A socket on which ``data`` has come, and the end of the stream."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                theirs.sendall(data)
        ours.setblocking(False)
        yield ours


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def run_http_connect(data: bytes) -> Hashable:
    """A proxy's answer is read to its empty line and not one byte further; only 2xx means connected."""
    data = data[: 64 * 1024]
    with socket_with(data) as sock:
        header = _loop().run_until_complete(dial.read_header(sock))
        rest = sock.recv(1 << 20)
    assert header.endswith(b"\r\n\r\n") and header.count(b"\r\n\r\n") == 1 and header + rest == data
    dial._check_connected(header, "hd-2 at a:1", "proxy:3128")
    status = header.split(b"\r\n", 1)[0].split(b" ")
    assert status[0] in (b"HTTP/1.0", b"HTTP/1.1") and len(status) > 1 and status[1].startswith(b"2")
    return "connected"


ANSWERS = (
    b"HTTP/1.1 200 Connection established\r\n\r\n",
    b"HTTP/1.0 200\r\nVia: x\r\n\r\nrest of the stream",
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
    b"SSH-2.0\r\n",
)
HTTP_TOKENS = texts(
    "HTTP/1.1", "HTTP/1.0", "HTTP/2", " ", "\r\n", "\r\n\r\n", "\n\n", "\r", "\n", "200", "2²0", "299", "٣"
)

TARGETS = [
    Target(
        "grpc_request",
        run_decode_request,
        request_messages,
        (DecodeError, BadRequest),
        tokens=(
            b"\x12\x0a\x0a\x08\x0a\x01a\x12\x03\x2a\x01\x0a",
            b"\x09\0\0\0\0\0\0\xf8\x7f",
            b"hd-2._ping",
            b"\xff\xfe",
        ),
    ),
    Target(
        "grpc_struct",
        run_struct,
        structs_of_all_kinds,
        (),
        tokens=(b"\x0a\x06\x0a\x01a\x12\x01\x20", b"\x2a\x00", b"\x32\x00", b"\x7a\x01x", b"\x0a\x00", b"\x12\x00"),
    ),
    Target("grpc_response", run_decode_response, response_messages, (DecodeError, BadRequest)),
    Target(
        "grpc_assembler",
        run_assembler,
        lambda: [frame(b"abc") + frame(b"") + frame(bytes(100)), frame(bytes(3000)) + b"\0\0", b""],
        (FramingError,),
        tokens=(b"\0\0\0\0\0", b"\1\0\0\0\0", b"\0\0\x40\0\0", b"\0\0\x40\0\1"),
    ),
    Target(
        "grpc_status", run_grpc_status, lambda: texts("0", "13 went%20wrong", "999", "² %", "٣"), tokens=texts("%", "0")
    ),
    Target(
        "grpc_timeout",
        run_grpc_timeout,
        lambda: texts("10S", "1m", "99999999H"),
        (FramingError,),
        tokens=texts("٣", "H"),
    ),
    Target("grpc_guard", run_guard, h2_flights, (Violation,), mutate=frames_mutate),
    Target("datastore_decode", run_decode_entry, data_entries, (ValueError,)),
    Target("datastore_encode", run_encode_entry, data_entries, (ValueError,)),
    Target("settings_yaml", run_yaml, settings_files, (TextError,), tokens=YAML_TOKENS),
    Target("settings_json", run_json, http_bodies, (TextError,), tokens=JSON_TOKENS, mutate=mutate_json),
    Target("settings_load", run_settings, lambda: [*settings_files(), *texts(*WHOLE)], tokens=YAML_TOKENS, cost=2.0),
    Target("http_connect", run_http_connect, lambda: ANSWERS, (OSError, Unreachable), tokens=HTTP_TOKENS),
]

"""Frames that RFC 9113 forbids, against a gRPC port: the cases that conformance suites try, one connection for each."""

import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest
from hyperframe.frame import HeadersFrame

from eps.grpc import eps_pb2 as pb
from eps.transport.tls import PeerIdentity
from support.grpc_rig import Raw, echo, ping, prefixed, rig, soon

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 1, 1, 4, 8, 32

LAST = b"the last"
"""Of a ping."""

Bytes = Callable[[Raw], bytes]


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def block(raw: Raw, changes: dict[str, str | None] | None = None, more: list[tuple[str, str]] | None = None) -> bytes:
    """A request's compressed headers; ``changes`` replaces some, or with None takes them out."""
    headers = {**dict(raw.request_headers()), **(changes or {})}
    kept = [(name, value) for name, value in headers.items() if value is not None]
    return bytes(raw.h2.encoder.encode([*kept, *(more or [])]))


def opened(raw: Raw, *, flags: int = END_HEADERS, stream: int = 1) -> bytes:
    return frame(HEADERS, block(raw), flags=flags, stream=stream)


def ended(raw: Raw) -> bytes:
    """A stream that the client has ended."""
    return opened(raw) + frame(DATA, prefixed(ping().SerializeToString()), flags=END_STREAM, stream=1)


def setting(key: int, value: int) -> bytes:
    return frame(SETTINGS, key.to_bytes(2, "big") + value.to_bytes(4, "big"))


CONNECTION: dict[str, Bytes] = {
    # 4.2, 4.3: sizes, and what compresses headers
    "a frame over 16 KiB": lambda raw: opened(raw) + frame(DATA, bytes(16_385), stream=1),
    "headers over 16 KiB": lambda raw: frame(HEADERS, bytes(16_385), flags=END_HEADERS, stream=1),
    "headers that can't be unpacked": lambda raw: frame(HEADERS, b"\xff" * 20, flags=END_HEADERS, stream=1),
    "an index that no table has": lambda raw: frame(HEADERS, b"\xbf\xff\xff\x0f", flags=END_HEADERS, stream=1),
    "an index of 0": lambda raw: frame(HEADERS, b"\x80", flags=END_HEADERS, stream=1),
    "a table over its limit": lambda raw: frame(HEADERS, b"\x3f\xe1\xff\x07" + block(raw), flags=END_HEADERS, stream=1),
    # 5.1: states of streams
    "DATA on an idle stream": lambda raw: frame(DATA, b"x", stream=1),
    "RST_STREAM on an idle stream": lambda raw: frame(RST_STREAM, bytes(4), stream=1),
    "WINDOW_UPDATE on an idle stream": lambda raw: frame(WINDOW_UPDATE, b"\0\0\0\1", stream=1),
    "CONTINUATION on an idle stream": lambda raw: frame(CONTINUATION, b"", flags=END_HEADERS, stream=1),
    "an even stream": lambda raw: opened(raw, stream=2),
    "a stream below the last one": lambda raw: opened(raw, stream=5) + opened(raw, stream=3),
    # 6.1 to 6.10: each kind of frame
    "DATA on stream 0": lambda raw: frame(DATA, b"x"),
    "DATA whose padding is longer": lambda raw: opened(raw) + frame(DATA, b"\x09xx", flags=PADDED, stream=1),
    "HEADERS on stream 0": lambda raw: opened(raw, stream=0),
    "HEADERS whose padding is longer": lambda raw: frame(
        HEADERS, b"\xff" + block(raw), flags=END_HEADERS | PADDED, stream=1
    ),
    "PRIORITY on stream 0": lambda raw: frame(PRIORITY, bytes(5)),
    "RST_STREAM on stream 0": lambda raw: frame(RST_STREAM, bytes(4)),
    "RST_STREAM of 3 bytes": lambda raw: opened(raw) + frame(RST_STREAM, bytes(3), stream=1),
    "SETTINGS on a stream": lambda raw: frame(SETTINGS, b"", stream=1),
    "SETTINGS of 3 bytes": lambda raw: frame(SETTINGS, bytes(3)),
    "SETTINGS that acknowledge and say more": lambda raw: frame(SETTINGS, bytes(6), flags=ACK),
    "SETTINGS: push is 2": lambda raw: setting(2, 2),
    "SETTINGS: a window over 2^31": lambda raw: setting(4, 2**31),
    "SETTINGS: frames under 16 KiB": lambda raw: setting(5, 16_383),
    "SETTINGS: frames over 16 MiB": lambda raw: setting(5, 2**24),
    "PUSH_PROMISE from a client": lambda raw: (
        opened(raw) + frame(PUSH_PROMISE, bytes((0, 0, 0, 2)) + block(raw), flags=END_HEADERS, stream=1)
    ),
    "PING on a stream": lambda raw: frame(PING, bytes(8), stream=1),
    "PING of 6 bytes": lambda raw: frame(PING, bytes(6)),
    "GOAWAY on a stream": lambda raw: frame(GOAWAY, bytes(8), stream=1),
    "GOAWAY of 4 bytes": lambda raw: frame(GOAWAY, bytes(4)),
    "WINDOW_UPDATE of 3 bytes": lambda raw: frame(WINDOW_UPDATE, bytes(3)),
    "WINDOW_UPDATE by 0": lambda raw: frame(WINDOW_UPDATE, bytes(4)),
    "WINDOW_UPDATE beyond 2^31": lambda raw: frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff") * 2,
    "another frame amid headers": lambda raw: opened(raw, flags=0) + frame(DATA, b"x", stream=1),
    "an unknown frame amid headers": lambda raw: opened(raw, flags=0) + frame(0x16, b"x", stream=1),
    "another stream's headers amid headers": lambda raw: opened(raw, flags=0) + opened(raw, stream=3),
    "CONTINUATION of another stream": lambda raw: (
        opened(raw, flags=0) + frame(CONTINUATION, b"", flags=END_HEADERS, stream=3)
    ),
    "CONTINUATION behind the end": lambda raw: opened(raw) + frame(CONTINUATION, b"", flags=END_HEADERS, stream=1),
    "CONTINUATION on stream 0": lambda raw: frame(CONTINUATION, b"", flags=END_HEADERS),
}
"""What ends the connection, by the clause of RFC 9113 that is broken."""

STREAM: dict[str, Bytes] = {
    # 5.1, 6.9: may end the stream or the connection
    "DATA behind the end": lambda raw: ended(raw) + frame(DATA, b"x", stream=1),
    "HEADERS behind the end": lambda raw: ended(raw) + opened(raw),
    "DATA behind RST_STREAM": lambda raw: (
        opened(raw) + frame(RST_STREAM, bytes(4), stream=1) + frame(DATA, b"x", stream=1)
    ),
    "PRIORITY of 4 bytes": lambda raw: opened(raw) + frame(PRIORITY, bytes(4), stream=1),
    "a stream that depends on itself": lambda raw: opened(raw) + frame(PRIORITY, b"\0\0\0\1\0", stream=1),
    "WINDOW_UPDATE of a stream by 0": lambda raw: opened(raw) + frame(WINDOW_UPDATE, bytes(4), stream=1),
    "WINDOW_UPDATE of a stream beyond 2^31": lambda raw: (
        opened(raw) + frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff", stream=1) * 2
    ),
    # 8.2, 8.3: requests
    "a name in capitals": lambda raw: frame(HEADERS, block(raw, more=[("X-Capital", "1")]), flags=5, stream=1),
    "a field of one connection": lambda raw: frame(HEADERS, block(raw, more=[("connection", "x")]), flags=5, stream=1),
    "te that is not trailers": lambda raw: frame(HEADERS, block(raw, {"te": "gzip"}), flags=5, stream=1),
    "an unknown pseudo-header": lambda raw: frame(HEADERS, block(raw, {":extra": "1"}), flags=5, stream=1),
    "an answer's pseudo-header": lambda raw: frame(HEADERS, block(raw, {":status": "200"}), flags=5, stream=1),
    "a pseudo-header behind others": lambda raw: frame(
        HEADERS, block(raw, {":path": None}, [(":path", "/EPS/Call")]), flags=5, stream=1
    ),
    "no :method": lambda raw: frame(HEADERS, block(raw, {":method": None}), flags=5, stream=1),
    "no :scheme": lambda raw: frame(HEADERS, block(raw, {":scheme": None}), flags=5, stream=1),
    "no :path": lambda raw: frame(HEADERS, block(raw, {":path": None}), flags=5, stream=1),
    "an empty :path": lambda raw: frame(HEADERS, block(raw, {":path": ""}), flags=5, stream=1),
    ":path twice": lambda raw: frame(HEADERS, block(raw, more=[(":path", "/EPS/Call")]), flags=5, stream=1),
    "trailers with a pseudo-header": lambda raw: (
        opened(raw) + frame(HEADERS, block(raw), flags=END_HEADERS | END_STREAM, stream=1)
    ),
    "trailers that end nothing": lambda raw: (
        opened(raw) + frame(HEADERS, raw.h2.encoder.encode([("x", "1")]), flags=END_HEADERS, stream=1)
    ),
    "a length that doesn't fit": lambda raw: (
        frame(HEADERS, block(raw, {"content-length": "1"}), flags=END_HEADERS, stream=1)
        + frame(DATA, prefixed(ping().SerializeToString()), flags=END_STREAM, stream=1)
    ),
}
"""What must not be served: the stream ends, or the connection does."""


@pytest.mark.parametrize("case", CONNECTION)
async def test_what_rfc_9113_forbids_ends_the_connection(case: str) -> None:
    async with rig() as it:
        raw = await (await it.raw_client()).start()
        await raw.flush(CONNECTION[case](raw))
        frames = await raw.rest()
        assert not [sent for sent in frames if isinstance(sent, HeadersFrame)], "it was answered"
        await raw.close()
        await (await it.connect()).call(ping(), 5)


@pytest.mark.parametrize("case", STREAM)
async def test_what_rfc_9113_forbids_ends_the_stream(case: str) -> None:
    """Whether the stream ends or the connection, nothing that is forbidden is a call; and the next client's call is."""
    calls: list[pb.Request] = []

    async def count(peer: PeerIdentity, request: pb.Request) -> pb.Response:
        calls.append(request)
        return await echo(peer, request)

    async with rig(count) as it:
        raw = await (await it.raw_client()).start()
        await raw.flush(STREAM[case](raw) + frame(PING, LAST))
        await pinged_or_ended(raw)
        await raw.close()
        assert len(calls) <= ("behind the end" in case)  # there the call itself was whole
        calls.clear()
        await (await it.connect()).call(ping(), 5)
        assert len(calls) == 1


async def pinged_or_ended(raw: Raw) -> None:
    """Everything before our ping has been looked at when it is answered."""
    received = bytearray()
    with suppress(ConnectionError, ssl.SSLError):
        while LAST not in received and (data := await soon(raw.reader.read(65536))):
            received += data

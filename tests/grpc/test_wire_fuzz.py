"""Both sides of the wire against frames of any kind, order and content: a connection may end, nothing else happens."""

import asyncio
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from eps.core.names import Operator
from eps.errors import EpsError
from eps.grpc import eps_pb2 as pb
from eps.grpc.accepted import Accepted, ServerLimits, Serving
from eps.grpc.admission import PeerMemory
from eps.grpc.connection import ClientConnection
from eps.grpc.dialled import Dialled
from eps.grpc.guard import PREFACE
from eps.grpc.link import WireLimits
from eps.grpc.server import ServerStream
from eps.grpc.service import SpokenName
from eps.transport.arrivals import Arrivals
from eps.transport.tls import PeerIdentity
from support.grpc_rig import Raw, echo, ping, pins, prefixed
from support.testing import Events, certificates


@cache
def leaf() -> bytes:
    """hd-1's certificate, DER."""
    return load_pem_x509_certificate(certificates().issued("hd-1").cert_pem).public_bytes(Encoding.DER)


class Shown:
    """What TLS says of hd-1, without TLS."""

    def getpeercert(self, *, binary_form: bool) -> bytes:
        assert binary_form
        return leaf()

    def selected_alpn_protocol(self) -> str:
        return "h2"


class Pipe(asyncio.Transport):
    """A transport that swallows everything; at its other end is hd-1."""

    def __init__(self) -> None:
        super().__init__(extra={"ssl_object": Shown()})
        self.written = bytearray()
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.ended = True

    abort = close


def block(*, server: bool, path: str = "/EPS/Call") -> bytes:
    """A legal header block with no reference to what came before."""
    connection = H2Connection(H2Configuration(client_side=server))
    connection.encoder.header_table_size = 0
    if not server:
        return connection.encoder.encode([(":status", "200"), ("content-type", "application/grpc")])[1:]
    headers = Raw.request_headers(None, path)  # type: ignore[arg-type]  # needs no instance
    return connection.encoder.encode(headers)[1:]  # the first byte announces the smaller table


settings_values = st.dictionaries(st.integers(1, 9), st.sampled_from([0, 1, 70_000]), max_size=3)
ids = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 7, 2**31 - 1])
flags = st.lists(st.sampled_from(["END_STREAM", "END_HEADERS"]), max_size=2)
good = prefixed(ping().SerializeToString())
long = b"\0\0\1\x86\xa0"  # announces 100,000 bytes
payloads = st.sampled_from([b"", long, b"x" * 16_000, good, good[:3], good[3:], b"\xff" * 9, good * 3])


def made(kind: type[Frame], *strategies: Any, **named: Any) -> st.SearchStrategy[bytes]:
    return st.builds(lambda *a, **k: _serialize(kind, *a, **k), *strategies, **named)


odd = st.sampled_from([1, 1, 3, 3, 5, 7])
ack = st.sampled_from([[], ["ACK"]])
benign = st.one_of(
    made(DataFrame, odd, payloads, flags=st.sampled_from([[], [], ["END_STREAM"]])),
    made(DataFrame, odd, payloads, flags=st.sampled_from([[], [], ["END_STREAM"]])),
    made(RstStreamFrame, odd, error_code=st.integers(0, 20)),
    made(WindowUpdateFrame, st.sampled_from([0, 1, 3]), window_increment=st.sampled_from([1, 65_535])),
    made(SettingsFrame, st.just(0), settings=st.sampled_from([{}, {4: 0}, {4: 70_000}, {3: 0}, {1: 70_000}])),
    made(PingFrame, st.just(0), st.just(b"last one"), flags=ack),
    made(GoAwayFrame, st.just(0), last_stream_id=ids, error_code=st.integers(0, 20)),
)


def frames(block: bytes) -> st.SearchStrategy[list[bytes]]:
    """Mostly what a peer may send, then mostly what it may not."""
    headers = st.just(block) | st.binary(max_size=20)
    ends = st.sampled_from([["END_HEADERS"], ["END_HEADERS", "END_STREAM"], []])
    frame = st.builds(_frame, st.integers(0, 255), st.binary(max_size=12))
    any_frame = st.one_of(
        benign,
        made(DataFrame, ids, payloads, flags=flags),
        made(HeadersFrame, ids, headers, flags=ends),
        made(ContinuationFrame, ids, headers, flags=flags),
        made(WindowUpdateFrame, ids, window_increment=st.sampled_from([1, 2**31 - 1])),
        made(SettingsFrame, st.just(0), settings=settings_values),
        made(PriorityFrame, ids, depends_on=ids, stream_weight=st.integers(0, 255)),
        made(PushPromiseFrame, ids, st.just(2), headers, flags=flags),
        st.binary(max_size=30),
        frame,
    )
    legal = st.one_of(benign, benign, benign, made(HeadersFrame, odd, st.just(block), flags=ends))
    return st.builds(list.__add__, st.lists(legal, max_size=20), st.lists(any_frame, max_size=4))


def _frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 1]) + payload


def _serialize(kind: type[Frame], *arguments: Any, **named: Any) -> bytes:
    try:
        return bytes(kind(*arguments, **named).serialize())
    except Exception:  # hyperframe itself refuses to build it
        return b""


def opening() -> list[bytes]:
    """A client's first words: a call on stream 1, a ServerCall on 3."""
    call, stream = block(server=True), block(server=True, path="/EPS/ServerCall")
    opened = [HeadersFrame(1, call, flags=["END_HEADERS"]), HeadersFrame(3, stream, flags=["END_HEADERS"])]
    return [PREFACE, *(frame.serialize() for frame in [SettingsFrame(0), *opened])]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
    while (answer := await stream.recv()) is not None:
        await stream.send(pb.Request(id=answer.id))


async def serve(pieces: list[bytes], *, prefaced: bool) -> None:
    events = Events()
    memory = PeerMemory()
    accepted = Accepted(
        Serving(pins(), echo, on_stream, events, lambda _: memory, ServerLimits()),
        "fuzz",
        Arrivals().enter("fuzz", int),
    )
    wire, link = accepted.wire, accepted.link
    link.connection_made(Pipe())
    for piece in (opening() if prefaced else []) + pieces:
        link.data_received(piece)
        await asyncio.sleep(0)
    await settle()
    assert "does not allow" not in link.reason, link.reason
    link.connection_lost(None)
    await settle()
    assert not accepted.tasks
    assert not wire.streams
    assert (memory.streams, memory.outgoing, memory.handled.taken) == (0, 0, 0)
    assert wire.admission.taken == 0
    assert not any("failed here" in event.message() for event in events.all)


async def dial(pieces: list[bytes]) -> None:
    dialled = Dialled(Operator("hd-1"), pins(), WireLimits())
    wire, link = dialled.wire, dialled.wire.link
    link.connection_made(Pipe())
    link.data_received(SettingsFrame(0).serialize())
    connection = ClientConnection(dialled, Operator("hd-1"), SpokenName())

    async def stream() -> None:
        async with connection.open_stream() as held:
            while await held.recv() is not None:
                await held.send(pb.Response(id="1"))

    work = [asyncio.create_task(connection.call(ping(), 5)) for _ in range(2)] + [asyncio.create_task(stream())]
    await asyncio.sleep(0)
    for piece in pieces:
        link.data_received(piece)
        await asyncio.sleep(0)
    await settle()
    assert "does not allow" not in link.reason, link.reason
    link.connection_lost(None)
    for result in await asyncio.gather(*work, return_exceptions=True):
        assert result is None or isinstance(result, pb.Response | EpsError), result
    assert not wire.streams
    assert wire.admission.taken == 0


@pytest.mark.parametrize("prefaced", [True, False])
def test_a_server_survives_every_client(prefaced: bool) -> None:
    @settings(max_examples=400 if prefaced else 50, deadline=None)
    @given(frames(block(server=True)))
    def survive(pieces: list[bytes]) -> None:
        asyncio.run(serve(pieces, prefaced=prefaced))

    survive()


@settings(max_examples=400, deadline=None)
@given(frames(block(server=False)))
def test_a_client_survives_every_server(pieces: list[bytes]) -> None:
    asyncio.run(dial(pieces))

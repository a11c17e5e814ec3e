"""Two ends of a gRPC connection for tests: ours on both sides, or ours against a raw HTTP/2 peer on h2 alone."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame

from eps.core.names import Operator
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.grpc.link import WireLimits
from eps.grpc.server import ServerEndpoint, ServerLimits, ServerStream
from eps.grpc.service import SpokenName
from eps.grpc.struct_encoder import encode_struct
from eps.transport.tls import PeerIdentity, Pins, client_context, server_context
from support.testing import Events, certificates, socket_pair, tls_files

HD_1, HD_2 = Operator("hd-1"), Operator("hd-2")
E = TypeVar("E", bound=h2.events.Event)
T = TypeVar("T")


def pins() -> Pins:
    return certificates().pins("hd-1", "hd-2")


def ping(request_id: str = "1", **params: Any) -> pb.Request:
    name, id_ = "hd-2._ping", f"hd-2._ping({request_id})"
    return pb.Request(method=name, id=id_, clientName="hd-1", params=struct(**params))


def struct(**fields: Any) -> bytes:
    """An object as it travels."""
    return encode_struct(fields)


def field(tag: int, content: bytes) -> bytes:
    """A protobuf field whose content has a length."""
    head, size = bytearray([tag]), len(content)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(head) + bytes([size]) + content


def written_by_hand(kinds: str) -> bytes:
    """``nested(kinds)``, the outermost of which is an object, as a Struct that no code of ours has written."""
    encoded = b""
    for inner, kind in zip(kinds[:0:-1], kinds[-2::-1], strict=True):
        value = field(0x2A if inner == "o" else 0x32, encoded)
        encoded = field(0x0A, field(0x0A, b"a") + field(0x12, value) if kind == "o" else value)
    return encoded


def nested(kinds: str, leaf: Any = None) -> Any:
    """An object (``o``, with the key ``a``) or a list (``l``) for each letter, inside each other; in the last, ``leaf``
    if there is one."""
    value = leaf
    for number, kind in enumerate(reversed(kinds)):
        empty = value is None and number == 0
        value = ({} if empty else {"a": value}) if kind == "o" else ([] if empty else [value])
    return value


async def soon(awaitable: Awaitable[T], seconds: float = 30.0) -> T:
    """Whatever a test waits for comes, or the test fails."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def echo(_peer: PeerIdentity, request: pb.Request) -> pb.Response:
    return pb.Response(id=request.id, result=request.params)


class Hanging:
    """An ``on_call`` that works until somebody stops it.

    Attributes:
        started, ended: set when a call has begun, and when it was stopped.
    """

    def __init__(self) -> None:
        self.started, self.ended = asyncio.Event(), asyncio.Event()

    async def __call__(self, _peer: PeerIdentity, _request: pb.Request) -> pb.Response:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        raise AssertionError


class Held:
    """An ``on_call`` that echoes when it is told to.

    Attributes:
        started: set when a call has begun.
        release: set it to let all answers go, also those of later calls.
    """

    def __init__(self) -> None:
        self.started, self.release = asyncio.Event(), asyncio.Event()

    async def __call__(self, peer: PeerIdentity, request: pb.Request) -> pb.Response:
        self.started.set()
        await self.release.wait()
        return await echo(peer, request)


async def no_streams(_peer: PeerIdentity, _stream: ServerStream) -> None:
    raise AssertionError("no stream was expected")


def wire_limits(**changes: Any) -> WireLimits:
    """Limits whose timers fire at once where a test is about them."""
    return replace(WireLimits(tick=0.02), **changes)


def server_limits(**changes: Any) -> ServerLimits:
    wire = wire_limits(**changes.pop("wire", {"ping_interval": 60.0}))
    return replace(ServerLimits(wire=wire), **changes)


class Rig:
    """hd-2's endpoint, and what connects to it."""

    def __init__(self, endpoint: ServerEndpoint, events: Events) -> None:
        self.endpoint = endpoint
        self.events = events
        self.opened: list[ClientConnection] = []

    async def connect(
        self,
        *,
        name: str = "hd-1",
        operator: str = "hd-2",
        client_pins: Pins | None = None,
        limits: WireLimits | None = None,
        context: ssl.SSLContext | None = None,
        timeout: float = 10.0,
    ) -> ClientConnection:
        """Another client."""
        near, far = socket_pair()
        accepting = asyncio.create_task(self.endpoint.accept(far))
        try:
            connection = await ClientConnection.open(
                near,
                operator=Operator(operator),
                context=context or client_context(tls_files(name), ["h2"]),
                pins=client_pins or pins(),
                timeout=timeout,
                limits=limits,
            )
        finally:
            await soon(accepting)
        self.opened.append(connection)
        return connection

    async def raw_client(self) -> "Raw":
        """A client that does what a test says."""
        near, far = socket_pair()
        accepting = asyncio.create_task(self.endpoint.accept(far))
        context = client_context(tls_files("hd-1"), ["h2"])
        reader, writer = await asyncio.open_connection(sock=near, ssl=context, server_hostname="hd-2")
        await soon(accepting)
        return Raw(reader, writer, client=True)


@contextlib.asynccontextmanager
async def rig(
    on_call: Callable[[PeerIdentity, pb.Request], Awaitable[pb.Response]] = echo,
    on_stream: Callable[[PeerIdentity, ServerStream], Awaitable[None]] = no_streams,
    *,
    limits: ServerLimits | None = None,
    server_pins: Pins | None = None,
    alpn: Sequence[str] = ("h2",),
) -> AsyncIterator[Rig]:
    """A running endpoint; at the end everything is closed, and nothing may be left running."""
    before = asyncio.all_tasks()
    events = Events()
    endpoint = ServerEndpoint(
        context=server_context(tls_files("hd-2"), list(alpn)),
        pins=server_pins or pins(),
        on_call=on_call,
        on_stream=on_stream,
        emit=events,
        limits=limits,
    )
    made = Rig(endpoint, events)
    try:
        yield made
    finally:
        for connection in made.opened:
            connection.abort("the test is over")
            await soon(connection.closed)
        await soon(endpoint.close(0))
    assert not endpoint.connections
    assert asyncio.all_tasks() <= before


class Raw:
    """A peer on h2 alone, driven step by step; ``client`` says which side it plays."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool) -> None:
        self.reader, self.writer = reader, writer
        config = H2Configuration(
            client_side=client,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = H2Connection(config)
        self.events: list[h2.events.Event] = []

    async def start(self) -> "Raw":
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def flush(self, extra: bytes = b"") -> None:
        self.writer.write(self.h2.data_to_send() + extra)
        with contextlib.suppress(ConnectionError):
            await soon(self.writer.drain())

    async def until(self, kind: type[E]) -> E:
        """Read until an event of this kind came that was not yet asked for."""
        while True:
            for index, event in enumerate(self.events):
                if isinstance(event, kind):
                    del self.events[index]
                    return event
            data = await soon(self.reader.read(65536))
            assert data, f"the connection ended before {kind.__name__}"
            self.events += self.h2.receive_data(data)
            await self.flush()

    async def collect(self, *kinds: type[Frame]) -> dict[type[Frame], Any]:
        """Read frames, past h2, until one of each kind has come."""
        found: dict[type[Frame], Any] = {}
        while set(found) != set(kinds):
            data = await soon(self.reader.read(65536))
            assert data, "the connection ended before"
            found |= {type(frame): frame for frame in frames_of(data) if type(frame) in kinds}
        return found

    async def rest(self) -> list[Frame]:
        """Read to the end, past h2."""
        data = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while chunk := await soon(self.reader.read(65536)):
                data += chunk
        return frames_of(data)

    async def goaway(self) -> tuple[int, int]:
        """Read to the end: error code and last stream of the GOAWAY; (-1, -1) if none came through."""
        rest = bytearray()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await soon(self.reader.read(65536)):
                rest += data
        found = [frame for frame in frames_of(bytes(rest)) if isinstance(frame, GoAwayFrame)]
        return (found[-1].error_code, found[-1].last_stream_id) if found else (-1, -1)

    def request_headers(self, path: str = "/EPS/Call", **more: str) -> list[tuple[str, str]]:
        fixed = {":method": "POST", ":scheme": "https", ":path": path, ":authority": "hd-2", "te": "trailers"}
        return list({**fixed, "content-type": "application/grpc", **more}.items())

    def respond(self, stream_id: int, message: pb.Response | None, status: int = 0, text: str = "") -> None:
        """An answer, as a server."""
        self.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        if message is not None:
            self.h2.send_data(stream_id, prefixed(message.SerializeToString()))
        self.h2.send_headers(stream_id, [("grpc-status", str(status)), ("grpc-message", text)], end_stream=True)

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


def prefixed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def frames_of(data: bytes) -> list[Frame]:
    frames = []
    while len(data) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        frames.append(frame)
        data = data[9 + length :]
    return frames


Script = Callable[[Raw], Awaitable[None]]


@contextlib.asynccontextmanager
async def against(
    script: Script,
    *,
    name: str = "hd-2",
    operator: str = "hd-2",
    limits: WireLimits | None = None,
    timeout: float = 10.0,
    client_pins: Pins | None = None,
    alpn: list[str] | None = None,
    spoken: SpokenName | None = None,
) -> AsyncIterator[ClientConnection]:
    """Our client, connected to a raw server that runs ``script`` after both sides' SETTINGS."""
    near, far = socket_pair()
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        context = server_context(tls_files(name), ["h2"] if alpn is None else alpn)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, far, ssl=context)
        raw = Raw(reader, asyncio.StreamWriter(transport, protocol, reader, loop), client=False)
        try:
            await script(raw)
            finished.set_result(None)
        finally:
            await raw.close()

    serving = asyncio.create_task(serve())
    connection: ClientConnection | None = None
    try:
        connection = await ClientConnection.open(
            near,
            operator=Operator(operator),
            context=client_context(tls_files("hd-1"), ["h2"]),
            pins=client_pins or pins(),
            timeout=timeout,
            limits=limits,
            spoken=spoken,
        )
        yield connection
    finally:
        if connection is not None:
            connection.abort("the test is over")
            await soon(connection.closed)
        if not finished.done():
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    if finished.cancelled():
        raise AssertionError("the script did not finish")


def name_of(code: int) -> str:
    return ErrorCodes(code).name if code >= 0 else "none"


def closed_socket() -> socket.socket:
    """One whose other end is gone."""
    near, far = socket_pair()
    far.close()
    return near

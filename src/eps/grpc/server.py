"""The server's side: accepted sockets become connections, their streams become calls of ``on_call`` and ``on_stream``.

A ``Call`` runs as a task from the moment its request is complete until its answer is written; a ``ServerCall`` from
the moment it is opened. A peer that resets a stream cancels its task. ``ServerCall`` never ends with status OK: peers
in use would spin on it and never come back (PROTOCOL.md section 9).
"""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from google.protobuf.message import DecodeError, EncodeError
from h2.errors import ErrorCodes

from eps.core.event import Emit, Event, Level, Notice, PeerChanged, Refused
from eps.core.names import Fingerprint
from eps.core.warn_rate import sparing
from eps.errors import EpsError, TlsFailed
from eps.grpc import eps_pb2 as pb
from eps.grpc.admission import PeerMemory
from eps.grpc.connection import CALL_PATH, SERVER_CALL_PATH
from eps.grpc.framing import (
    FramingError,
    Status,
    frame,
    read_timeout,
    response_headers,
    trailers,
)
from eps.grpc.link import WireLimits
from eps.grpc.streams import STREAM_METADATA, ServerStream, end_with_status
from eps.grpc.wire import Wire
from eps.grpc.wire_stream import StreamLost, WireStream
from eps.transport.tls import PeerIdentity, Pins, identify, plain_reason

__all__ = ["ServerConnection", "ServerEndpoint", "ServerLimits", "ServerStream"]

MAX_TASKS = 1_000
"""Calls and streams that one connection may have running. As many as it may have streams; a stream that was reset no
longer counts there, but its task may take a moment to end."""

MAX_PEER_STREAMS = 4_000
"""Calls and streams that all connections with one certificate may have open; further ones are refused unprocessed."""

MAX_OUTGOING_BYTES = 64 * 1024 * 1024
"""Answers that all connections with one certificate may leave unread: sixteen of the greatest size. Beyond, calls end
RESOURCE_EXHAUSTED."""

MAX_STREAM_ID = 2**31 - 1

LAST_PING = b"last one"
"""The eight bytes of the ping behind a first GOAWAY."""

LAST_PING_TIMEOUT = 1.0
"""Seconds to wait for its answer: a few round trips. A client that is slower may find late calls refused, which tells
it that they were not processed."""

OnCall = Callable[[PeerIdentity, pb.Request], Awaitable[pb.Response]]
OnStream = Callable[[PeerIdentity, ServerStream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Times in seconds.

    Attributes:
        handshake_timeout: for TLS.
        request_timeout: from a call's headers to the end of its message.
        idle_timeout: a connection without a stream for that long is ended (GOAWAY). Clients of this project close
            theirs sooner; peers in use open one for each call.
        max_age: so old, a connection is ended (GOAWAY), give or take a tenth, so that they don't all end at once.
        age_grace: what runs then may take that long.
        max_connections: of one certificate. Peers in use open one for each call; a tenth of what a listener takes, so
            that one operator can't lock out all others. The oldest idle one makes room for a new one.
        wire: see there. Servers ping after 60 s (PROTOCOL.md section 3).
    """

    handshake_timeout: float = 10.0
    request_timeout: float = 30.0
    idle_timeout: float = 3_600.0
    max_age: float = 86_400.0
    age_grace: float = 60.0
    max_connections: int = 1_000
    wire: WireLimits = field(default_factory=lambda: WireLimits(ping_interval=60.0))


class _ServerWire(Wire):
    """The wire, with the server's opinions."""

    def __init__(self, endpoint: "ServerEndpoint", source: str) -> None:
        self.endpoint = endpoint
        self.source = source
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.memory = PeerMemory()
        self.refusing = False
        self.idle_since = asyncio.get_running_loop().time()
        self._max_age = endpoint.limits.max_age * random.uniform(0.9, 1.1)  # noqa: S311 - spreads reconnections, no secret
        super().__init__(client=False, verify=self._identify, peer_name=source, limits=endpoint.limits.wire)

    def _identify(self, der: bytes | None) -> PeerIdentity:
        if der is None:
            raise TlsFailed("it showed no certificate")
        identity = identify(der, self.endpoint.pins)
        self.peer_name = identity.names[0]
        self.memory = self.endpoint.memory_of(identity.fingerprint)
        self.admission = self.memory.admission
        return identity

    # -- streams

    def on_request(self, stream: WireStream) -> None:
        headers = stream.headers or {}
        path = headers.get(":path", "")
        self.memory.streams += 1
        if self.refusing or len(self.tasks) >= MAX_TASKS or self.memory.streams > MAX_PEER_STREAMS:
            stream.reset(ErrorCodes.REFUSED_STREAM, "no new streams")
            stream.release()
            return
        stream.on_lost = lambda: self._stream_lost(stream)
        problem = _problem(headers)
        if problem is not None:
            self._answer_status(stream, *problem)
        elif path == CALL_PATH:
            stream.on_complete = lambda: self._start(stream, self._run_call(stream))
        else:
            stream.send_headers(response_headers(STREAM_METADATA))
            self._start(stream, self._run_stream(stream))

    def forget(self, stream: WireStream) -> None:
        if stream.id in self.streams:
            self.memory.streams -= 1
        super().forget(stream)

    def refuse(self, stream: WireStream, error: FramingError) -> None:
        self.endpoint.emit(
            Refused(listener="grpc", why="message", source=self.source, detail=f"{self.peer_name}: {error}")
        )
        self._answer_status(stream, error.status, str(error), started=stream.id in self.tasks)

    def _answer_status(self, stream: WireStream, status: Status, text: str, *, started: bool = False) -> None:
        end_with_status(stream, status, text, started=started)
        if stream.id in self.tasks:
            stream.fail(StreamLost(text))
        else:
            stream.release()

    def _start(self, stream: WireStream, work: Coroutine[object, object, None]) -> None:
        task = self.loop.create_task(work, name=f"grpc {self.peer_name} {stream.id}")
        self.tasks[stream.id] = task
        task.add_done_callback(lambda _: self._ended(stream))

    def _ended(self, stream: WireStream) -> None:
        self.tasks.pop(stream.id, None)
        stream.release()

    def _stream_lost(self, stream: WireStream) -> None:
        task = self.tasks.get(stream.id)
        if task is None:
            stream.release()
        elif stream.on_complete is not None:  # a Call; who holds a ServerCall learns it from recv and tidies up
            task.cancel()

    async def _run_call(self, stream: WireStream) -> None:
        try:
            status, text = await self._answer(stream)
        except StreamLost:
            return
        if status is Status.OK:
            stream.send_headers(trailers(Status.OK), end=True)
        else:
            end_with_status(stream, status, text, started=False)

    async def _answer(self, stream: WireStream) -> tuple[Status, str]:
        """Run one call and write its answer; the status to end it with."""
        try:
            async with asyncio.timeout(_deadline(stream)):
                body = await self._run_handler(stream)
        except (FramingError, DecodeError, EncodeError) as error:
            status = error.status if isinstance(error, FramingError) else Status.INVALID_ARGUMENT
            return status, str(error) if isinstance(error, FramingError) else "the message can't be read"
        except TimeoutError:
            return Status.DEADLINE_EXCEEDED, "the deadline that the client set has passed"
        except EpsError as error:
            return Status.UNKNOWN, str(error)
        except StreamLost:
            raise
        except Exception as error:  # noqa: BLE001 - one call's failure ends one call
            self.endpoint.emit(Notice(level=Level.ERROR, text=f"a call of {self.peer_name} failed here: {error!r}"))
            return Status.INTERNAL, "internal error"
        return await self._write(stream, body)

    async def _run_handler(self, stream: WireStream) -> bytes:
        """The answer's bytes; the message itself, which takes more memory, is nobody's while they are written."""
        assert self.peer is not None
        size, handled = stream.waiting_bytes, self.memory.handled
        try:
            async with asyncio.timeout(self.endpoint.limits.request_timeout):
                await handled.take(size)
        except TimeoutError:
            text = f"{self.peer_name} has {handled.taken:,} bytes of requests under way"
            raise FramingError(Status.RESOURCE_EXHAUSTED, text) from None
        try:
            # Handed on without a name here: whoever has decoded the message can let go of it.
            answering = self.endpoint.on_call(self.peer, pb.Request.FromString(await _only_message(stream)))
            return frame((await answering).SerializeToString())
        finally:
            handled.add(-size)

    async def _write(self, stream: WireStream, body: bytes) -> tuple[Status, str]:
        if self.memory.outgoing + len(body) > MAX_OUTGOING_BYTES:
            return Status.RESOURCE_EXHAUSTED, f"too many answers to {self.peer_name} are waiting to be read"
        self.memory.outgoing += len(body)
        try:
            async with asyncio.timeout(self.limits.write_timeout):
                stream.send_headers(response_headers({}))
                await stream.send(body)
        except TimeoutError:
            stream.reset(ErrorCodes.CANCEL, "the peer did not read the answer")
        finally:
            self.memory.outgoing -= len(body)
        return Status.OK, ""

    async def _run_stream(self, stream: WireStream) -> None:
        assert self.peer is not None
        served = ServerStream(stream)
        text = "ended by the server"
        try:
            await self.endpoint.on_stream(self.peer, served)
            text = served.reason or text
        except EpsError as error:
            text = error.message
        except Exception as error:  # noqa: BLE001 - one stream's failure ends one stream
            self.endpoint.emit(Notice(level=Level.ERROR, text=f"the stream of {self.peer_name} failed here: {error!r}"))
        finally:
            end_with_status(stream, Status.UNAVAILABLE, text, started=True)

    # -- the connection

    def on_released(self) -> None:
        if not self.streams:
            self.idle_since = self.clock()
            if self.refusing and not self.reason:
                self.end(self.leaving.result())

    def on_tick(self, now: float) -> None:
        limits = self.endpoint.limits
        for stream in list(self.streams.values()):
            if stream.id not in self.tasks and now - stream.created >= limits.request_timeout:
                text = f"the request did not arrive within {limits.request_timeout:g} s"
                self._answer_status(stream, Status.DEADLINE_EXCEEDED, text)
        if self.leaving.done():
            return
        if now - self.created_at >= self._max_age:
            self.drain("the connection reached its greatest age")
            self.after("age", limits.age_grace, lambda: self.end("the connection reached its greatest age"))
        elif not self.streams and now - self.idle_since >= limits.idle_timeout:
            self.drain(f"idle for {limits.idle_timeout:g} s")

    def cut(self, code: ErrorCodes, reason: str) -> None:
        if not self.reason:
            self.endpoint.emit(Refused(listener="grpc", why="guard", source=self.source, detail=reason))
        super().cut(code, reason)

    def drain(self, reason: str) -> None:
        """Send the client away; take what it had sent before it knew; end when the last stream is over.

        In two steps, as RFC 9113 section 6.8 advises: a GOAWAY that refuses nothing and a ping; when that is answered,
        nothing can be under way to us any more that doesn't know, and the GOAWAY with the last stream follows.
        """
        if not self.reason and not self.leaving.done() and self._transport is not None:
            self.leave(reason)
            self.send_goaway(MAX_STREAM_ID)
            self.h2.ping(LAST_PING)
            self.after("last ping", LAST_PING_TIMEOUT, self._refuse_new)
            self.flush()

    def on_ping_ack(self, payload: bytes) -> None:
        if payload == LAST_PING:
            self._refuse_new()

    def _refuse_new(self) -> None:
        if self.leaving.done() and not self.refusing:
            self.cancel_timer("last ping")
            self.refusing = True
            self.send_goaway(self.h2.highest_inbound_stream_id)
            self.on_released()


class ServerConnection:
    """An accepted connection, as others see it.

    Attributes:
        peer: who it is.
        closed: resolved with the reason when the socket is gone.
    """

    def __init__(self, wire: _ServerWire) -> None:
        assert wire.peer is not None
        self._wire = wire
        self.peer: PeerIdentity = wire.peer
        self.closed: asyncio.Future[str] = wire.closed

    def abort(self, reason: str) -> None:
        """Cut it."""
        self._wire.abort(reason)


class ServerEndpoint:
    """Everything that was accepted. The sockets come from a listener, or out of a tunnel.

    Args:
        context: TLS with the client's certificate required, ALPN h2.
        pins: whose certificates are known.
        on_call: answers a ``Call``. An EpsError becomes status UNKNOWN with its text.
        on_stream: serves a ``ServerCall`` until it returns; then the stream ends with status UNAVAILABLE.
    """

    def __init__(
        self,
        *,
        context: ssl.SSLContext,
        pins: Pins,
        on_call: OnCall,
        on_stream: OnStream,
        emit: Emit,
        limits: ServerLimits | None = None,
    ) -> None:
        self.pins = pins
        self.on_call = on_call
        self.on_stream = on_stream
        self.limits = limits or ServerLimits()
        self._emit = sparing(emit, time.monotonic)
        self._context = context
        self._wires: set[_ServerWire] = set()
        self._by_certificate: dict[Fingerprint, dict[_ServerWire, None]] = {}  # oldest first
        self._memory: WeakValueDictionary[Fingerprint, PeerMemory] = WeakValueDictionary()
        self._closing = False

    def memory_of(self, fingerprint: Fingerprint) -> PeerMemory:
        """What the connections with this certificate share, for as long as there is one."""
        return self._memory.setdefault(fingerprint, PeerMemory())

    def emit(self, event: Event) -> None:
        """Report an event."""
        self._emit(event)

    @property
    def connections(self) -> list[ServerConnection]:
        """Those that are up."""
        return [ServerConnection(wire) for wire in self._wires if not wire.reason]

    async def accept(self, sock: socket.socket) -> None:
        """Serve a connected, non-blocking socket, which belongs to this endpoint from now on.

        Returns after the TLS handshake. Failures are events, not exceptions.
        """
        if self._closing:
            sock.close()
            return
        source = _source(sock)
        wire = _ServerWire(self, source)
        timeout = self.limits.handshake_timeout
        try:
            await wire.loop.connect_accepted_socket(
                lambda: wire, sock, ssl=self._context, ssl_handshake_timeout=timeout, ssl_shutdown_timeout=1.0
            )
        except asyncio.CancelledError:
            wire.abort("the server is closing")
            raise
        except (OSError, ssl.SSLError) as error:
            sock.close()
            why = f"no TLS within {timeout:g} s" if isinstance(error, ConnectionAbortedError) else plain_reason(error)
            self.emit(Refused(listener="grpc", why="tls", source=source, detail=why))
            return
        if wire.peer is None or self._closing:
            wire.abort("the server is closing")
            if wire.peer is None:
                self.emit(Refused(listener="grpc", why="pin", source=source, detail=wire.reason))
            return
        self._adopt(wire)

    def _adopt(self, wire: _ServerWire) -> None:
        if wire.closed.done():
            return
        # Who cuts connections when pins are withdrawn has not seen this one if that happened during the last moments.
        if wire.peer is not None and not all(wire.peer.fingerprint in self.pins(name) for name in wire.peer.names):
            wire.abort("the directory no longer pins its certificate")
            self.emit(Refused(listener="grpc", why="pin", source=wire.source, detail=wire.reason))
            return
        if not self._make_room(wire):
            reason = f"{wire.peer_name} has {self.limits.max_connections} connections in use already"
            wire.abort(reason)
            self.emit(Refused(listener="grpc", why="connections", source=wire.source, detail=reason))
            return
        self._wires.add(wire)
        self.emit(PeerChanged(link="incoming", peer=wire.peer_name, up=True, level=Level.DEBUG))
        wire.closed.add_done_callback(lambda _: self._lost(wire, wire.reason))

    def _make_room(self, wire: _ServerWire) -> bool:
        """Count a connection among those of its certificate, in place of an idle one if they are many already."""
        assert wire.peer is not None
        same = self._by_certificate.setdefault(wire.peer.fingerprint, {})
        if len(same) >= self.limits.max_connections:
            idle = next((other for other in same if not other.streams), None)
            if idle is None:
                return False
            del same[idle]
            idle.drain("its operator has opened many newer connections")
        same[wire] = None
        return True

    def _lost(self, wire: _ServerWire, reason: str) -> None:
        self._wires.discard(wire)
        if wire.peer is not None:
            same = self._by_certificate.get(wire.peer.fingerprint, {})
            same.pop(wire, None)
            if not same:
                self._by_certificate.pop(wire.peer.fingerprint, None)
        self.emit(PeerChanged(link="incoming", peer=wire.peer_name, up=False, reason=reason, level=Level.DEBUG))

    async def close(self, grace: float) -> None:
        """GOAWAY to everyone; what runs may finish within ``grace`` seconds. Nothing is left running afterwards."""
        self._closing = True
        wires = list(self._wires)
        for wire in wires:
            wire.drain("the server is closing")
        if wires:
            await asyncio.wait([wire.closed for wire in wires], timeout=max(grace, 0.0))
        tasks = [task for wire in wires for task in wire.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for wire in wires:
            wire.end("the server is closing")
        if wires:
            await asyncio.wait([wire.closed for wire in wires])


def _problem(headers: Mapping[str, str]) -> tuple[Status, str] | None:
    """Why a request can't be a gRPC call of ours."""
    if headers.get(":method") != "POST" or not headers.get("content-type", "").startswith("application/grpc"):
        return Status.INTERNAL, "not a gRPC request"
    if headers.get(":path") not in (CALL_PATH, SERVER_CALL_PATH):
        return Status.UNIMPLEMENTED, f"unknown method {headers.get(':path', '')[:80]}"
    if headers.get("grpc-encoding", "identity") != "identity":
        return Status.UNIMPLEMENTED, "compressed messages are not accepted"
    try:
        read_timeout(headers.get("grpc-timeout", "1S"))
    except FramingError as error:
        return error.status, str(error)
    return None


def _deadline(stream: WireStream) -> float | None:
    value = (stream.headers or {}).get("grpc-timeout")
    return None if value is None else read_timeout(value)


async def _only_message(stream: WireStream) -> bytes:
    message = await stream.receive()
    if message is None or stream.waiting_messages:
        raise FramingError(Status.INVALID_ARGUMENT, "a call has exactly one request message")
    return message


def _source(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "a peer that is gone"
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "a local socket"

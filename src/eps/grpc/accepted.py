"""One accepted connection: its streams become calls of ``on_call`` and ``on_stream``.

A ``Call`` runs as a task from the moment its request is complete until its answer is written; a ``ServerCall`` from
the moment it is opened. A peer that resets a stream cancels its task. ``ServerCall`` never ends with status OK: peers
in use would spin on it and never come back (PROTOCOL.md section 9).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError, EncodeError
from h2.errors import ErrorCodes

from eps.core.event import Emit, Level, Notice, Refused
from eps.core.names import Fingerprint, Operator
from eps.core.told_seconds import OF_CALLER, render_timeout
from eps.core.trace import CURRENT, TOOK, TRACEPARENT, Trace, current_id
from eps.errors import EpsError, TlsFailed
from eps.grpc import eps_pb2 as pb
from eps.grpc.admission import PeerMemory
from eps.grpc.framing import (
    FramingError,
    Status,
    frame,
    read_timeout,
    response_headers,
    trailers,
)
from eps.grpc.link import WireLimits
from eps.grpc.service import CALL, METHODS
from eps.grpc.streams import SERVER_METADATA, STREAM_METADATA, ServerStream, end_with_status
from eps.grpc.wire import Wire
from eps.grpc.wire_stream import StreamLost, WireStream
from eps.transport.arrivals import MAX_ARRIVING, Arrival
from eps.transport.tls import PeerIdentity, Pins, certificate_names, identify

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
        max_arriving: connections without a finished handshake or a first request; of each source's, the oldest goes.
        max_connections: of one certificate. Peers in use open one for each call; a tenth of what a listener takes, so
            that one operator can't lock out all others. The oldest idle one makes room for a new one.
        wire: see there. Servers ping after 60 s (PROTOCOL.md section 3).
    """

    handshake_timeout: float = 10.0
    request_timeout: float = 30.0
    idle_timeout: float = 3_600.0
    max_age: float = 86_400.0
    age_grace: float = 60.0
    max_arriving: int = MAX_ARRIVING
    max_connections: int = 1_000
    wire: WireLimits = field(default_factory=lambda: WireLimits(ping_interval=60.0))


@dataclass(frozen=True, slots=True)
class Serving:
    """What all connections of a server have in common.

    Attributes:
        pins: whose certificates are known.
        on_call: answers a ``Call``. An EpsError becomes status UNKNOWN with its text.
        on_stream: serves a ``ServerCall`` until it returns; then the stream ends with status UNAVAILABLE.
        emit: where events go.
        memory_of: what the connections with one certificate share.
        limits: see there.
    """

    pins: Pins
    on_call: OnCall
    on_stream: OnStream
    emit: Emit
    memory_of: Callable[[Fingerprint], PeerMemory]
    limits: ServerLimits


DIRECT = Operator("")
"""Nobody's proxy stands between."""


class Accepted:
    """Owns the server's side of one connection.

    Args:
        source: the peer's address, for messages.
        arrival: what it is among those that have asked for nothing yet; settled at its first request.
        via: the operator through whose proxy it came; empty: directly.

    Attributes:
        wire, link: HTTP/2 and what it goes over; ``link.peer`` says who it is.
        tasks: what runs, by stream.
        said_last: done when the client that is sent away knows it: no further call can come.
        memory: what the peer makes us hold.
        shown: the names of a certificate that was refused.
    """

    def __init__(self, serving: Serving, source: str, arrival: Arrival, via: Operator = DIRECT) -> None:
        self.source = source
        self.arrival = arrival
        self.via = via
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.memory = PeerMemory()
        self.shown: tuple[str, ...] = ()
        self._serving = serving
        self._opened_by = current_id()  # of a tunnel: the call for which our proxy has asked for it
        self._refusing = False
        self._introduction: Mapping[str, str] = STREAM_METADATA
        self.said_last: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._aged = False
        self._idle_since = asyncio.get_running_loop().time()
        self._max_age = serving.limits.max_age * random.uniform(0.9, 1.1)  # noqa: S311 - spreads reconnections, no secret
        self.wire = Wire(self, client=False, verify=self._identify, peer_name=source, limits=serving.limits.wire)
        self.link = self.wire.link

    def _identify(self, der: bytes | None) -> PeerIdentity:
        if der is None:
            raise TlsFailed("it showed no certificate")
        try:
            identity = identify(der, self._serving.pins)
        except TlsFailed:
            with suppress(TlsFailed):  # it can't be read at all
                self.shown = tuple(certificate_names(der))
            raise
        self.link.peer_name = identity.names[0]
        self.memory = self._serving.memory_of(identity.fingerprint)
        self.wire.admission = self.memory.admission
        return identity

    # -- streams

    def on_request(self, stream: WireStream) -> None:
        headers = stream.headers or {}
        self.arrival.settle()
        self.memory.streams += 1
        if self._refusing or len(self.tasks) >= MAX_TASKS or self.memory.streams > MAX_PEER_STREAMS:
            stream.reset(ErrorCodes.REFUSED_STREAM, "no new streams")
            stream.release()
            return
        stream.on_lost = lambda: self._stream_lost(stream)
        problem = _problem(headers)
        if problem is not None:
            if headers.get(":path") not in METHODS:
                self._refused(
                    "path", f"asked for {headers.get(':path', '')[:80]!r}, which no server of this network has"
                )
            self._answer_status(stream, *problem)
        elif METHODS[headers[":path"]] == CALL:
            stream.on_complete = lambda: self._start(stream, self._run_call(stream))
        else:
            stream.send_headers(response_headers(SERVER_METADATA))
            self._start(stream, self._run_stream(stream))

    def on_refused(self, stream: WireStream, error: FramingError) -> None:
        self._refused("message", str(error))
        self._answer_status(stream, error.status, str(error), started=stream.id in self.tasks)

    def _refused(self, why: str, detail: str) -> None:
        text = f"{self.link.peer_name}: {detail}"
        self._serving.emit(Refused(listener="grpc", why=why, source=self.source, detail=text))

    def _answer_status(self, stream: WireStream, status: Status, text: str, *, started: bool = False) -> None:
        end_with_status(stream, status, text, started=started)
        if stream.id in self.tasks:
            stream.fail(StreamLost(text))
        else:
            stream.release()

    def _start(self, stream: WireStream, work: Coroutine[object, object, None]) -> None:
        task = self.link.loop.create_task(work, name=f"grpc {self.link.peer_name} {stream.id}")
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
        told, began = (stream.headers or {}).get(TRACEPARENT, ""), time.monotonic()
        trace = Trace.told(told, self._opened_by)
        CURRENT.set(trace)  # of this call's task
        try:
            status, text = await self._answer(stream)
        except StreamLost:
            return
        if status is Status.OK:
            last = trailers(Status.OK)
            duration = trace.duration(time.monotonic() - began) if trace is not None else ""
            if duration:
                last.append((TOOK.encode(), duration.encode()))
            stream.send_headers(last, end=True)
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
            self._failed("a call", error)
            return Status.INTERNAL, "internal error"
        return await self._write(stream, body)

    async def _run_handler(self, stream: WireStream) -> bytes:
        """The answer's bytes; the message itself, which takes more memory, is nobody's while they are written."""
        assert self.link.peer is not None
        size, handled = stream.waiting_bytes, self.memory.handled
        try:
            async with asyncio.timeout(self._serving.limits.request_timeout):
                await handled.take(size)
        except TimeoutError:
            text = f"{self.link.peer_name} has {handled.taken:,} bytes of requests under way"
            raise FramingError(Status.RESOURCE_EXHAUSTED, text) from None
        try:
            # Handed on without a name here: whoever has decoded the message can let go of it.
            answering = self._serving.on_call(self.link.peer, _with_timeout(await _only_message(stream), stream))
            return frame((await answering).SerializeToString())
        finally:
            handled.add(-size)

    async def _write(self, stream: WireStream, body: bytes) -> tuple[Status, str]:
        if self.memory.outgoing + len(body) > MAX_OUTGOING_BYTES:
            return Status.RESOURCE_EXHAUSTED, f"too many answers to {self.link.peer_name} are waiting to be read"
        self.memory.outgoing += len(body)
        try:
            async with asyncio.timeout(self._serving.limits.wire.write_timeout):
                stream.send_headers(response_headers(self._introduction))
                await stream.send(body)
                self._introduction = {}  # it has come: the peer knows whom it may ping
        except TimeoutError:
            stream.reset(ErrorCodes.CANCEL, "the peer did not read the answer")
        finally:
            self.memory.outgoing -= len(body)
        return Status.OK, ""

    async def _run_stream(self, stream: WireStream) -> None:
        assert self.link.peer is not None
        served = ServerStream(stream, self.link)
        text = "ended by the server"
        try:
            await self._serving.on_stream(self.link.peer, served)
            text = served.reason or text
        except EpsError as error:
            text = error.message
        except Exception as error:  # noqa: BLE001 - one stream's failure ends one stream
            self._failed("the stream", error)
        finally:
            end_with_status(stream, Status.UNAVAILABLE, text, started=True)

    def _failed(self, what: str, error: Exception) -> None:
        text = f"{what} of {self.link.peer_name} failed here: {error!r}"
        self._serving.emit(Notice(level=Level.ERROR, text=text))

    # -- the connection

    def on_released(self) -> None:
        self.memory.streams -= 1
        self._look_whether_idle()

    def _look_whether_idle(self) -> None:
        if not self.wire.streams:
            self._idle_since = self.wire.clock()
            if self._refusing:
                self.wire.end_if_idle()

    def on_writable(self) -> None:
        """Whoever writes is woken already."""

    def on_doubt(self) -> None:
        """Calls down the streams that the peer holds wait until it is over."""

    def on_goaway(self) -> None:
        """The client goes; what it has asked for is answered all the same."""

    def on_tick(self, now: float) -> None:
        limits = self._serving.limits
        for stream in list(self.wire.streams.values()):
            if stream.id not in self.tasks and now - stream.created >= limits.request_timeout:
                text = f"the request did not arrive within {limits.request_timeout:g} s"
                self._answer_status(stream, Status.DEADLINE_EXCEEDED, text)
        if not self._aged and now - self.link.created_at >= self._max_age:
            self._aged = True  # also one that was sent away, and whose peer keeps a stream on it
            self.drain("the connection reached its greatest age")
            self.link.after("age", limits.age_grace, lambda: self.link.end("the connection reached its greatest age"))
        elif not self.link.leaving.done() and not self.wire.streams and now - self._idle_since >= limits.idle_timeout:
            self.drain(f"idle for {limits.idle_timeout:g} s")

    def on_cut(self, reason: str) -> None:
        self._serving.emit(Refused(listener="grpc", why="guard", source=self.source, detail=reason))

    def drain(self, reason: str) -> None:
        """Send the client away; take what it had sent before it knew; end when the last stream is over.

        In two steps, as RFC 9113 section 6.8 advises: a GOAWAY that refuses nothing and a ping; when that is answered,
        nothing can be under way to us any more that doesn't know, and the GOAWAY with the last stream follows.
        """
        if not self.link.reason and not self.link.leaving.done() and self.link.connected:
            self.link.leave(reason)
            self.wire.send_goaway(MAX_STREAM_ID)
            self.wire.h2.ping(LAST_PING)
            self.link.after("last ping", LAST_PING_TIMEOUT, self._refuse_new)
            self.wire.flush()

    def on_ping_ack(self, payload: bytes) -> None:
        if payload == LAST_PING:
            self._refuse_new()

    def _refuse_new(self) -> None:
        if self.link.leaving.done() and not self._refusing:
            self.link.cancel_timer("last ping")
            self._refusing = True
            if not self.said_last.done():
                self.said_last.set_result(None)
            self.wire.send_goaway(self.wire.h2.highest_inbound_stream_id)
            self._look_whether_idle()


def _problem(headers: Mapping[str, str]) -> tuple[Status, str] | None:
    """Why a request can't be a gRPC call of ours."""
    if headers.get(":method") != "POST" or not headers.get("content-type", "").startswith("application/grpc"):
        return Status.INTERNAL, "not a gRPC request"
    if headers.get(":path") not in METHODS:
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


def _with_timeout(message: bytes, stream: WireStream) -> pb.Request:
    """The request; how long its caller gives it stands in it as in one that comes down a stream."""
    request, headers = pb.Request.FromString(message), stream.headers or {}
    given = _deadline(stream) if OF_CALLER.items() <= headers.items() else None
    request.timeout = "" if given is None else render_timeout(given)
    return request


async def _only_message(stream: WireStream) -> bytes:
    message = await stream.receive()
    if message is None or stream.waiting_messages:
        raise FramingError(Status.INVALID_ARGUMENT, "a call has exactly one request message")
    return message

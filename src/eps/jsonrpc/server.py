"""JSON-RPC over HTTP(S): the server (PROTOCOL.md section 5).

    Listener → TLS → aiohttp's HTTP parser → _exchange: CORS, path, body → core.jsonrpc_text → handler → answer

Connections are kept alive. A client that goes away does not stop its call: a call half done is worse than an answer
that nobody reads, and every handler has a deadline of its own. ``close`` lets calls in flight finish for a while.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from aiohttp import hdrs, web

from eps.core.defaults import MAX_CALLS
from eps.core.event import Emit, Level, Notice, Refused, ignore
from eps.core.jsonrpc_text import CANCEL, Call, parse_request, render_response
from eps.core.limits import MAX_MESSAGE_BYTES
from eps.core.message import Asker, Response
from eps.core.told import error_response
from eps.core.told_seconds import TIMEOUT, read_timeout
from eps.core.trace import CURRENT, TRACEPARENT, Trace, trace_of
from eps.core.warn_rate import sparing
from eps.errors import BadRequest, Busy, EpsError, InternalError, NotJson
from eps.jsonrpc.callers import Caller, Callers, Gate
from eps.jsonrpc.http_connection import HttpConnection, end_unused
from eps.jsonrpc.in_hand import MAX_CALL_BYTES, Held, InHand
from eps.jsonrpc.large_bodies import LARGE, LargeBodies
from eps.jsonrpc.request_body import BODY_BYTES_PER_SECOND, RequestBody
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server_connection import (
    KEEP_ALIVE_SECONDS,
    HttpAnswer,
    HttpServer,
    OnEnd,
    Reply,
    ServerConnection,
    send_answer,
    send_usual,
)
from eps.transport.arrivals import MAX_ARRIVING, SILENT, Arrival
from eps.transport.aside import LARGE_BYTES, written
from eps.transport.incoming import Entrance
from eps.transport.large_values import LARGE_VALUES
from eps.transport.listener import MAX_CONNECTIONS, Listener, RateLimit
from eps.transport.tls import TlsFiles, server_context

HANDSHAKE_SECONDS = 10.0
"""A TLS handshake takes milliseconds of work and a few round trips."""

ANSWER_SECONDS = 60.0
"""How long a client may take to read its answer, and a second more per MiB; then the connection is cut."""

NEVER_WAITS = 32 * 1024
"""An answer up to this size, on a connection with nothing unread, goes to the transport without waiting, which comes at
64 KiB: a deadline, some 10 µs, would time nothing."""

GRACE_SECONDS = 5.0
"""How long calls in flight may go on once the server closes."""

_LAST_WORDS_SECONDS = 0.1
"""After all calls have ended: for connections that are only being read to their body's end, or closed."""

HTTP_ALPN = ("http/1.1",)

_NOT_FOUND = b'{"message":"not found"}'
Handler = Callable[[Call], Awaitable[Response]]
"""Answers a call, within a deadline of its own. An ``EpsError`` that it raises becomes the answer's error."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Of a JSON-RPC server.

    Attributes:
        rate_limits: new connections per source address.
        max_connections: open at a time.
        max_arriving: open at a time without a finished handshake or a first request; of each source's, the oldest goes.
        max_body: bytes of a request.
        max_calls: that run at a time; further ones are refused as busy.
        grace: seconds that calls in flight may go on for when the server closes.
    """

    rate_limits: Sequence[RateLimit] = ()
    max_connections: int = MAX_CONNECTIONS
    max_arriving: int = MAX_ARRIVING
    max_body: int = MAX_MESSAGE_BYTES
    max_calls: int = MAX_CALLS
    grace: float = GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class Serving:
    """What a JSON-RPC server serves, and to whom; a running one can take another over (:meth:`JsonRpcServer.renew`).

    Attributes:
        requests: what it takes as a call.
        tls: certificates; ``allowed_names`` restricts who may call. None: plain HTTP, for anyone.
        callers: what is known of those who call, besides that.
        limits: see there.
        mark: tells what the files of ``tls`` hold from other contents, also under the same names.
    """

    requests: Requests = field(default_factory=Requests)
    tls: TlsFiles | None = None
    callers: Callers = field(default_factory=Callers)
    limits: ServerLimits = field(default_factory=ServerLimits)
    mark: bytes = b""


class JsonRpcServer:
    """Accepts calls over HTTP or, with ``tls``, HTTPS.

    Args:
        name: for messages and metrics.
        bind_address: see :class:`eps.transport.listener.Listener`; None: it doesn't listen, its owner brings each
            connection (:meth:`accept`).
        handler: see :data:`Handler`.
        serving: see there.
    """

    def __init__(
        self,
        name: str,
        bind_address: str | None,
        handler: Handler,
        *,
        serving: Serving | None = None,
        emit: Emit = ignore,
    ) -> None:
        self._name = name
        self._handler = handler
        serving = serving or Serving()
        tls, limits = serving.tls, serving.limits
        self._requests = serving.requests
        self._path = "/" + serving.requests.path.lstrip("/")
        self._tls = tls
        self._limits = limits
        self._emit = sparing(emit, time.monotonic)
        self._mark = serving.mark
        self._gate = Gate(name, tls, serving.callers, self._emit)
        self._teller = serving.callers.operator or ""
        self._context: ssl.SSLContext | None = None
        self._http: HttpServer | None = None
        self._in_hand = InHand(name, limits.max_calls, MAX_CALL_BYTES + limits.max_body)
        self._exchanges: set[asyncio.Task[Any]] = set()
        self._entrance = Entrance(limits.max_arriving, HANDSHAKE_SECONDS if tls is not None else KEEP_ALIVE_SECONDS)
        self._generation = 0
        self._listener: Listener | None = None
        if bind_address is not None:
            self._listener = Listener(
                name,
                bind_address,
                self.accept,
                rate_limits=limits.rate_limits,
                max_connections=limits.max_connections,
                emit=emit,
            )

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        assert self._listener is not None, "one that doesn't listen has no port"
        return self._listener.addresses[0][1]

    @property
    def connections(self) -> list[HttpConnection]:
        """Those that are open."""
        kept = self._http.connections if self._http is not None else []
        return [connection for connection in kept if isinstance(connection, HttpConnection)]

    @property
    def in_progress(self) -> int:
        """Requests whose answers have not been given, or not to their end."""
        return len(self._exchanges)

    async def start(self) -> None:
        """Bind and begin to accept.

        Raises:
            StartError: a certificate file is missing or wrong, or the port is taken.
        """
        self._requests.cors.check()
        self._context = server_context(self._tls, HTTP_ALPN) if self._tls else None
        self._http = HttpServer(self._exchange)
        if self._listener is not None:
            await self._listener.start()

    def renew(self, context: ssl.SSLContext | None, serving: Serving) -> None:
        """Serve as ``serving`` says from the next request on.

        Connections made with another certificate, or other authorities, are sent away.

        Args:
            context: made of ``serving.tls``.
        """
        if serving.mark != self._mark:
            self.send_away()
        self._context, self._tls, self._mark = context, serving.tls, serving.mark
        self._gate = Gate(self._name, serving.tls, serving.callers, self._emit)
        self._teller = serving.callers.operator or ""
        self._requests, self._limits = serving.requests, serving.limits
        self._path = "/" + serving.requests.path.lstrip("/")
        if self._listener is not None:
            self._listener.limit(serving.limits.rate_limits)

    def send_away(self) -> None:
        """Have each connection end with its next answer, so that no request is lost; who goes on comes back anew."""
        self._generation += 1

    async def stop(self) -> None:
        """Accept no more; connections end when the request in progress on them is answered."""
        if self._listener is not None:
            await self._listener.close()
        if self._http is not None:
            await end_unused(self._http)

    async def close(self) -> None:
        """Stop, let calls in flight finish within the grace time, end every connection."""
        await self.stop()
        if self._http is None:
            return
        if self._exchanges:
            await asyncio.wait(self._exchanges, timeout=self._limits.grace)
        for exchange in self._exchanges:
            exchange.cancel()
        if self._exchanges:
            await asyncio.wait(self._exchanges, timeout=self._limits.grace)
        await self._http.shutdown(_LAST_WORDS_SECONDS)

    async def accept(self, accepted: socket.socket, on_end: OnEnd | None = None) -> None:
        """Serve a connection: TLS, then HTTP takes over the socket.

        Args:
            accepted: non-blocking; this server's from here on.
            on_end: called once when the connection has ended, if TLS came about.

        Raises:
            TlsFailed: the handshake failed; the socket is closed.
        """
        http = self._http
        assert http is not None, "nothing is accepted before start"

        generation = self._generation

        def made(arrival: Arrival) -> ServerConnection:
            connection = http()
            assert isinstance(connection, ServerConnection), "it makes no others"
            connection.arrival = arrival
            connection.on_end = on_end
            connection.generation = generation
            return connection

        await self._entrance.to_protocol(made, accepted, self._context, end=self._gives_way)

    def _gives_way(self, connection: ServerConnection) -> None:
        if connection.transport is not None:
            source = str((connection.transport.get_extra_info("peername") or ["a connection that is gone"])[0])
            connection.transport.abort()
            self._emit(Refused(listener=self._name, why=SILENT, source=source, detail=self._entrance.arrivals.text))

    async def _exchange(self, request: web.BaseRequest) -> web.StreamResponse:
        """One HTTP request to its end; aiohttp calls this in a task of its own."""
        task = asyncio.current_task()
        assert task is not None
        self._exchanges.add(task)
        connection = request.protocol
        assert isinstance(connection, ServerConnection), "our server makes no others"
        connection.settle()
        try:
            reply = await self._answer(request, connection.caller)
            return await self._send(request, reply, is_last=connection.generation != self._generation)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client did not read its answer") from None
        finally:
            self._exchanges.discard(task)

    async def _send(self, request: web.BaseRequest, reply: Reply, *, is_last: bool) -> web.StreamResponse:
        """Raises TimeoutError if the client doesn't read it.

        Args:
            is_last: its connection is to end behind it.
        """
        size = len(reply.body)
        at_once = size <= NEVER_WAITS and request.transport and not request.transport.get_write_buffer_size()
        if at_once and not is_last and (sent := send_usual(request, reply)):
            return sent
        answer = HttpAnswer(*reply)
        if is_last:
            answer.force_close()
        if at_once:
            return await send_answer(request, answer)
        async with asyncio.timeout(ANSWER_SECONDS + size / BODY_BYTES_PER_SECOND):
            return await send_answer(request, answer)

    async def _answer(self, request: web.BaseRequest, caller: Caller) -> Reply:
        origin = request.headers.get(hdrs.ORIGIN, "")
        asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
        headers = self._requests.cors.headers(origin, asked) if origin else {}
        if request.path != self._path:
            return Reply(404, _NOT_FOUND, headers)
        if headers and request.method == hdrs.METH_OPTIONS:
            return Reply(200, b"", headers)
        response = await self._respond(request, caller)
        return await self._rendered(response, headers)

    async def _respond(self, request: web.BaseRequest, caller: Caller) -> Response:
        call_id, held = "", Held(self._in_hand)
        given = trace_of(request.headers.get(TRACEPARENT))
        CURRENT.set(Trace(given, given=True) if given else None)  # of this request's task
        try:
            if request.method != hdrs.METH_POST:
                raise NotJson(f"{request.method[:20]} is no JSON-RPC request", hint="use POST")
            await self._gate.check(caller)  # before anything is read: who may not call costs nothing
            names = caller.names
            body = RequestBody(request, self._limits.max_body, held.hold)
            content_type = request.headers.get(hdrs.CONTENT_TYPE)
            if not await body.begin(LARGE if self._requests.large is not None else self._limits.max_body):
                assert self._requests.large is not None, "without it nothing is larger than the whole"
                return await self._respond_to_large(body, self._requests.large, content_type, names)
            text = body.take()
            call = await self._parsed(text, content_type, names)
            call_id = call.id
            if call.method != CANCEL:
                held.begin()
            if request.transport is None:
                raise ConnectionResetError("the client has gone before its call began")
            call = Call(call.method, call.params, call.id, call.client_names, _asker(request, caller))
            response = await self._handler(call)
        except EpsError as error:
            if isinstance(error, Busy):
                self._emit(Refused(listener=self._name, why="busy", source="a caller", detail=error.message))
            return error_response(call_id, error, self._teller)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a handler does wrong, the caller gets an answer
            return self._surprise(call_id, error)
        finally:
            held.free()
        return response if response.id == call_id else replace(response, id=call_id)

    async def _parsed(self, body: bytes, content_type: str | None, names: tuple[str, ...]) -> Call:
        """The call; a large one is read beside the event loop."""
        load, most = self._requests.load, self._limits.max_body
        if len(body) <= LARGE_BYTES or load is not None:
            return parse_request(body, content_type, max_bytes=most, load=load, client_names=names)
        parse = partial(parse_request, body, content_type, max_bytes=most, client_names=names)
        return await LARGE_VALUES.decoded(len(body), parse, lambda call: call.params)

    async def _respond_to_large(
        self, body: RequestBody, large: LargeBodies, content_type: str | None, names: tuple[str, ...]
    ) -> Response:
        """Read, parse and answer, with nobody beside it."""
        async with large.turn():
            return await self._in_turn(body, large, content_type, names)

    async def _in_turn(
        self, body: RequestBody, large: LargeBodies, content_type: str | None, names: tuple[str, ...]
    ) -> Response:
        """A function of its own, so that nothing of the request is held any more when the turn ends."""
        call_id = ""
        try:
            await body.finish(large.is_too_slow)
            value = await large.read(body.take())
            call = parse_request(b"", content_type, load=lambda *_, **__: value, client_names=names)
            call_id = call.id
            response = await self._handler(call)
        except EpsError as error:
            return error_response(call_id, error, self._teller)
        return response if response.id == call_id else replace(response, id=call_id)

    async def _rendered(self, response: Response, headers: dict[str, str]) -> Reply:
        try:
            body = await written(partial(render_response, response), response.value)
        except InternalError as error:
            response = error_response(response.id, error, self._teller)
            body = render_response(response)
        return Reply(400 if response.error else 200, body, headers)

    def _surprise(self, call_id: str, error: Exception) -> Response:
        text = f"{self._name}: an error inside this server: {type(error).__name__}: {error}"
        self._emit(Notice(level=Level.ERROR, text=text, hint="please report this"))
        return error_response(
            call_id, InternalError("an error inside this server", hint="its log says more"), self._teller
        )


def _asker(request: web.BaseRequest, caller: Caller) -> Asker:
    """Who waits for the answer, and how long; raises BadRequest: that is no time."""
    try:
        told = request.headers.getall(TIMEOUT, ())
        timeout = read_timeout(", ".join(told) if told else None)  # two are none: nobody knows which one counts
    except ValueError as error:
        raise BadRequest(str(error), hint="or leave it out") from None
    return Asker(
        lambda: request.transport is not None, timeout=timeout, who=caller.who, is_shared=caller.fingerprint is None
    )

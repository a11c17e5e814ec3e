"""A private proxy where TLS ends: HTTP requests go on to the internal server (PROTOCOL.md section 8).

    socket → TLS → HTTP/1.1 → _pass_on   each request to http://ADDRESS, bodies streamed both ways
                            → _tunnel    and, if the server agrees to speak WebSocket, bytes both ways behind it

Clients' connections are kept for their next requests, whatever the internal server does with its own. What a message
says stays as it is, but for the headers of ``proxy.http_messages``.

A connection becomes bytes only when the internal server has said so (101). Before that, what a client sends behind its
request to change the protocol is another request like all others: else a client could ask for a WebSocket where there
is none, and then talk past this proxy, with whatever headers it likes.

Requests that must not be repeated go out on new connections only: on a kept one, nobody could tell whether the internal
server had seen the request or had just hung up.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, StreamWriter
from aiohttp.web_protocol import RequestPayloadError
from yarl import URL

from eps.core.event import Emit, Level, Notice, Refused
from eps.core.names import Operator
from eps.core.rendezvous import TunnelOutcome
from eps.core.warn_rate import sparing
from eps.errors import EpsError, TlsFailed, Unreachable
from eps.jsonrpc.http_connection import HttpConnection, end_unused, tell_to_go_on
from eps.proxy.forwarding import ended
from eps.proxy.http_messages import (
    AlreadySent,
    Answer,
    Plain,
    has_coding,
    inside_headers,
    inside_url,
    loses_what_follows,
    switching_head,
    wants_websocket,
)
from eps.transport.dial import explain
from eps.transport.splice import IDLE_TIMEOUT
from eps.transport.tls import TlsFiles, accept_tls, server_context

HANDSHAKE_SECONDS = 10.0
"""A TLS handshake takes milliseconds of work and a few round trips."""

KEEP_ALIVE_SECONDS = 120.0
"""An unused connection is kept so long: above the minute or so after which most clients end theirs."""

ANSWER_SECONDS = 30.0
"""``timeout`` of PROTOCOL.md section 6: without progress, until the internal server's answer begins."""

GRACE_SECONDS = 3.0
"""How long requests in flight may go on once the proxy stops. aiohttp waits half of it for them, and the other half for
those that it has cancelled."""

INSIDE_KEEP_ALIVE_SECONDS = 15.0
INSIDE_CONNECTIONS = 1024
"""To the internal server, of each kind; further requests wait."""

MAX_HEADER_LINE = 32 * 1024
"""Of a request or an answer: cookies can make lines longer than the usual 8 KiB."""

TUNNEL_BYTES = 64 * 1024
"""Read at once from a WebSocket's side."""

SWITCHING = 101
"""The status by which a server agrees to another protocol."""

REPEATABLE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})

_NOT_OURS = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)
"""Headers that aiohttp's client would add."""


class HttpForwarder:
    """A :class:`eps.proxy.forwarding.Forwarder` that speaks HTTP/1.1.

    Args:
        address: the internal server, ``HOST:PORT``; it is spoken to in plain HTTP.
        tls: the certificate to end TLS with.
        timeout: see :data:`ANSWER_SECONDS`.
        idle_timeout: seconds without a byte in the middle of an answer, or of a WebSocket.
        keep_alive: see :data:`KEEP_ALIVE_SECONDS`.
    """

    def __init__(
        self,
        address: str,
        tls: TlsFiles,
        *,
        timeout: float = ANSWER_SECONDS,
        idle_timeout: float = IDLE_TIMEOUT,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        emit: Emit,
    ) -> None:
        self._address = address
        self._tls = tls
        self._timeout = timeout
        self._idle_timeout = idle_timeout
        self._keep_alive = keep_alive
        self._emit = sparing(emit, time.monotonic)
        self._context: ssl.SSLContext | None = None
        self._http: web.Server | None = None
        self._kept: aiohttp.ClientSession | None = None
        self._single: aiohttp.ClientSession | None = None
        self._websockets: aiohttp.ClientSession | None = None

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._http.connections) if self._http is not None else 0

    async def start(self) -> None:
        """Load the certificate; raises StartError if it can't be used."""
        self._context = server_context(self._tls, ["http/1.1"])
        self._http = web.Server(self._answer, handler_cancellation=True)
        self._kept = _session(
            aiohttp.TCPConnector(limit=INSIDE_CONNECTIONS, keepalive_timeout=INSIDE_KEEP_ALIVE_SECONDS)
        )
        self._single = _session(aiohttp.TCPConnector(limit=INSIDE_CONNECTIONS, force_close=True))
        # Each lives as long as its client's connection does, and those are counted already: a limit would only starve
        # other requests.
        self._websockets = _session(aiohttp.TCPConnector(limit=0, force_close=True))

    async def close(self) -> None:
        """Let requests in flight end, then end all connections."""
        if self._http is not None:
            for connection in self._http.connections:
                assert isinstance(connection, _Connection), "forward makes no others"
                connection.outcome = TunnelOutcome.STOPPED
            await end_unused(self._http)
            await self._http.shutdown(GRACE_SECONDS / 2)
        for session in (self._kept, self._single, self._websockets):
            if session is not None:
                await session.close()

    async def forward(self, sock: socket.socket, domain: str, via: Operator) -> None:
        """See :meth:`eps.proxy.forwarding.Forwarder.forward`."""
        assert self._http is not None and self._context is not None, "nothing is forwarded before start"
        http = self._http
        try:
            await accept_tls(
                lambda: _Connection(http, domain, via, self._emit, self._keep_alive),
                sock,
                self._context,
                timeout=HANDSHAKE_SECONDS,
            )
        except TlsFailed as error:
            tls_failed(error, domain, via, self._emit)
        except asyncio.CancelledError:
            sock.close()
            self._emit(ended(TunnelOutcome.STOPPED, domain, via))
            raise

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request to its end; aiohttp calls this in a task of its own, and cancels it if the client goes away."""
        connection = request.protocol
        assert isinstance(connection, _Connection), "forward makes no others"
        connection.speaks()
        try:
            return await self._pass_on(request)
        except RequestPayloadError:
            return _failed(400, "the request's body can't be read", close=True)
        except Unreachable as error:
            self._emit(Notice(level=Level.ERROR, text=error.message, hint=error.hint))
            return _failed(502, "the server behind this proxy can't be reached")
        except TimeoutError:
            text = f"the internal server at {self._address} made no progress for {self._timeout:g} s"
            self._emit(Notice(level=Level.WARN, text=text, hint="see internal_endpoint.timeout"))
            return _failed(504, "the server behind this proxy did not answer in time")
        finally:
            connection.sent += request.writer.output_size

    # A request and its answer

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == hdrs.METH_CONNECT:
            return _failed(501, "this is no proxy that connects to other servers", close=True)
        url = inside_url(self._address, request)
        if url is None:
            return _failed(400, "the request has no path")
        if has_coding(request.headers):
            return _failed(501, "no transfer coding but chunked is known here")
        async with await self._ask(request, url) as answer:
            if answer.status != SWITCHING:
                return await self._stream(request, answer)
            return await self._tunnel(request, answer)

    async def _ask(self, request: web.BaseRequest, url: URL) -> aiohttp.ClientResponse:
        """Send the request inside, and wait until the answer begins.

        Raises:
            Unreachable: there is no answer.
            TimeoutError: there was no progress for too long.
            RequestPayloadError: the request's body is broken.
        """
        body = _Body(request, self._timeout) if request.body_exists else None
        session = self._session_for(request, body is not None)
        try:
            async with asyncio.timeout(self._timeout) as deadline:
                answer = await session.request(
                    request.method,
                    url,
                    headers=inside_headers(request),
                    data=body.parts(deadline) if body is not None else None,
                    allow_redirects=False,
                )
        except (aiohttp.ClientError, OSError) as error:
            broken = request.content.exception()
            if isinstance(broken, RequestPayloadError):
                raise broken from None
            if type(error) is TimeoutError:
                raise
            raise self._unreachable(error) from error
        finally:
            if body is not None:
                body.is_waited_for = False
        self._check(request, answer)
        return answer

    def _session_for(self, request: web.BaseRequest, has_body: bool) -> aiohttp.ClientSession:
        session = self._kept if not has_body and request.method in REPEATABLE else self._single
        if wants_websocket(request):
            session = self._websockets
        assert session is not None, "nothing is forwarded before start"
        return session

    def _check(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> None:
        """Raises Unreachable for an answer that can't be passed on."""
        trouble = ""
        if answer.status == SWITCHING and not wants_websocket(request):
            trouble = "it has changed the protocol, which nobody had asked for"
        elif has_coding(answer.headers):
            trouble = "its answer has a transfer coding that is not known here"
        if trouble:
            answer.close()
            raise Unreachable(f"the internal server at {self._address}: {trouble}", hint="it breaks HTTP's rules")

    def _unreachable(self, error: Exception) -> Unreachable:
        cause = getattr(error, "os_error", error)
        if isinstance(error, aiohttp.ClientResponseError):  # as text it quotes the request's URL, and the answer
            reason = f"its answer is no HTTP that can be read: {error.message.partition(chr(10))[0].rstrip(':')[:100]}"
        else:
            reason = explain(cause) if isinstance(cause, OSError) else str(error) or type(error).__name__
        return Unreachable(
            f"the internal server at {self._address}: {reason}",
            hint="check internal_endpoint.address, and that the server runs",
        )

    async def _stream(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass the answer on as it comes. What breaks off must look broken off, so the connection is cut then."""
        response = Answer(answer)
        ends_with_the_connection = request.version < HttpVersion11 and response.content_length is None  # RFC 9112, 6.3
        if ends_with_the_connection or loses_what_follows(request):
            response.force_close()
        try:
            async with asyncio.timeout(self._idle_timeout) as deadline:
                await response.prepare(request)
                async for part in answer.content.iter_any():
                    await response.write(part)
                    _prolong(deadline, self._idle_timeout)
                await response.write_eof()
        except (aiohttp.ClientPayloadError, TimeoutError) as error:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the internal server's answer broke off") from error
        return response

    # A WebSocket

    async def _tunnel(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """The internal server speaks WebSocket from here on: forward bytes, whatever they are, until a side ends."""
        loop = asyncio.get_running_loop()
        connection = answer.connection
        assert connection is not None and connection.protocol is not None, "aiohttp keeps one that changes protocol"
        inside = aiohttp.StreamReader(connection.protocol, TUNNEL_BYTES, loop=loop)
        connection.protocol.set_parser(_Feed(inside), inside)
        client = aiohttp.StreamReader(request.protocol, TUNNEL_BYTES, loop=loop)
        request.protocol.set_parser(_Feed(client))  # type: ignore[arg-type]  # it uses feed_data and feed_eof only
        await request.writer.write(switching_head(answer))
        try:
            await self._both_ways(request, client, inside, StreamWriter(connection.protocol, loop))
        except TimeoutError:
            assert isinstance(request.protocol, _Connection), "forward makes no others"
            request.protocol.outcome = TunnelOutcome.IDLE
            request.protocol.force_close()  # nothing but frames may follow, so nothing can be said any more
        return AlreadySent()

    async def _both_ways(
        self, request: web.BaseRequest, client: aiohttp.StreamReader, inside: aiohttp.StreamReader, to: StreamWriter
    ) -> None:
        async with asyncio.timeout(self._idle_timeout) as deadline:

            async def pump(source: aiohttp.StreamReader, sink: AbstractStreamWriter) -> None:
                while data := await source.readany():
                    await sink.write(data)
                    _prolong(deadline, self._idle_timeout)

            pumps = [asyncio.create_task(pump(client, to)), asyncio.create_task(pump(inside, request.writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in pumps:
                    task.cancel()
                ends = await asyncio.gather(*pumps, return_exceptions=True)
        failure = next((end for end in ends if isinstance(end, Exception)), None)
        if failure is not None:
            raise ConnectionResetError("the WebSocket broke off") from failure


def tls_failed(error: EpsError, domain: str, via: Operator, emit: Emit) -> None:
    """Tell that TLS with a client did not come about."""
    emit(Refused(listener="passthrough", why="tls", source=via, detail=f"{domain}: {error.message}"))
    emit(ended(TunnelOutcome.NO_TLS, domain, via))


class _Body:
    """A request's body on its way inside. While it moves, the time for the answer does not run."""

    def __init__(self, request: web.BaseRequest, seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self.is_waited_for = True

    async def parts(self, deadline: asyncio.Timeout) -> AsyncIterator[bytes]:
        request = self._request
        if not request.content.is_eof() and not request.content.total_bytes:
            yield b""  # else aiohttp keeps the head back until the body comes, and the client may wait for an answer
        await tell_to_go_on(request)
        async for part in request.content.iter_any():
            yield part
            if self.is_waited_for:  # the answer may begin before the body has ended
                _prolong(deadline, self._seconds)


class _Feed:
    """Takes from aiohttp what comes on a connection that no longer speaks HTTP."""

    def __init__(self, reader: aiohttp.StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


class _Connection(HttpConnection):
    """One client's connection: ends it if it asks for nothing, and reports its end."""

    def __init__(self, http: web.Server, domain: str, via: Operator, emit: Emit, keep_alive: float) -> None:
        super().__init__(http, keep_alive=keep_alive, max_line=MAX_HEADER_LINE)
        self._domain = domain
        self._via = via
        self._emit = emit
        self._patience = keep_alive
        self._began = 0.0
        self._silence: asyncio.TimerHandle | None = None
        self._received = 0
        self.sent = 0
        self.outcome: TunnelOutcome | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        self._silence = loop.call_later(self._patience, self.force_close)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)

    def speaks(self) -> None:
        """The first request has come; from here on aiohttp ends the connection when it is unused."""
        if self._silence is not None:
            self._silence.cancel()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._silence is not None:
            self._silence.cancel()
        outcome = self.outcome or (TunnelOutcome.FINISHED if exc is None else TunnelOutcome.RESET)
        seconds = asyncio.get_running_loop().time() - self._began
        self._emit(ended(outcome, self._domain, self._via, seconds, self.sent, self._received))

    def trouble(self, status: int, error: BaseException | None) -> web.Response:
        if status < 500:
            return _failed(status, "this is no HTTP request that can be read")
        text = f"{self._domain}: an answer of the internal server could not be passed on ({type(error).__name__})"
        self._emit(Notice(level=Level.ERROR, text=text, hint="does it break HTTP's rules, in its headers perhaps?"))
        return _failed(502, "what the server behind this proxy answered can't be passed on")


def _failed(status: int, text: str, *, close: bool = False) -> web.Response:
    answer = Plain(status=status, text=f"{status}: {text}\n")
    if close:
        answer.force_close()
    return answer


def _prolong(deadline: asyncio.Timeout, seconds: float) -> None:
    deadline.reschedule(asyncio.get_running_loop().time() + seconds)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_NOT_OURS,
        timeout=aiohttp.ClientTimeout(total=None),  # deadlines are set where it is known what is waited for
        auto_decompress=False,
        max_line_size=MAX_HEADER_LINE,
        max_field_size=MAX_HEADER_LINE,
        read_bufsize=TUNNEL_BYTES,
    )

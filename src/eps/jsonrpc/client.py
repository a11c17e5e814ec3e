"""JSON-RPC over HTTP(S): the client (PROTOCOL.md section 5).

    call → _post → a connection (http1.client): kept, or new: TCP, HTTP proxy, TLS
                 → request and answer on it (http1.exchange)
       → what the answer says (jsonrpc.answers)

What went wrong is told apart by one fact: whether a byte of the request was handed to the socket. Kept connections are
looked at in that very moment, and one that the other side has closed meanwhile is left for the next. After that moment
nothing is ever repeated.
"""

import asyncio
import secrets
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import h11

from eps.core.defaults import CALL_SECONDS
from eps.core.jsonrpc_text import Load, render_request
from eps.core.limits import MAX_MESSAGE_BYTES, WRITE_BYTES
from eps.core.message import Response
from eps.core.names import Object
from eps.core.packed import coding_of
from eps.core.told_seconds import KEEP_ALIVE_SECONDS, TIMEOUT, kept_for, render_timeout
from eps.errors import AnswerTooLarge, DeliveryError, EpsError, NotSent, OutcomeUnknown, Side, TlsFailed, Unreachable
from eps.http1.client import Connection, Connections, open_connection
from eps.http1.exchange import Exchange
from eps.http1.heads import no_http
from eps.jsonrpc.answers import Answer, AnswerReader, Tolerate
from eps.jsonrpc.callee import Callee, host_port, http_url, request_head
from eps.jsonrpc.hour import HourQuestion, hour_there, opened, trusting
from eps.reasons import TABLE, Reason
from eps.transport.aside import written
from eps.transport.dial import connect
from eps.transport.handshakes import is_of_dates, plain_reason, reason_of_handshake
from eps.transport.own_clock import OWN_CLOCK
from eps.transport.tls import TlsFiles, client_context

CONNECT_SECONDS = 10.0
"""For name, TCP and TLS together; leaves time to say so before the caller's own deadline."""

MAX_CONNECTIONS = 512
"""To one endpoint; further calls wait for one to become free."""

MAX_VALUES = 1_000_000
"""Of one answer, where the caller sets no other limit; they take 250 MiB at most."""

_BROKEN_OFF = "the connection broke off before an answer came"
_ENDPOINT_HINT = "check the endpoint, and that the server runs"
_TLS_HINT = "check the tls settings and names"
_WITHOUT_BODY = (204, 304)
_MAYBE = "it may have been executed: find out before repeating it"
D = TypeVar("D", bound=DeliveryError)

_OURS = frozenset(
    {Reason.OWN_CA, Reason.OWN_CLOCK, Reason.HTTP_PROXY_DOWN, Reason.HTTP_PROXY_REFUSES, Reason.ADDRESS_WRONG}
)
"""Reasons that lie with us, whoever is called: the endpoint stands in our settings, and our DNS knows its name."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Of calls to one endpoint.

    Attributes:
        max_answer: bytes of an answer.
        max_values: of a large answer; counted before it is parsed.
        timeout: seconds for a call, where ``call`` isn't given a shorter or longer one.
        keep_alive: seconds that an unused connection is kept where the server doesn't say (``Keep-Alive: timeout``).
        max_connections: calls at once; further ones wait for one to become free.
        connect: seconds for name, TCP and TLS together.
    """

    max_answer: int = MAX_MESSAGE_BYTES
    max_values: int = MAX_VALUES
    timeout: float = CALL_SECONDS
    keep_alive: float = KEEP_ALIVE_SECONDS
    max_connections: int = MAX_CONNECTIONS
    connect: float = CONNECT_SECONDS


class JsonRpcClient:
    """Calls one endpoint. Connections are kept and shared by concurrent calls; none is opened before the first call.

    Args:
        endpoint: ``http://`` or ``https://`` URL with the path.
        tls: certificates for https; None: the system's authorities and no client certificate.
        server_name: the name that the server's certificate must carry and SNI, where it isn't the URL's host.
        proxy_url: an HTTP proxy (``http://``): CONNECT for https, absolute URLs for http.
        callee: how errors speak of it.
        limits: see there.
        load: reads the answers' JSON; None: only what can travel inside the network.

    Attributes:
        label: who is called, and where if that may be told, as messages name it; without a password.

    Raises:
        StartError: the endpoint is no such URL, or a certificate file is missing or wrong.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        tls: TlsFiles | None,
        server_name: str | None = None,
        proxy_url: str | None = None,
        callee: Callee | None = None,
        limits: ClientLimits | None = None,
        load: Load | None = None,
    ) -> None:
        callee, limits = callee or Callee(), limits or ClientLimits()
        self._url = http_url(endpoint, "endpoint")
        self._proxy = http_url(proxy_url, "proxy_url", ("http",)) if proxy_url else None
        where = str(self._url.with_user(None))
        self.label = callee.label(where)
        through = f", through {host_port(self._proxy)}" if self._proxy is not None else ""
        self._place = "" if callee.tells_url else f"at {where}{through}"
        self._context: ssl.SSLContext | None = None
        if self._url.scheme == "https":
            self._context = client_context(tls) if tls is not None else ssl.create_default_context()
            server_name = server_name or (tls.server_name if tls is not None else None) or self._url.host
        self._server_name = server_name
        self._limits = limits
        self._side = callee.side
        self._tells_hour = callee.tells_hour
        self._hour = HourQuestion(self._compare_clocks)
        self._reasons = callee.reasons or {}
        self._reader = AnswerReader(self.label, limits.max_answer, limits.max_values, load)
        self._connections = Connections(self._dial, limit=limits.max_connections, keep_alive=limits.keep_alive)
        self._head = request_head(self._url, self._proxy)
        self._keep_alive_header = ""
        self._successor: JsonRpcClient | None = None
        self._before: list[Connections] = []
        self._closed = False

    async def call(
        self,
        method: str,
        params: Object,
        *,
        request_id: str = "",
        timeout: float | None = None,
        tolerate: Tolerate | None = None,
        tell_timeout: bool = False,
    ) -> Response:
        """Call and wait for the answer. An error that the other side answers is a ``Response`` with ``error``.

        Args:
            request_id: sent as it is; "" for a random one. The response's ``id`` repeats what was sent.
            timeout: seconds for everything, from connecting to the answer's last byte.
            tolerate: take also answers that follow JSON-RPC loosely (``core.loose_answers``), or are compressed though
                nobody asked for that, and call this with each looseness; None: such are no answers.
            tell_timeout: say in ``EPS-Timeout`` how long we wait: an EPS server takes that for the caller's wish.

        Raises:
            Unreachable, TlsFailed, NotSent: no byte of the request was sent.
            AnswerRefused: it was executed, but the answer can't travel (too deep, an integer beyond ±2^53).
            OutcomeUnknown: it was sent, and no (whole, valid) answer came.
            DeliveryError: the answer is a failure that is no JSON-RPC answer, e.g. an HTML page with status 404.
            InternalError: ``params`` can't be written as JSON.
        """
        if self._successor is not None:
            return await self._successor.call(
                method, params, request_id=request_id, timeout=timeout, tolerate=tolerate, tell_timeout=tell_timeout
            )
        request_id = request_id or secrets.token_hex(16)
        if self._closed:
            raise self._error(NotSent, "is not called any more: this client is closed", "")
        seconds = self._limits.timeout if timeout is None else timeout
        until, sent = asyncio.get_running_loop().time() + seconds, _Sent()
        try:
            try:
                async with asyncio.timeout_at(until):
                    body = await written(partial(render_request, method, params, request_id), params)
                    answer = await self._post(body, sent, until if tell_timeout else None)
            except TimeoutError:
                raise self._too_slow(seconds, sent) from None
            except TlsFailed as error:
                raise await self._beside_the_clock(error, until) from error.__cause__
            return await self._reader.read(answer, request_id, tolerate)
        except DeliveryError as error:
            raise self._fit_to_tell(error) from error.__cause__

    @property
    def kept_for(self) -> float:
        """Seconds for which an unused connection is kept, as the server said last."""
        return self._successor.kept_for if self._successor is not None else self._connections.keep_alive

    def become(self, other: "JsonRpcClient") -> None:
        """Make all further calls as ``other`` does, which belongs to this one from now on.

        Calls in progress come to their end on the connections that they have.
        """
        before = self._successor or self
        self._successor, self.label = other, other.label
        before._connections.retire()
        before._hour.give_up()
        self._before = [kept for kept in (*self._before, before._connections) if kept.in_use]

    async def close(self) -> None:
        """End all connections; calls in flight fail."""
        self._closed = True
        if self._successor is not None:
            await self._successor.close()
        await self._hour.close()
        for connections in (*self._before, self._connections):
            await connections.close()

    # One exchange

    async def _post(self, body: bytes, sent: "_Sent", until: float | None) -> Answer:
        connection = await self._connections.take()
        exchange: Exchange | None = None
        writing: asyncio.Task[None] | None = None
        try:
            if connection.fresh and not connection.is_open and not connection.has_unread:
                raise ConnectionResetError("closed before anything was sent")
            exchange = Exchange.as_client(connection)
            sent.at_all, sent.on_a_fresh_one = True, connection.fresh
            writing = self._write(exchange, connection, body, until)
            return await self._answer(exchange)
        except (OSError, h11.RemoteProtocolError) as error:
            is_no_http = isinstance(error, h11.RemoteProtocolError) and exchange is not None and not exchange.at_end
            raise self._failure(error, sent, no_http(error) if is_no_http else _BROKEN_OFF) from error
        finally:
            if writing is not None:
                writing.cancel()
            self._connections.give_back(connection, exchange)

    def _write(
        self, exchange: Exchange, connection: Connection, body: bytes, until: float | None
    ) -> asyncio.Task[None] | None:
        """Send the request: at once, or, if it is large, in a task.

        Args:
            until: what its server is told of how long we wait, by the event loop's clock; None: nothing.
        """
        told = b"" if until is None else _told(until - asyncio.get_running_loop().time())
        head = b"%b%d\r\n%b\r\n" % (self._head, len(body), told)
        if len(body) > WRITE_BYTES:
            exchange.send_ready(head, is_last=False)
            return asyncio.create_task(_write_large(exchange, connection, body), name="JSON-RPC request")
        exchange.send_ready(head + body, is_last=True)
        connection.acknowledge_soon()
        return None

    async def _answer(self, exchange: Exchange) -> Answer:
        """It; more than ``max_answer`` is not kept."""
        plain = await exchange.plain()
        if plain is not None:
            if len(plain.body) > self._limits.max_answer:
                raise self._too_much(len(plain.body))
            self._learn(plain.fields)
            return Answer(plain.status, plain.body, coding_of(plain.fields.get(b"content-encoding", b"")))
        head = await exchange.next()
        while not isinstance(head, h11.Response):  # 1xx: the answer is still to come (RFC 9110, section 15.2)
            head = await exchange.next()
        fields = {name.lower(): value for name, value in head.headers.raw_items()}
        self._learn(fields)
        size = int(fields.get(b"content-length", b"0"))
        if size > self._limits.max_answer and head.status_code not in _WITHOUT_BODY:
            raise self._too_much(size)
        parts: list[bytes] = []
        size = 0
        while not exchange.is_read:
            for event in await exchange.batch():
                if isinstance(event, h11.Data):
                    parts.append(event.data)
                    size += len(event.data)
            if size > self._limits.max_answer:
                raise self._too_much(size)
        body = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        return Answer(head.status_code, body, coding_of(fields.get(b"content-encoding", b"")))

    def _learn(self, fields: dict[bytes, bytes]) -> None:
        """What an answer's head says of its server."""
        self._learn_keep_alive(fields.get(b"keep-alive", b"").decode("latin-1"))
        if self._tells_hour:
            OWN_CLOCK.compare(self.label, fields.get(b"date", b"").decode("latin-1"))

    def _too_much(self, size: int) -> AnswerTooLarge:
        text = f"answered with {size} bytes or more, the limit is {self._limits.max_answer}"
        return self._error(AnswerTooLarge, text, "ask for less", Reason.BAD_ANSWER)

    # A new connection

    async def _dial(self) -> Connection:
        """TCP, perhaps through an HTTP proxy that is asked to CONNECT, and TLS.

        Raises:
            Unreachable: no connection.
            TlsFailed: no TLS on it.
        """
        try:
            async with asyncio.timeout(self._limits.connect):
                sock = await self._connected()
                return await open_connection(sock, self._context, self._server_name, self._limits.connect)
        except Unreachable as error:
            if self._proxy is None:
                error.hint = _ENDPOINT_HINT
            raise
        except OSError as error:
            if type(error) is TimeoutError:
                text = f"no connection within {self._limits.connect:g} s"
                raise self._error(Unreachable, text, "check address and firewalls") from None
            raise self._no_tls(error) from error

    def _no_tls(self, error: OSError) -> TlsFailed:
        text, reason = f"no TLS connection: {plain_reason(error)}", reason_of_handshake(error)
        hint = TABLE[reason].do if reason in (Reason.OWN_CA, Reason.OWN_CLOCK) else _TLS_HINT
        return self._error(TlsFailed, text, hint, reason)

    async def _beside_the_clock(self, error: TlsFailed, until: float) -> TlsFailed:
        """The same error; if it is about a date, with what time it is there, as far as that is known in time.

        Args:
            until: when whoever waits for the error waits no more, by the event loop's clock.
        """
        cause = error.__cause__
        if not self._tells_hour or not isinstance(cause, OSError) or not is_of_dates(cause):
            return error
        await self._hour.ask(until)
        return self._no_tls(cause)

    async def _compare_clocks(self) -> None:
        """Ask what time it is there, although TLS could not verify who says it: for words alone."""
        context = trusting(TlsFiles())
        with suppress(EpsError, OSError, ValueError, TypeError):
            reader, writer = await opened(await self._connected(), context, self._server_name or "")
            date = await hour_there(reader, writer, host_port(self._url), self._url.raw_path_qs)
            OWN_CLOCK.compare(self.label, date, verified=False)

    async def _connected(self) -> socket.socket:
        if self._proxy is not None and self._context is None:  # it reads the URL
            proxy = host_port(self._proxy)
            return await connect(proxy, 2 * CONNECT_SECONDS, label=f"{self.label}: the HTTP proxy {proxy}")
        proxy_url = str(self._proxy) if self._proxy is not None else None
        return await connect(host_port(self._url), 2 * CONNECT_SECONDS, label=self.label, proxy_url=proxy_url)

    def _learn_keep_alive(self, header: str) -> None:
        """Keep connections a second less than the server says that it does (RFC 9112, appendix C.2.2)."""
        if header == self._keep_alive_header:
            return  # the same as last time, mostly
        self._keep_alive_header = header
        if self._limits.keep_alive <= 0:
            return
        self._connections.keep_alive = kept_for(header, self._limits.keep_alive)

    def _failure(self, error: Exception, sent: "_Sent", how: str) -> DeliveryError:
        """What an exchange that did not come to its end means for the caller; ``how`` it ended."""
        tls = _ssl_error(error)
        if tls and sent.on_a_fresh_one and _is_refusal(tls):
            return self._error(TlsFailed, f"no TLS connection: {plain_reason(tls)}", _TLS_HINT)
        if sent.at_all:
            detail = f" ({tls.reason or tls})" if tls else ""
            return self._error(OutcomeUnknown, f"was sent the call; {how}{detail}", _MAYBE, Reason.BROKE_OFF)
        return self._error(Unreachable, str(error), _ENDPOINT_HINT)

    def _too_slow(self, seconds: float, sent: "_Sent") -> DeliveryError:
        if sent.at_all:
            return self._error(OutcomeUnknown, f"no answer within {seconds:g} s", _MAYBE, Reason.NO_ANSWER)
        text = f"no connection within {seconds:g} s"
        return self._error(Unreachable, text, "check the endpoint and the firewalls", Reason.SILENT)

    def _fit_to_tell(self, error: DeliveryError) -> DeliveryError:
        """``error`` with our view of its side, and its place told to whom it concerns."""
        error.side = Side.OURS if error.reason in _OURS else self._side
        error.reason = self._reasons.get(error.reason, error.reason)
        error.place = self._place
        if self._place and self._proxy is not None:
            error.message = error.message.replace(f" {host_port(self._proxy)}", "")
        return error

    def _error(self, kind: type[D], text: str, hint: str, reason: Reason | None = None) -> D:
        return kind(f"{self.label}: {text}", hint=hint, side=self._side, reason=reason)


def _told(left: float) -> bytes:
    return f"{TIMEOUT}: {render_timeout(left)}\r\n".encode()


@dataclass(slots=True)
class _Sent:
    """How far a call has got.

    Attributes:
        at_all: bytes were handed to the socket.
        on_a_fresh_one: on a connection that had carried nothing before.
    """

    at_all: bool = False
    on_a_fresh_one: bool = False


async def _write_large(exchange: Exchange, connection: Connection, body: bytes) -> None:
    with suppress(OSError):  # the other side takes no more: its answer, or its end, says why
        for start in range(0, len(body), WRITE_BYTES):
            exchange.send_ready(body[start : start + WRITE_BYTES], is_last=start + WRITE_BYTES >= len(body))
            await connection.drain()
        connection.acknowledge_soon()


def _ssl_error(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS failure behind a connection's end, if there is one."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__
    return error


def _is_refusal(error: ssl.SSLError) -> bool:
    """Whether the server refused our certificate: in TLS 1.3 that arrives after we have sent our first bytes."""
    return "CERTIFICATE" in (error.reason or "") or "UNKNOWN_CA" in (error.reason or "")

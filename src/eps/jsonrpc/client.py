"""JSON-RPC over HTTP(S): the client (PROTOCOL.md section 5).

What went wrong is told apart by one fact: whether a byte of the request was handed to the socket. aiohttp sends headers
and body in one write, in a task of its own; the body is an object of ours (:class:`_Body`) that looks at the connection
at that very moment. A kept connection that the other side has closed meanwhile is noticed there, and the call goes out
on another one. After that moment nothing is ever repeated.
"""

import asyncio
import re
import secrets
import select
import ssl
from typing import TypeVar
from weakref import WeakSet

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from aiohttp.payload import Payload
from yarl import URL

from eps.core.json_steps import load_in_steps
from eps.core.jsonrpc_text import (
    EXPECTED_CONTENT_TYPE,
    Load,
    no_answer,
    parse_response,
    read_answer,
    render_request,
)
from eps.core.limits import MAX_MESSAGE_BYTES
from eps.core.message import Response
from eps.core.names import Object
from eps.errors import BadRequest, DeliveryError, NotSent, OutcomeUnknown, Side, StartError, TlsFailed, Unreachable
from eps.transport.dial import explain
from eps.transport.tls import TlsFiles, client_context, plain_reason

TIMEOUT_SECONDS = 30.0
"""Of a whole call, where the caller sets none: what an EPS server gives a call by default (``call_timeout``)."""

CONNECT_SECONDS = 10.0
"""For name, TCP and TLS together; leaves time to say so before the caller's own deadline."""

KEEP_ALIVE_SECONDS = 1.5
"""How long an unused connection is kept where the server doesn't say: below the shortest default of common servers
(gunicorn's 2 s), so that ours ends first."""

LONGEST_KEEP_ALIVE = 60.0
MAX_CONNECTIONS = 512
"""To one endpoint; further calls wait for one to become free."""

STALE_ATTEMPTS = 8
"""Kept connections that may turn out to be closed before a call gives up; the event loop drops the others meanwhile."""

WRITE_BYTES = 256 * 1024
"""A body is handed to the socket in pieces of this size, each waiting for the last to drain."""

LARGE_ANSWER = 1024 * 1024
"""From this size on an answer is parsed in steps: at once it would take more than some 10 ms."""

_TIMEOUT_PARAMETER = re.compile(r"timeout\s*=\s*(\d{1,6})", re.IGNORECASE)
_BROKEN_OFF = "the connection broke off before an answer came"
_MAYBE = "it may have been executed: find out before repeating it"
D = TypeVar("D", bound=DeliveryError)


class JsonRpcClient:
    """Calls one endpoint. Connections are kept and shared by concurrent calls; none is opened before the first call.

    Args:
        endpoint: ``http://`` or ``https://`` URL with the path.
        tls: certificates for https; None: the system's authorities and no client certificate.
        server_name: the name that the server's certificate must carry and SNI, where it isn't the URL's host.
        proxy_url: an HTTP proxy: CONNECT for https, absolute URLs for http.
        max_answer: bytes of an answer.
        timeout: seconds for a call, where ``call`` isn't given a shorter or longer one.
        keep_alive: seconds that an unused connection is kept where the server doesn't say (``Keep-Alive: timeout``).
        side: whose side failures are on, for ``error.data``: the application's is ours, a directory's the directory's.
        called: what is behind the endpoint, for messages (``the service directory``).
        load: reads the answers' JSON; None: only what can travel inside the network.

    Attributes:
        label: who is called and where, as messages name it; without a password.

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
        max_answer: int = MAX_MESSAGE_BYTES,
        timeout: float = TIMEOUT_SECONDS,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        side: Side = Side.PEER,
        called: str = "",
        load: Load | None = None,
    ) -> None:
        self._url = _http_url(endpoint, "endpoint")
        self._proxy = _http_url(proxy_url, "proxy_url") if proxy_url else None
        self.label = f"{called} at " * bool(called) + str(self._url.with_user(None))
        self._context: ssl.SSLContext | bool = True
        if tls is not None and self._url.scheme == "https":
            self._context = client_context(tls)
            server_name = server_name or tls.server_name
        self._server_name = server_name
        self._max_answer = max_answer
        self._timeout = timeout
        self._keep_alive = keep_alive
        self._side = side
        self._load = load
        self._session: aiohttp.ClientSession | None = None
        self._connector: aiohttp.TCPConnector | None = None
        self._used: WeakSet[object] = WeakSet()
        self._keep_alive_header = ""
        self._closed = False

    async def call(
        self, method: str, params: Object, *, request_id: str = "", timeout: float | None = None
    ) -> Response:
        """Call and wait for the answer. An error that the other side answers is a ``Response`` with ``error``.

        Args:
            request_id: sent as it is; "" for a random one. The response's ``id`` repeats what was sent.
            timeout: seconds for everything, from connecting to the answer's last byte.

        Raises:
            Unreachable, TlsFailed, NotSent: no byte of the request was sent.
            OutcomeUnknown: it was sent, and no (whole, valid) answer came.
            DeliveryError: the answer is a failure that is no JSON-RPC answer, e.g. an HTML page with status 404.
            InternalError: ``params`` can't be written as JSON.
        """
        request_id = request_id or secrets.token_hex(16)
        body = render_request(method, params, request_id)
        seconds = self._timeout if timeout is None else timeout
        exchange = _Body(body, self._used)
        try:
            async with asyncio.timeout(seconds):
                for _ in range(STALE_ATTEMPTS):
                    exchange = _Body(body, self._used)
                    try:
                        status, answer = await self._post(exchange)
                        break
                    except (aiohttp.ClientError, OSError) as error:
                        if not exchange.stale:
                            raise self._failure(error, exchange) from error
                else:
                    raise self._error(NotSent, "closes its kept connections faster than they are used", "")
        except TimeoutError:
            raise self._too_slow(seconds, exchange) from None
        try:
            return await self._parsed(answer, request_id, status)
        except DeliveryError as error:
            error.side = self._side
            raise

    async def close(self) -> None:
        """End all connections; calls in flight fail."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: "_Body") -> tuple[int, bytes]:
        session = self._ready_session()
        assert self._connector is not None
        may_be_kept = bool(self._connector._conns)  # aiohttp tells nobody which connection it takes
        async with session.post(
            self._url,
            data=body,
            proxy=self._proxy,
            ssl=self._context,
            server_hostname=self._server_name,
            allow_redirects=False,
        ) as answer:
            if not body.sent and may_be_kept:  # a word of farewell, perhaps, that waited there for whoever comes next
                body.stale = True
                answer.close()
                raise ConnectionResetError("an answer came before the call")
            self._learn_keep_alive(answer.headers.get("Keep-Alive", ""))
            return answer.status, await self._read(answer)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        """The answer's body; more than ``max_answer`` is not kept."""
        parts: list[bytes] = []
        size = answer.content_length or 0
        if size <= self._max_answer:
            size = 0
            async for part in answer.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > self._max_answer:
                    break
        if size > self._max_answer:
            answer.close()
            raise self._error(
                OutcomeUnknown, f"answered with {size} bytes or more, the limit is {self._max_answer}", "ask for less"
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _parsed(self, answer: bytes, request_id: str, status: int) -> Response:
        if len(answer) <= LARGE_ANSWER:
            return parse_response(
                answer, request_id, source=self.label, status=status, max_bytes=self._max_answer, load=self._load
            )
        steps = load_in_steps(answer, max_bytes=self._max_answer, load=self._load)
        try:
            while True:
                next(steps)
                await asyncio.sleep(0)  # other work gets its turn
        except StopIteration as end:
            return read_answer(end.value, answer, request_id, source=self.label, status=status)
        except BadRequest as refused:
            no_answer(answer, self.label, status, refused.message)

    def _ready_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise self._error(NotSent, "is not called any more: this client is closed", "")
        if self._session is None:
            keeping = {"keepalive_timeout": self._keep_alive} if self._keep_alive > 0 else {"force_close": True}
            self._connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, **keeping)
            self._session = aiohttp.ClientSession(
                connector=self._connector,
                headers={hdrs.ACCEPT: EXPECTED_CONTENT_TYPE, hdrs.ACCEPT_ENCODING: "identity"},
                skip_auto_headers=[hdrs.USER_AGENT],
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
            )
        return self._session

    def _learn_keep_alive(self, header: str) -> None:
        """Keep connections a second less than the server says that it does (RFC 9112, appendix C.2.2)."""
        if header == self._keep_alive_header:
            return  # the same as last time, mostly
        self._keep_alive_header = header
        if self._keep_alive <= 0 or self._connector is None:
            return
        match = _TIMEOUT_PARAMETER.search(header)
        seconds = float(match[1]) if match else 0.0
        keep = min(max(seconds - 1.0, seconds / 2), LONGEST_KEEP_ALIVE) if match else self._keep_alive
        # aiohttp has no public way to change it later; every connection here is to the same server.
        self._connector._keepalive_timeout = keep

    def _failure(self, error: Exception, body: "_Body") -> DeliveryError:
        """What a failed attempt means for the caller."""
        tls = _ssl_error(error)
        if body.sent and not (tls and body.fresh and _is_refusal(tls)):
            detail = f" ({tls.reason or tls})" if tls else ""
            return self._error(OutcomeUnknown, f"was sent the call; {_BROKEN_OFF}{detail}", _MAYBE)
        if tls:
            return self._error(TlsFailed, f"no TLS connection: {plain_reason(tls)}", "check the tls settings and names")
        if isinstance(error, aiohttp.ClientHttpProxyError):
            text = f"the HTTP proxy answered {error.status} {error.message[:80]}"
            return self._error(Unreachable, text, "check proxy_url and what the proxy allows")
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            text = f"the HTTP proxy can't be reached: {explain(error.os_error)}"
            return self._error(Unreachable, text, "check proxy_url, and that the proxy runs")
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return self._error(
                Unreachable, f"no connection within {CONNECT_SECONDS:.0f} s", "check address and firewalls"
            )
        if isinstance(error, aiohttp.ClientResponseError):
            # aiohttp's own text quotes the URL, with the HTTP proxy's password, and what was received.
            who = "the HTTP proxy answers" if self._proxy else "it answers"
            return self._error(Unreachable, f"{who} what can't be read as HTTP", "check proxy_url and the endpoint")
        reason = explain(error.os_error) if isinstance(error, aiohttp.ClientConnectorError) else str(error)
        return self._error(Unreachable, reason or type(error).__name__, "check the endpoint, and that the server runs")

    def _too_slow(self, seconds: float, body: "_Body") -> DeliveryError:
        if body.sent:
            return self._error(OutcomeUnknown, f"no answer within {seconds:g} s", _MAYBE)
        return self._error(Unreachable, f"no connection within {seconds:g} s", "check the endpoint and the firewalls")

    def _error(self, kind: type[D], text: str, hint: str) -> D:
        return kind(f"{self.label}: {text}", hint=hint, side=self._side)


class _Body(Payload):
    """A request's body, which knows whether it was sent.

    Attributes:
        sent: bytes were handed to the socket.
        stale: the (kept) connection had been closed by the other side; nothing was sent.
        fresh: the connection was new.
    """

    _autoclose = True  # nothing to close but memory

    def __init__(self, body: bytes, used: WeakSet[object]) -> None:
        super().__init__(body, content_type=EXPECTED_CONTENT_TYPE)
        self._size = len(body)
        self._used = used
        self.sent = False
        self.stale = False
        self.fresh = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        assert isinstance(writer, StreamWriter)
        self.fresh = writer.protocol not in self._used
        if _is_closed(writer.transport, self.fresh):
            self.stale = not self.fresh
            raise ConnectionResetError("closed before anything was sent")
        if self.fresh:
            self._used.add(writer.protocol)
        self.sent = True
        for start in range(0, len(self._value), WRITE_BYTES):
            await writer.write(self._value[start : start + WRITE_BYTES])


def _is_closed(transport: asyncio.Transport | None, fresh: bool) -> bool:
    """Whether the other side has ended the connection, though the event loop may not have noticed yet.

    A kept connection has nothing to be read: whatever there is is an end, or an answer to nothing. A fresh one may
    have TLS tickets waiting.
    """
    if transport is None or transport.is_closing():
        return True
    if fresh:
        return False
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _ssl_error(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS failure behind an exception of aiohttp's, if there is one."""
    for _ in range(8):  # chains are short; a bound costs nothing
        if error is None:
            return None
        # aiohttp's own exceptions can be SSLErrors, too, but empty ones.
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
        if isinstance(inner, ssl.SSLError):
            return inner
        error = error.__cause__ or error.__context__
    return None


def _is_refusal(error: ssl.SSLError) -> bool:
    """Whether the server refused our certificate: in TLS 1.3 that arrives after we have sent our first bytes."""
    return "CERTIFICATE" in (error.reason or "") or "UNKNOWN_CA" in (error.reason or "")


def _http_url(text: str, setting: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise StartError(
            f"{setting}: {text!r} is no http:// or https:// URL", hint="write it like https://host:port/jsonrpc"
        )
    return url

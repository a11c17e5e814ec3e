"""One connection of the JSON-RPC server, and the answers that leave on it: what it has of aiohttp's classes."""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.web_protocol import RequestHandler

from eps.core.certificate import fingerprint
from eps.core.jsonrpc_text import render_response
from eps.core.limits import WRITE_BYTES
from eps.core.told import error_response
from eps.errors import EpsError, InternalError, NotJson, TlsFailed
from eps.jsonrpc.aiohttp_parts import OwnFields
from eps.jsonrpc.callers import Caller
from eps.jsonrpc.http_connection import HttpConnection
from eps.transport.arrivals import Arrival
from eps.transport.tls import certificate_names, peer_certificate

KEEP_ALIVE_SECONDS = 75.0
"""An idle connection is kept so long (nginx's default), and headers may take so long to arrive."""

MAX_HEADER_LINE = 8190
"""aiohttp's and Apache's default."""

_JSON_TYPE = "application/json; charset=utf-8"
_KEEP_ALIVE = f"timeout={KEEP_ALIVE_SECONDS:.0f}"

_USUAL = {
    status: (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {_JSON_TYPE}\r\nContent-Length: %d\r\nDate: %b\r\n"
        f"Keep-Alive: {_KEEP_ALIVE}\r\n\r\n%b"
    ).encode()
    for status, reason in ((200, "OK"), (400, "Bad Request"))
}
"""Whole answers, but for length, date and body."""

OnEnd = Callable[[BaseException | None], None]
"""Called when a connection has ended; with an exception if it broke off."""


class _Nameless(OwnFields):
    """An HTTP answer without aiohttp's name in it."""

    def finish_fields(self) -> None:
        self.headers.popall(hdrs.SERVER, None)
        if self.headers.get(hdrs.CONNECTION) != "close":
            self.headers["Keep-Alive"] = _KEEP_ALIVE


class HttpAnswer(_Nameless, web.Response):
    """One whose body is sent with its headers."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        super().__init__(status=status, body=body, headers=headers)
        if body:
            self.headers[hdrs.CONTENT_TYPE] = _JSON_TYPE


class Reply(NamedTuple):
    """What a request is to be answered with.

    Attributes:
        headers: besides those of every answer.
    """

    status: int
    body: bytes
    headers: dict[str, str]


class _Sent(web.StreamResponse):
    """Stands for an answer that was sent past aiohttp, which asks it whether the connection goes on."""

    keep_alive = True

    async def prepare(self, request: web.BaseRequest) -> None:
        """It is sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """All of it."""


_SENT = _Sent()


def send_usual(request: web.BaseRequest, reply: Reply) -> web.StreamResponse | None:
    """Send a small answer to a usual request; None, and nothing is sent, if there is anything special about them.

    aiohttp makes twelve calls for its own flexible headers: a tenth of the work for a small call.
    """
    transport = request.transport
    if (
        reply.headers
        or reply.status not in _USUAL
        or request.method != hdrs.METH_POST
        or request.version != HttpVersion11
        or not request.keep_alive
        or transport is None
    ):
        return None
    length = len(reply.body)
    transport.write(_USUAL[reply.status] % (length, _date(int(time.time())), reply.body))
    return _SENT


@lru_cache(1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


async def send_answer(request: web.BaseRequest, answer: HttpAnswer) -> web.StreamResponse:
    """Send an answer; a large one in pieces, since encrypting 10 MB at once would hold up everything for 50 ms."""
    body = answer.body
    if not isinstance(body, bytes) or len(body) <= WRITE_BYTES:
        await answer.prepare(request)
        await answer.write_eof()
        return answer
    pieces = _Nameless(status=answer.status, headers=answer.headers)
    if answer.keep_alive is False:
        pieces.force_close()
    pieces.content_length = len(body)
    await pieces.prepare(request)
    for start in range(0, len(body), WRITE_BYTES):
        await pieces.write(body[start : start + WRITE_BYTES])
    await pieces.write_eof()
    return pieces


class ServerConnection(HttpConnection):
    """One connection; adds who is at its other end, and answers broken HTTP as JSON-RPC."""

    arrival: Arrival | None = None
    on_end: OnEnd | None = None
    generation = 0

    def settle(self) -> None:
        """Its first request has come."""
        if self.arrival is not None:
            self.arrival.settle()
            self.arrival = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.settle()
        if self.on_end is not None:
            self.on_end(exc)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.caller = caller_at(transport.get_extra_info("ssl_object"))
        peer = transport.get_extra_info("peername")
        self.caller.who = self.caller.fingerprint or ("address", str(peer[0]) if peer else "")
        super().connection_made(transport)

    def trouble(self, status: int, error: BaseException | None) -> web.Response:
        refusal: EpsError = NotJson("this is no HTTP request that can be read", hint="use http or https as configured")
        if status >= 500:
            refusal = InternalError("an error inside this server", hint="its log says more")
        return HttpAnswer(400, render_response(error_response("", refusal)), {})


def caller_at(ssl_object: ssl.SSLObject | None) -> Caller:
    """Who is at the other end of a connection; nobody in particular, if it has no TLS or no certificate was shown."""
    caller, leaf = Caller(), peer_certificate(ssl_object)
    if leaf is not None:
        caller.fingerprint = fingerprint(leaf)
        with suppress(TlsFailed):  # a certificate that can't be read names nobody
            caller.names = tuple(certificate_names(leaf))
    return caller


class HttpServer(web.Server):
    """Makes a :class:`ServerConnection` per accepted socket."""

    def __call__(self) -> RequestHandler:
        return ServerConnection(self, keep_alive=KEEP_ALIVE_SECONDS, max_line=MAX_HEADER_LINE)

"""The status page, read-only, over HTTP: live by server-sent events, and the same as JSON.

    GET /              the page; with its style and script
    GET /status.json   the value, once
    GET /events        the value, again whenever it has changed

All who watch are sent one text, made at most twice a second, and only while somebody watches. Without TLS it listens on
loopback only (``settings`` see to it), and answers only where Host names loopback: else any web site could have a
browser on this machine read it, under a name of its own that leads here (DNS rebinding). With TLS, callers are pinned
as at the JSON-RPC ports.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from importlib import resources

import orjson
from aiohttp import web

from eps.core.endpoint import is_this_machine, normal_host
from eps.core.event import Emit
from eps.core.host_port import parse_host_port
from eps.core.warn_rate import sparing
from eps.errors import BadParams, EpsError
from eps.jsonrpc.callers import Callers, Gate
from eps.jsonrpc.server_connection import caller_at
from eps.programs.running.standing import Standing
from eps.transport.listener import Listener
from eps.transport.tls import TlsFiles, accept_tls, server_context

LOOK_SECONDS = 0.5
"""Between two looks whether something has changed: a call is seen within a second."""

QUIET_SECONDS = 2.0
"""Without a change, so often all the same: who watches knows that we live, and so does whatever stands between."""

MAX_WATCHERS = 20
"""Pages that are kept up to date at once; each is a connection."""

SEND_SECONDS = 10.0
"""For somebody who watches to take a value; who doesn't is let go, and its page comes back by itself."""

HANDSHAKE_SECONDS = 10.0

LAST_WORDS_SECONDS = 1.0
"""For those who watch to hear that we end."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of each answer."""

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/picture.js": ("picture.js", "text/javascript; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}
"""What the page is made of: path → file beside this one, and its kind."""


class StatusServer:
    """Serves the page.

    Args:
        bind_address: where.
        standing: makes the value.
        tls, callers: who may see it; without, whoever is on this machine.
    """

    def __init__(
        self, bind_address: str, standing: Standing, tls: TlsFiles | None, callers: Callers, emit: Emit
    ) -> None:
        self._standing = standing
        self._tls = tls
        self._emit = sparing(emit, time.monotonic)
        self._gate = Gate("status", tls, callers, self._emit)
        self._context: ssl.SSLContext | None = None
        self._files = {
            path: (resources.files("eps.programs.status").joinpath("assets", name).read_bytes(), kind)
            for path, (name, kind) in FILES.items()
        }
        self._http: web.Server | None = None
        self._watchers: set[asyncio.Task[object]] = set()
        self._text = b""
        self._is_closing = False
        self._generation = 0
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._listener = Listener("status", bind_address, self._accept, emit=emit)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return self._listener.addresses

    async def start(self) -> None:
        """Bind; raises StartError if the port is taken, or a certificate can't be used."""
        self._context = server_context(self._tls, ["http/1.1"]) if self._tls is not None else None
        self._http = web.Server(self._answer, access_log=None)
        await self._listener.start()

    def renewed(self, tls: TlsFiles | None, callers: Callers) -> Callable[[], None]:
        """Make ready to show certificates, and to be seen, as other settings say; it takes effect with the result.

        Who watches is let go, and comes back by itself, as far as it may. Whether there is TLS at all stays as it is.

        Raises:
            StartError: a certificate can't be used.
        """
        if (tls is None) is not (self._tls is None):
            return _nothing
        context = server_context(tls, ["http/1.1"]) if tls is not None else None
        return partial(self._become, context, tls, callers)

    def _become(self, context: ssl.SSLContext | None, tls: TlsFiles | None, callers: Callers) -> None:
        self._context, self._tls = context, tls
        self._gate = Gate("status", tls, callers, self._emit)
        self._generation += 1
        self._look()
        for connection in list(self._http.connections) if self._http is not None else ():
            connection.force_close()

    async def close(self) -> None:
        """Stop; who watches is let go."""
        await self._listener.close()
        self._is_closing = True
        self._news.set()
        if self._watchers:
            await asyncio.wait(self._watchers, timeout=LAST_WORDS_SECONDS)
        tasks = [*self._watchers, *([self._looking] if self._looking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.shutdown(1.0)

    async def _accept(self, sock: socket.socket) -> None:
        assert self._http is not None, "nothing is accepted before start"
        if self._context is None:
            await asyncio.get_running_loop().connect_accepted_socket(self._http, sock)
        else:
            await accept_tls(self._http, sock, self._context, timeout=HANDSHAKE_SECONDS)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        if request.path == "/events" and request.method == "GET":
            return await self._watch(request)
        if request.path == "/status.json":
            return _page(orjson.dumps(self._standing.value()), "application/json")
        found = self._files.get(request.path)
        if found is None:
            return _page(b"there is no such page\n", "text/plain", 404)
        return _page(*found)

    async def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        """Why this request is not served; None: it is."""
        if request.method not in ("GET", "HEAD"):
            return _page(b"this page can only be read\n", "text/plain", 405)
        if self._tls is None:
            if not is_local(request.headers.get("Host", "")):
                return _page(b"ask for it as localhost\n", "text/plain", 403)
            return None
        try:
            assert request.transport is not None, "it is being answered"
            await self._gate.check(caller_at(request.transport.get_extra_info("ssl_object")))
        except EpsError as error:
            return _page(f"{error}\n".encode(), "text/plain; charset=utf-8", 403)
        return None

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        if len(self._watchers) >= MAX_WATCHERS:
            return _page(b"too many watch already\n", "text/plain", 503)
        task = asyncio.current_task()
        assert task is not None, "each request has a task"
        self._watchers.add(task)
        try:
            response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
            await response.prepare(request)
            await self._keep_sending(response)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._watchers.discard(task)
        return response

    async def _keep_sending(self, response: web.StreamResponse) -> None:
        if self._looking is None or self._looking.done():
            self._look()
            self._looking = asyncio.create_task(self._keep_looking(), name="status")
        generation = self._generation
        while not self._is_closing and generation == self._generation:
            text, news = self._text, self._news
            async with asyncio.timeout(SEND_SECONDS):
                await response.write(b"retry: 1000\ndata: " + text + b"\n\n")
            await news.wait()
        await response.write_eof()

    async def _keep_looking(self) -> None:
        """Make the text anew while anybody watches."""
        seen, told = self._standing.changes, time.monotonic()
        while self._watchers:
            await asyncio.sleep(LOOK_SECONDS)
            changes, now = self._standing.changes, time.monotonic()
            if changes != seen or now - told >= QUIET_SECONDS:
                seen, told = changes, now
                self._look()

    def _look(self) -> None:
        self._text = orjson.dumps(self._standing.value())
        news, self._news = self._news, asyncio.Event()
        news.set()


def _nothing() -> None:
    """It takes effect at the next start."""


def is_local(host: str) -> bool:
    """Whether a Host field names this machine's loopback."""
    try:
        return is_this_machine(normal_host(parse_host_port(host, 80)[0]))
    except BadParams:
        return False


def _page(body: bytes, kind: str, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers={**HEADERS, "Content-Type": kind})

"""A forwarder behind a port: what comes in there is handed over as the private proxy does it."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from eps.core.names import Operator
from eps.proxy.forwarding import Forwarder
from eps.proxy.http_forwarding import HttpForwarder
from eps.transport.listener import Listener
from support.testing import Events, certificates, tls_files

P = Operator("public-proxy-1.ga")
NAME = "internal-server"
DOMAIN = "test.internal-server.local"
TLS = tls_files(NAME, verify_client=False, ca_certificate_files=())


def trusting() -> ssl.SSLContext:
    """A TLS client's context that trusts the test's authority."""
    return ssl.create_default_context(cafile=str(certificates().root_file))


@dataclass
class Passage:
    """What a test has of it."""

    port: int
    session: aiohttp.ClientSession

    def url(self, path: str = "/") -> str:
        return f"https://{DOMAIN}:{self.port}{path}"

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TLS connection of one's own."""
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=trusting(), server_hostname=DOMAIN)


class _Here(aiohttp.abc.AbstractResolver):
    """Every name lies on this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        family = socket.AF_INET
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


@asynccontextmanager
async def passage(forwarder: Forwarder, events: Events) -> AsyncIterator[Passage]:
    """Run ``forwarder`` behind a port."""
    await forwarder.start()
    listener = Listener("test", "127.0.0.1:0", lambda sock: forwarder.forward(sock, DOMAIN, P), emit=events)
    await listener.start()
    connector = aiohttp.TCPConnector(ssl=trusting(), resolver=_Here())
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        try:
            yield Passage(listener.addresses[0][1], session)
        finally:
            await listener.close()
            await forwarder.close()


@asynccontextmanager
async def through(address: str, events: Events | None = None, **options: Any) -> AsyncIterator[Passage]:
    """A private proxy where TLS ends, before the internal server at ``address``."""
    events = events or Events()
    async with passage(HttpForwarder(address, TLS, emit=events, **options), events) as way:
        yield way


async def raw(way: Passage, request: bytes, end: bytes = b"") -> bytes:
    """The whole answer, or up to ``end``, to bytes of one's own."""
    reader, writer = await way.open()
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await (reader.readuntil(end) if end else reader.read())
    finally:
        writer.close()
        await writer.wait_closed()


async def echo(request: web.Request) -> web.StreamResponse:
    """Tells what has arrived."""
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "size": len(body),
            "sha": hashlib.sha256(body).hexdigest(),
        }
    )


@asynccontextmanager
async def http_server(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """An HTTP server of aiohttp's on loopback; its address."""
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(talk: Talk) -> AsyncIterator[str]:
    """A server that speaks whatever the test wants, once per connection; its address."""

    async def talks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talks, "127.0.0.1", 0, limit=1 << 20)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

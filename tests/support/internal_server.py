"""An internal server behind both proxies, and a client in front of them."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from eps.transport.tls import server_context
from support.passage import trusting
from support.passthrough_network import DOMAIN, INTERNAL_TLS, PassthroughNetwork

PAGE = "<html><body><p>reached the internal server</p></body></html>"


async def answers(request: web.Request) -> web.StreamResponse:
    """The internal server: a page, a WebSocket, an upload's digest, a download."""
    if request.path == "/ws":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"you said {message.data}")
        return socket
    if request.path == "/upload":
        digest = hashlib.sha256()
        async for part in request.content.iter_any():
            digest.update(part)
        return web.Response(text=digest.hexdigest())
    if request.path == "/download":
        response = web.StreamResponse()
        await response.prepare(request)
        for block in blocks(int(request.query["mib"])):
            await response.write(block)
        return response
    return web.Response(text=PAGE, content_type="text/html")


def blocks(mib: int) -> Iterator[bytes]:
    """MiBs, each of other bytes than its neighbours."""
    return (bytes([number % 251]) * (1 << 20) for number in range(mib))


async def pieces(mib: int) -> AsyncIterator[bytes]:
    for block in blocks(mib):
        yield block


@asynccontextmanager
async def internal_server(*, https: bool) -> AsyncIterator[str]:
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{tail:.*}", answers)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        context = server_context(INTERNAL_TLS, ["http/1.1"]) if https else None
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def passthrough(kind: str) -> AsyncIterator[PassthroughNetwork]:
    """A network with ``DOMAIN`` announced; kind: ``raw`` or ``terminated``."""
    async with internal_server(https=kind == "raw") as address:
        tls = INTERNAL_TLS if kind == "terminated" else None
        async with PassthroughNetwork(address, tls=tls) as network:
            await network.announce()
            yield network


@asynccontextmanager
async def browser(network: PassthroughNetwork) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that finds every name at the public proxy."""
    connector = aiohttp.TCPConnector(ssl=trusting(), keepalive_timeout=600)
    base = f"https://127.0.0.1:{network.tls_port}"
    async with aiohttp.ClientSession(base, connector=connector, headers={"Host": DOMAIN}) as session:
        yield session

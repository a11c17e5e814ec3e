"""A public proxy that leads callers to somebody else than they asked for."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from eps.core.event import CallFinished
from eps.transport.tls import server_context
from support.network import HD_1, HD_2, PROXY, Network

TOKEN = "A" * 43 + "="
"""32 zero bytes."""


@asynccontextmanager
async def impostor(network: Network, certificate: str, heard: bytearray) -> AsyncIterator[str]:
    """A relay's endpoint, behind which a TLS server shows ``certificate``; it keeps what it hears inside TLS."""
    context = server_context(network.certificates.tls_files(certificate), ["h2"])
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)

    async def serve() -> None:
        accepted, _ = await loop.sock_accept(listening)
        token = await loop.sock_recv(accepted, 32)
        assert len(token) == 32
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with suppress(OSError):
            await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=context)
            heard.extend(await reader.read())

    serving = asyncio.create_task(serve())
    with listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        async with asyncio.timeout(30):
            await serving


@pytest.mark.parametrize(
    "certificate",
    ["stranger", "op-3", "hd-2-alt", HD_1],
    ids=["another of the authority", "another operator's, pinned", "the right name, not pinned", "the caller's own"],
)
async def test_whoever_answers_behind_a_relay_is_found_out(certificate: str) -> None:
    async with Network() as network:
        a, b = await network.node(HD_1), await network.node(HD_2)
        await network.proxy()
        network.behind_proxy = (*network.behind_proxy, "op-3")
        await network.node("op-3")
        await network.ready()
        heard = bytearray()
        async with impostor(network, certificate, heard) as endpoint:
            network.nodes[PROXY].application.answer = lambda request: {"token": TOKEN, "endpoint": endpoint}
            error = (await a.call("hd-2.echo", {"secret": "of hd-1"})).error
        assert error is not None
        assert (error.data["stage"], error.data["outcome"]) == ("tls", "not_sent")
        assert b"secret" not in heard and not b.application.requests
        (told,) = [event for event in a.events.of(CallFinished) if event.method == "echo"]
        assert (told.stage, told.level.name) == ("tls", "WARN")

"""A connection that breaks off at one end of a relay does so at the other: half a message is nobody's whole one."""

import asyncio
import socket

import pytest

from eps.core.event import TunnelFinished
from eps.core.rendezvous import TunnelOutcome
from eps.transport.sockets import unacknowledged
from support.passthrough_network import PassthroughNetwork
from support.sockets import recv_exactly, recv_until_reset, reset, send
from support.vectors import load

HELLO = next(bytes.fromhex(case["hex"]) for case in load("client_hellos.json") if case["client"] == "python311")

ANSWER = bytes(range(256)) * 4_000
"""A MiB, about: more than one queue on the way holds."""


async def connected(port: int) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


async def break_off_behind(sock: socket.socket, data: bytes) -> None:
    """Send all of it, and reset once the other end's kernel has it: our own would drop what it still has."""
    await send(sock, data)
    async with asyncio.timeout(30):
        while unacknowledged(sock):
            await asyncio.sleep(0.001)
    reset(sock)


@pytest.mark.parametrize("pause", [0.0, 0.002], ids=["a fast reader", "a slow reader"])
async def test_a_reset_passes_both_proxies_behind_the_last_byte(pause: float) -> None:
    """TLS passthrough: through two relays, the public proxy's and the private one's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        async with PassthroughNetwork(f"127.0.0.1:{server.getsockname()[1]}") as network:
            await network.announce()
            client = await connected(network.tls_port)
            with client:
                await send(client, HELLO)
                inside, _ = await asyncio.get_running_loop().sock_accept(server)
                inside.setblocking(False)
                assert await recv_exactly(inside, len(HELLO)) == HELLO
                sending = asyncio.create_task(break_off_behind(inside, ANSWER))
                assert await recv_until_reset(client, pause=pause) == ANSWER
                await sending
            await network.relay_events.wait_for(TunnelFinished, lambda event: event.outcome is TunnelOutcome.RESET)
            assert not network.forwarder.open

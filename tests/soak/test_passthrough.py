"""TLS passthrough for longer: a GiB each way, and connections that nobody uses for a minute."""

import asyncio
import hashlib
import time

import pytest

from support.internal_server import PAGE, blocks, browser, passthrough, pieces
from support.passthrough_network import DOMAIN

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

MIB = 1024
IDLE_SECONDS = 61.0
KINDS = pytest.mark.parametrize("kind", ["raw", "terminated"])


def digest_of(mib: int) -> str:
    digest = hashlib.sha256()
    for block in blocks(mib):
        digest.update(block)
    return digest.hexdigest()


@KINDS
async def test_a_gib_each_way_is_intact(kind: str) -> None:
    wanted = digest_of(MIB)
    async with passthrough(kind) as network, browser(network) as session:
        began = time.monotonic()
        async with session.post("/upload", data=pieces(MIB), server_hostname=DOMAIN) as answer:
            assert await answer.text() == wanted
        up = time.monotonic() - began
        began = time.monotonic()
        digest = hashlib.sha256()
        async with session.get(f"/download?mib={MIB}", server_hostname=DOMAIN) as answer:
            async for part in answer.content.iter_any():
                digest.update(part)
        assert digest.hexdigest() == wanted
        print(
            f"\n{kind}: up {MIB / up:.0f} MiB/s, down {MIB / (time.monotonic() - began):.0f} MiB/s, all in one process"
        )


@KINDS
async def test_what_nobody_uses_for_a_minute_is_still_alive(kind: str) -> None:
    async with passthrough(kind) as network, browser(network) as session:
        socket = await session.ws_connect("/ws", server_hostname=DOMAIN)
        async with session.get("/", server_hostname=DOMAIN) as answer:
            assert await answer.text() == PAGE
        ended = len(network.relay_events.all)
        await asyncio.sleep(IDLE_SECONDS)
        assert len(network.relay_events.all) == ended, network.relay_events.all[ended:]
        await socket.send_str("still there?")
        assert await socket.receive_str() == "you said still there?"
        async with session.get("/", server_hostname=DOMAIN) as answer:
            assert await answer.text() == PAGE
        await socket.close()

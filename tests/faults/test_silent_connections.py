"""Connections on which nothing is said, or from which nothing is read: lost packets and a pause end none, a dead link
does. In network namespaces, and through both proxies."""

import asyncio
import hashlib
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from support.internal_server import blocks, browser, passthrough
from support.namespaces import Hub
from support.passthrough_network import DOMAIN

pytestmark = pytest.mark.chaos

TIMES = "Keepalive(idle=2, interval=2, count=4, unanswered=1)"
"""Seconds 2, 4, 6 and 8: questions; 10: the end."""

LISTENS = """
import socket, time
listener = socket.create_server(("0.0.0.0", 7000))
print("listens", flush=True)
sock, _ = listener.accept()
time.sleep(60)
"""

WATCHES = """
import select, socket, sys, time
from eps.transport.sockets import Keepalive, keep_alive, tune
keep_alive({times})
sock = socket.create_connection((sys.argv[1], 7000))
tune(sock)
print("connected", flush=True)
began = time.monotonic()
select.select([sock], [], [], {seconds})
print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), flush=True)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("a", "b") as made:
        yield made


@asynccontextmanager
async def running(hub: Hub, place: str, code: str, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """A Python program at a place; what it says."""
    inside = ["ip", "netns", "exec", hub.name(place), sys.executable, "-c", code, *arguments]
    process = await asyncio.create_subprocess_shell(shlex.join(["exec", *inside]), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(said: asyncio.StreamReader) -> str:
    async with asyncio.timeout(60):
        return (await said.readline()).decode().strip()


@asynccontextmanager
async def watching(hub: Hub, seconds: int) -> AsyncIterator[asyncio.StreamReader]:
    """A connection from one place to the other on which nothing is said: how it ended, or that it hasn't by then."""
    async with running(hub, "b", LISTENS) as listens:
        assert await line(listens) == "listens"
        watches = WATCHES.format(times=TIMES, seconds=seconds)
        async with running(hub, "a", watches, hub.address("b")) as told:
            assert await line(told) == "connected"
            yield told


async def test_three_lost_questions_end_no_silent_connection(hub: Hub) -> None:
    async with watching(hub, 14) as told:
        hub.cut("b")
        await asyncio.sleep(5)  # two questions are lost, and with the time that all takes maybe a third
        hub.mend("b")
        assert await line(told) == "0", "the connection has ended"


async def test_a_silent_connection_ends_with_its_link(hub: Hub) -> None:
    async with watching(hub, 50) as told:
        hub.cut("b")
        assert await line(told) == "110", "ETIMEDOUT"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["raw", "terminated"])
async def test_a_paused_download_goes_on_where_it_was(kind: str) -> None:
    """A program that reads nothing for longer than a dead link is given lives all the same."""
    mib = 64
    async with passthrough(kind) as network, browser(network) as session:
        async with session.get(f"/download?mib={mib}", server_hostname=DOMAIN) as answer:
            await asyncio.sleep(10)
            digest, wanted = hashlib.sha256(), hashlib.sha256()
            async for part in answer.content.iter_any():
                digest.update(part)
        for block in blocks(mib):
            wanted.update(block)
        assert digest.digest() == wanted.digest()

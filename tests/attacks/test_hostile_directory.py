"""A service directory that answers with what costs its followers most."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

import eps.directory.rounds as module
from eps.core.event import DirectoryFailed
from eps.directory.api import ApiDirectory, Following
from eps.directory.endpoints import ServiceDirectoryClients
from eps.directory.pace import Pace
from support.record_tools import NOW, Clock, trust
from support.testing import Events

Behave = Callable[[asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MAX_ANSWER = 1024 * 1024

BOMB = gzip.compress(json.dumps({"jsonrpc": "2.0", "id": "1", "result": " " * 8 * MAX_ANSWER}).encode())
"""A few KiB; eight times the limit when unpacked."""


async def frozen(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def trickling(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def bombing(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB)
    await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    while True:
        writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


@asynccontextmanager
async def service_directory(behave: Behave) -> AsyncIterator[str]:
    """Its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await behave(writer)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jsonrpc"


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (frozen, "did not answer getTip within 1 s"),
        (trickling, "did not answer getTip within 1 s"),
        (endless, "the limit is 1048576"),
        (bombing, "not JSON|JSON"),
        (endless_head, "its head is longer than 65536 bytes"),
    ],
)
async def test_what_a_hostile_service_directory_answers_with_costs_a_bounded_time(
    behave: Behave, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIP_SECONDS", 1.0)
    events = Events()
    async with service_directory(behave) as url:
        clients = ServiceDirectoryClients([url], tls=None, max_answer=MAX_ANSWER)
        directory = ApiDirectory(
            clients, trust(), emit=events, following=Following(pace=Pace(0.5, 0.5)), now=Clock(NOW)
        )
        try:
            await directory.start()
            failed = await events.wait_for(DirectoryFailed, timeout=15)
        finally:
            await directory.close()
    assert any(word in failed.message() for word in why.split("|")), failed

"""How far an address is reached, and what time it is there."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from eps.programs.diagnosis.probes import Target, names_shown, reach
from eps.transport.tls import TlsFiles
from support.network import HD_1
from support.testing import certificates

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that answers anything with those bytes, and hangs up."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        async def serve() -> None:
            while True:
                sock, _ = await loop.sock_accept(listening)
                with sock:
                    await loop.sock_recv(sock, 4096)
                    with suppress(OSError):
                        await loop.sock_sendall(sock, answer)

        serving = asyncio.create_task(serve())
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def now() -> datetime:
    return NOW


async def test_plain_http() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 11:00:00 GMT\r\n\r\n") as address:
        found = await reach(Target(address, "sd", path="/"), now)
        assert (found.ahead, found.failure) == (3600.0, None)
        assert [name for name, _ in found.stages] == ["DNS", "TCP", "HTTP"]
        assert "TCP " in found.times()
        assert [name for name, _ in (await reach(Target(address, "sd"), now)).stages] == ["DNS", "TCP"]
    refused = await reach(Target(address, "sd"), now)
    assert refused.failure is not None
    assert "connection refused" in refused.failure.text


async def test_what_is_no_http_and_no_tls() -> None:
    async with answering(b"hello") as address:
        assert (await reach(Target(address, "sd", path="/"), now)).ahead is None
        found = await reach(Target(address, "sd", TlsFiles(), "sd", "/", alpn=("h2",)), now)
    assert found.failure is not None
    assert found.failure.stage == "tls"
    assert [name for name, _ in found.stages] == ["DNS", "TCP"]


async def test_silence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        found = await reach(Target(f"127.0.0.1:{nobody.getsockname()[1]}", "sd", path="/"), now, seconds=0.2)
    assert found.failure is not None
    assert "no answer within 0.2 s" in found.failure.text


@pytest.mark.parametrize("name", ["x" * 70, ".x", "a..b", "a\0b"], ids=["long", "dot", "dots", "null"])
async def test_a_name_that_tls_can_not_ask_for(name: str) -> None:
    async with answering(b"") as address:
        found = await reach(Target(address, name, TlsFiles()), now)
    assert found.failure is not None
    assert "its name can't be asked for by TLS" in found.failure.text


async def test_what_is_no_address() -> None:
    assert (await reach(Target("", "sd"), now)).failure is not None


def test_names_in_a_certificate_that_was_shown() -> None:
    der = certificates().issued(HD_1).certificate.public_bytes(Encoding.DER)
    assert names_shown(der).startswith("hd-1")
    assert [names_shown(odd) for odd in (None, b"", b"no certificate")] == ["", "", ""]

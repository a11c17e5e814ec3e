"""Joining a tunnel: judge, dial, and show the token in one piece."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from eps.core.endpoint import relay_trust
from eps.core.names import Token
from eps.errors import Side, Stage, TunnelFailed
from eps.transport import tunnel
from eps.transport.tunnel import dial_relay

BOTH_LOOPS = True

TOKEN = Token(bytes(range(32)))


@pytest.fixture
def relay() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def address_of(server: socket.socket) -> str:
    return f"localhost:{server.getsockname()[1]}"


async def test_the_token_comes_first_and_in_one_segment(relay: socket.socket) -> None:
    trust = relay_trust(None, [], "localhost:5556")
    with await dial_relay(address_of(relay), TOKEN, 5, name="p", allow=trust.judge) as sock:
        loop = asyncio.get_running_loop()
        accepted, _ = await loop.sock_accept(relay)
        with accepted:
            assert await loop.sock_recv(accepted, 100) == TOKEN
            await loop.sock_sendall(sock, b"after")
            assert await loop.sock_recv(accepted, 100) == b"after"


async def test_an_endpoint_that_must_not_be_dialled(relay: socket.socket) -> None:
    trust = relay_trust(None, [], "elsewhere.example:1")
    with pytest.raises(TunnelFailed, match="must not be dialled") as caught:
        await dial_relay(address_of(relay), TOKEN, 5, allow=trust.judge)
    assert (caught.value.stage, caught.value.side) == (Stage.RELAY, Side.PROXY)
    assert "internal_endpoints" in caught.value.hint


async def test_a_relay_that_is_down(relay: socket.socket) -> None:
    address = address_of(relay)
    relay.close()
    with pytest.raises(TunnelFailed, match=f"the relay of p at {address}: connection refused"):
        await dial_relay(address, TOKEN, 5, name="p")


@pytest.mark.parametrize("size", [0, 31, 33])
async def test_a_token_of_another_size(size: int) -> None:
    with pytest.raises(TunnelFailed, match=f"p gave a token of {size} bytes; it must have 32"):
        await dial_relay("localhost:1", Token(bytes(size)), 5, name="p")


@pytest.mark.parametrize("taken", [OSError(104, "reset"), 5])
async def test_a_relay_that_hangs_up_at_once(monkeypatch: pytest.MonkeyPatch, taken: Any) -> None:
    class Stub:
        closed = False

        def send(self, data: bytes) -> int:
            if isinstance(taken, OSError):
                raise taken
            return int(taken)

        def close(self) -> None:
            self.closed = True

    stub = Stub()

    async def connect(*args: Any, **kwargs: Any) -> Stub:
        return stub

    monkeypatch.setattr(tunnel, "connect", connect)
    with pytest.raises(TunnelFailed, match=r"hung up before the token|took only 5 bytes"):
        await dial_relay("x:1", TOKEN, 5)
    assert stub.closed

"""Raw forwarding: a connection and the internal server's become one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from eps.core.event import Level, Notice, TunnelFinished
from eps.core.names import Operator
from eps.proxy import forwarding
from eps.proxy.forwarding import Forwarder, RawForwarder
from support.ports import PortBlock
from support.sockets import recv, recv_exactly, recv_until_reset, reset, send, tcp_pair
from support.testing import Events

P = Operator("public-proxy-1.ga")
DOMAIN = "test.internal-server.local"


@asynccontextmanager
async def a_server() -> AsyncIterator[tuple[str, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"127.0.0.1:{server.getsockname()[1]}", server


async def test_bytes_flow_both_ways_and_the_end_is_told() -> None:
    events = Events()
    async with a_server() as (address, server):
        forwarder: Forwarder = RawForwarder(address, emit=events)
        await forwarder.start()
        near, far = tcp_pair()
        await send(far, b"hello")
        await forwarder.forward(near, DOMAIN, P)
        inside, _ = await asyncio.get_running_loop().sock_accept(server)
        inside.setblocking(False)
        assert await recv_exactly(inside, 5) == b"hello"
        await send(inside, b"answer")
        assert await recv_exactly(far, 6) == b"answer"
        inside.close()
        assert await recv(far) == b""
        far.close()
        ended = await events.wait_for(TunnelFinished)
        assert (ended.outcome, ended.caller, ended.callee) == ("finished", P, DOMAIN)
        assert (ended.first_bytes, ended.second_bytes, ended.level) == (6, 5, Level.INFO)
        await forwarder.close()


async def test_an_idle_connection_ends() -> None:
    events = Events()
    async with a_server() as (address, _):
        near, far = tcp_pair()
        await RawForwarder(address, idle_timeout=0.01, emit=events).forward(near, DOMAIN, P)
        assert await recv(far) == b""
        assert (await events.wait_for(TunnelFinished)).outcome == "idle"
        far.close()


async def test_stopping_ends_all() -> None:
    events = Events()
    async with a_server() as (address, _):
        forwarder = RawForwarder(address, emit=events)
        pairs = [tcp_pair() for _ in range(3)]
        for near, _ in pairs:
            await forwarder.forward(near, DOMAIN, P)
        assert forwarder.open == 3
        await forwarder.close()
        assert forwarder.open == 0
        assert [event.outcome for event in events.of(TunnelFinished)] == ["stopped"] * 3
        for _, far in pairs:
            assert await recv(far) == b""
            far.close()


async def test_a_server_that_is_down() -> None:
    events = Events()
    with closing(PortBlock()) as block:
        address = f"127.0.0.1:{block.numbers[0]}"
        near, far = tcp_pair()
        await RawForwarder(address, emit=events).forward(near, DOMAIN, P)
        assert await recv(far) == b""
        far.close()
        ended = events.of(TunnelFinished)[0]
        assert (ended.outcome, ended.level) == ("no_target", Level.WARN)
        notice = events.of(Notice)[0]
        assert notice.text.startswith(f"{DOMAIN}: the internal server at {address}: connection refused")


async def test_stopping_while_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events()
    started = asyncio.Event()

    async def never(*_: object, **__: object) -> socket.socket:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(forwarding, "connect", never)
    near, far = tcp_pair()
    task = asyncio.create_task(RawForwarder("127.0.0.1:1", emit=events).forward(near, DOMAIN, P))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await recv(far) == b"" and events.of(TunnelFinished)[0].outcome == "stopped"
    far.close()


async def test_a_side_that_breaks_off() -> None:
    events = Events()
    async with a_server() as (address, server):
        near, far = tcp_pair()
        await RawForwarder(address, emit=events).forward(near, DOMAIN, P)
        inside, _ = await asyncio.get_running_loop().sock_accept(server)
        reset(inside)
        assert await recv_until_reset(far) == b""
        far.close()
        assert (await events.wait_for(TunnelFinished)).outcome == "reset"

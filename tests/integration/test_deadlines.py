"""How much time a caller gives a call, and how he cancels it: from his client to the other operator's application."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from eps.channels.jsonrpc_server import JsonRpcServerChannel
from eps.client import AsyncClient, CallReport, Client, OutcomeUnknown, Policy
from eps.core.address import parse_address
from eps.core.message import Asker, Request
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.server import ServerLimits, Serving
from support.network import HD_1, HD_2, PROXY, Network, Node


class Hanging:
    """An application whose calls begin and do not end by themselves.

    Attributes:
        may_end: set when they may.
        begun, ended: set when one was begun, and when that was given up.
        running: how many are under way.
    """

    def __init__(self) -> None:
        self.begun, self.ended, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.running = 0

    async def __call__(self, request: Request) -> Any:
        self.begun.set()
        self.running += 1
        try:
            await self.may_end.wait()
        finally:
            self.running -= 1
            self.ended.set()


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with Network() as made:
        await made.node(HD_1)
        await made.node(HD_2)
        await made.proxy()
        await made.ready()
        yield made


@pytest.fixture
async def port(network: Network) -> AsyncIterator[str]:
    """That of hd-1's applications."""
    a = network.nodes[HD_1]
    channel = JsonRpcServerChannel(a.name, "localhost:0")
    await channel.start(a.broker.deliver)
    yield f"http://localhost:{channel.port}"
    await channel.close()


def last_timeout(node: Node) -> float:
    return node.application.timeouts[-1]


async def test_a_callers_deadline_reaches_the_application(
    network: Network, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = network.nodes[HD_2]
    async with AsyncClient(port) as client:
        await client.call("hd-2.echo", timeout=400)
        assert 300 < last_timeout(b) <= 398, "what is left, less a little, so that servers can say more"
        await client.call("hd-2.echo")
        assert last_timeout(b) <= 10, "each server's own time, where nobody says another"
        b.application.answer = Hanging()
        monkeypatch.setattr("eps.client.course.told_of", lambda left: left / 60)  # much sooner than the client's own
        with pytest.raises(OutcomeUnknown, match="hd-2 did not answer") as caught:
            await client.call("hd-2.echo", timeout=90)
    error = caught.value
    assert (error.side, error.stage, error.told_by) == ("peer", "call", HD_1), "not the client's own"

    def blocking() -> None:
        with Client(port, policy=Policy(timeout=400)) as client:
            client.call("hd-2.echo")

    b.application.answer = lambda request: "done"
    monkeypatch.undo()
    await asyncio.to_thread(blocking)
    assert 300 < last_timeout(b) <= 398


async def test_a_deadline_goes_down_a_stream(network: Network) -> None:
    proxy, b = network.nodes[PROXY], network.nodes[HD_2]
    for told, most in ((400.0, 400.0), (None, 10.0)):
        request = Request(parse_address("hd-2.echo(1)"), {}, Asker(timeout=told))
        answer = await proxy.broker.deliver(request, proxy.name)
        assert answer.error is None
        assert most * 0.7 < last_timeout(b) <= most


async def test_more_than_a_servers_maximum_is_that(network: Network, port: str) -> None:
    b = network.nodes[HD_2]
    async with AsyncClient(port) as client:
        await client.call("hd-2.echo", timeout=86_400)
    assert last_timeout(b) <= 3600


@pytest.mark.parametrize("field", ["EPS-Timeout: soon", "EPS-Timeout: 5\r\nEPS-Timeout: 50"], ids=["word", "two"])
async def test_a_time_that_is_none_is_refused(network: Network, port: str, field: str) -> None:
    reader, writer = await asyncio.open_connection("localhost", int(port.rpartition(":")[2]))
    body = b'{"jsonrpc":"2.0","method":"hd-2.echo","params":{},"id":"1"}'
    head = "POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}{field}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    assert b"400" in answer and b"-32600" in answer and b"EPS-Timeout must be a number of seconds" in answer
    assert not network.nodes[HD_2].application.requests


async def test_a_cancelled_call_is_cancelled_at_the_other_operator(network: Network, port: str) -> None:
    b, reports = network.nodes[HD_2], list[CallReport]()
    b.application.answer = application = Hanging()
    async with AsyncClient(port, on_call=reports.append) as client:
        call = asyncio.create_task(client.call("hd-2.echo"))
        async with asyncio.timeout(60):
            await application.begun.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await application.ended.wait()
    assert [type(report.error) for report in reports] == [OutcomeUnknown], "the hook hears of it"


async def test_as_many_as_are_cancelled_end(network: Network, port: str) -> None:
    b = network.nodes[HD_2]
    b.application.answer = application = Hanging()
    async with AsyncClient(port) as client:
        calls = [asyncio.create_task(client.call("hd-2.echo")) for _ in range(60)]
        async with asyncio.timeout(100):
            while application.running < 60:
                await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            while application.running:
                await asyncio.sleep(0.01)


async def test_to_cancel_needs_no_room(network: Network) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    b.application.answer = application = Hanging()
    channel = JsonRpcServerChannel(a.name, "localhost:0", Serving(limits=ServerLimits(max_calls=1)))
    await channel.start(a.broker.deliver)
    client = JsonRpcClient(f"http://localhost:{channel.port}/jsonrpc", tls=None)
    call = asyncio.create_task(client.call("hd-2.echo", {}, request_id="mine-0123456789abcdef"))
    async with asyncio.timeout(60):
        await application.begun.wait()
        busy = (await client.call("hd-2.echo", {})).error
        assert busy is not None and busy.data["reason"] == "busy"
        assert (await client.call("_cancel", {"id": ["mine-0123456789abcdef"]})).result == {"cancelled": 1}
        assert (await call).error is not None
    await client.close()
    await channel.close()


async def test_cancel_answers_the_call_and_who_cancels_it(network: Network, port: str) -> None:
    b = network.nodes[HD_2]
    b.application.answer = application = Hanging()
    client = JsonRpcClient(f"{port}/jsonrpc", tls=None)
    call = asyncio.create_task(client.call("hd-2.echo", {}, request_id="mine-0123456789abcdef"))
    async with asyncio.timeout(60):
        await application.begun.wait()
        assert (await client.call("_cancel", {"id": "other-0123456789abcdef"})).result == {"cancelled": 0}
        assert (await client.call("_cancel", {"id": "mine-0123456789abcdef"})).result == {"cancelled": 1}
        error = (await call).error
        await application.ended.wait()
        refused = (await client.call("_cancel", {})).error
    assert error is not None and refused is not None
    assert error.data["outcome"] == "unknown" and "cancelled by its caller after it was sent" in error.message
    assert refused.code == -32602
    await client.close()


async def test_a_client_that_goes_away_stops_nothing(network: Network, port: str) -> None:
    b = network.nodes[HD_2]
    b.application.answer = application = Hanging()
    client = JsonRpcClient(f"{port}/jsonrpc", tls=None)
    call = asyncio.create_task(client.call("hd-2.echo", {}))
    async with asyncio.timeout(60):
        await application.begun.wait()
        call.cancel()
        await asyncio.wait({call})
        await client.close()
        other = JsonRpcClient(f"{port}/jsonrpc", tls=None)
        b.application.answer = lambda request: "done"
        assert (await other.call("hd-2.echo", {})).result == "done"
        await other.close()
    assert not application.ended.is_set()
    application.may_end.set()

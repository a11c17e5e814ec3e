"""channels/jsonrpc_server: a local call becomes a request of our own operator."""

from contextlib import asynccontextmanager
from typing import Any

import pytest

from eps.channels.jsonrpc_server import JsonRpcServerChannel, address_of
from eps.core.address import Address
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Request, Response
from eps.core.names import Operator
from eps.errors import AddressError, StartError
from eps.jsonrpc.client import JsonRpcClient

HD_1 = Operator("hd-1")


@asynccontextmanager
async def channel(answers: Any, **options: Any) -> Any:
    """A running channel, what it delivered, and a client of it."""
    delivered: list[tuple[Request, Operator]] = []

    async def deliver(request: Request, sender: Operator) -> Response:
        delivered.append((request, sender))
        return answers(request)

    made = JsonRpcServerChannel(HD_1, "localhost:0", **options)
    await made.start(deliver)
    client = JsonRpcClient(f"http://localhost:{made.port}/jsonrpc", tls=None)
    try:
        yield client, delivered
    finally:
        await client.close()
        await made.close()


async def test_a_call_is_delivered_with_its_address_and_ourselves_as_sender() -> None:
    async with channel(lambda request: Response(str(request.address), {"ok": 1})) as (client, delivered):
        answer = await client.call("hd-2.add", {"a": 1}, request_id="7")
    assert answer == Response("7", {"ok": 1})
    assert delivered == [(Request(Address(Operator("hd-2"), "add", "7"), {"a": 1}), HD_1)]


async def test_errors_come_back_with_the_callers_id() -> None:
    async with channel(lambda request: Response(str(request.address), error=Error(403, "no", {}))) as (client, _):
        assert await client.call("hd-2.add", {}, request_id="7") == Response("7", error=Error(403, "no", {}))


@pytest.mark.parametrize(
    ("method", "call_id"), [("_ping", "1"), ("_cancelled", "1"), ("hd-1.add", "a(b)"), ("hd-1.", "1"), (".add", "")]
)
async def test_what_makes_no_address_is_error_1_and_is_not_delivered(method: str, call_id: str) -> None:
    async with channel(lambda request: Response("")) as (client, delivered):
        answer = await client.call(method, {}, request_id=call_id)
        if method == ".add":  # an empty operator is the directory's matter
            assert answer.error is None
            return
    assert answer.id == call_id
    assert answer.error is not None
    assert answer.error.code == 1
    assert answer.error.data["outcome"] == "not_sent"
    assert delivered == []


@pytest.mark.parametrize(
    ("method", "call_id"),
    [("hd-1.f(x", "1"), ("hd-1.f", "a).g(b"), ("a.b", "x)"), ("hd-1.f(", "1"), ("hd-1.f(a).g", "1")],
)
def test_parentheses_move_no_boundary(method: str, call_id: str) -> None:
    """What the permission check sees must be what the caller wrote."""
    try:
        assert address_of(Call(method, {}, call_id)).target == method
    except AddressError as error:
        assert error.code == 1  # noqa: PT017  # either outcome is right, as long as method and address agree


async def test_a_taken_port_keeps_it_from_starting() -> None:
    async def deliver(request: Request, sender: Operator) -> Response:
        return Response("")

    first = JsonRpcServerChannel(HD_1, "localhost:0")
    await first.start(deliver)
    with pytest.raises(StartError, match="jsonrpc: can't listen"):
        await JsonRpcServerChannel(HD_1, f"localhost:{first.port}").start(deliver)
    await first.close()

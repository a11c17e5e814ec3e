"""channels/jsonrpc_client: a request to ourselves becomes a call to our application."""

import asyncio
from typing import Any

import pytest

from eps.channels.jsonrpc_client import JsonRpcClientChannel, shortened
from eps.core.address import Address
from eps.core.event import Emit, Level, Notice, ignore
from eps.core.jsonrpc_text import Call
from eps.core.loose_answers import Flaw
from eps.core.message import Asker, Error, Request, Response
from eps.core.names import Operator
from eps.core.overload import Fixed
from eps.errors import GivenUp, Unreachable
from eps.grpc import codec
from eps.jsonrpc.client import JsonRpcClient
from support.testing import Events, jsonrpc_server

LS_1, HD_1 = Operator("ls-1"), Operator("hd-1")


def channel(port: int, emit: Emit = ignore) -> JsonRpcClientChannel:
    return JsonRpcClientChannel(LS_1, JsonRpcClient(f"http://localhost:{port}/jsonrpc", tls=None), Fixed(8), emit)


async def test_the_application_gets_method_params_and_the_whole_address_as_id() -> None:
    seen: list[Call] = []

    async def application(call: Call) -> Response:
        seen.append(call)
        return Response(call.id, {"ok": 1})

    request = Request(Address(LS_1, "add", "n:7"), {"a": 1, "_client": {"name": "hd-1"}})
    async with jsonrpc_server(application) as server:
        leading = channel(server.port)
        assert leading.way_to(LS_1) == leading.deliver
        assert leading.way_to(HD_1) is None
        assert await leading.deliver(request, HD_1, 5) == Response("ls-1.add(n:7)", {"ok": 1})
        await leading.close()
    assert seen == [Call("add", {"a": 1, "_client": {"name": "hd-1"}}, "ls-1.add(n:7)", ())]


async def test_a_call_that_nobody_waits_for_any_more_is_not_begun() -> None:
    seen: list[Call] = []

    async def application(call: Call) -> Response:
        seen.append(call)
        return Response(call.id, {})

    async with jsonrpc_server(application) as server:
        leading = channel(server.port)
        with pytest.raises(GivenUp):
            await leading.deliver(Request(Address(LS_1, "add", "7"), {}, Asker(lambda: False)), LS_1, 5)
        await leading.deliver(Request(Address(LS_1, "add", "8"), {}), LS_1, 5)
        await leading.close()
    assert [call.id for call in seen] == ["ls-1.add(8)"]


@pytest.mark.parametrize(
    ("result", "unwrapped"),
    [
        ({"_": 5}, 5),
        ({"_": None}, None),
        ([1], [1]),
        ("x", "x"),
        (None, None),
        ({}, {}),
        ({"_": 1, "a": 2}, {"_": 1, "a": 2}),
    ],
)
async def test_results_are_unwrapped(result: Any, unwrapped: Any) -> None:
    async def application(call: Call) -> Response:
        return Response(call.id, result)

    async with jsonrpc_server(application) as server:
        leading = channel(server.port)
        answer = await leading.deliver(Request(Address(LS_1, "add", "1"), {}), HD_1, 5)
        await leading.close()
    assert answer == Response("ls-1.add(1)", unwrapped)


async def test_the_applications_errors_pass_unchanged() -> None:
    async def application(call: Call) -> Response:
        return Response(call.id, error=Error(4711, "no", {"x": [1]}))

    async with jsonrpc_server(application) as server:
        leading = channel(server.port)
        answer = await leading.deliver(Request(Address(LS_1, "add", "1"), {}), HD_1, 5)
        await leading.close()
    assert answer == Response("ls-1.add(1)", error=Error(4711, "no", {"x": [1]}))


@pytest.mark.parametrize(("method", "passes"), [("add", False), ("requestConnection", True)])
async def test_an_application_does_not_speak_as_a_server(method: str, passes: bool) -> None:
    """But for a public proxy, which is asked for tunnels."""
    data = {"outcome": "not_sent", "told_by": "ls-1", "own": 1}

    async def application(call: Call) -> Response:
        return Response(call.id, error=Error(500, "text", data))

    async with jsonrpc_server(application) as server:
        leading = channel(server.port)
        answer = await leading.deliver(Request(Address(LS_1, method, "7"), {}), HD_1, 5)
        await leading.close()
    assert answer.error == Error(500, "text", data if passes else {"outcome": "not_sent", "own": 1})


@pytest.mark.parametrize("beside", [{}, {"told_by": 1}], ids=["below", "below and beside"])
async def test_nor_below_what_is_unwrapped_on_the_way(beside: dict[str, int]) -> None:
    """Each server on the way takes one ``_`` away: whoever stands behind them must not find a server's words there."""
    data: dict[str, Any] = {"outcome": "not_sent", "told_by": "ls-1", "reason": "stopping"}
    for _ in range(4):
        data = {"_": data, **beside}

    async def application(call: Call) -> Response:
        return Response(call.id, error=Error(500, "text", data))

    async with jsonrpc_server(application) as server:
        leading = channel(server.port)
        answer = await leading.deliver(Request(Address(LS_1, "add", "7"), {}), HD_1, 5)
        await leading.close()
    for _ in range(4):
        answer = codec.decode_response(codec.encode_response(answer, "7"), "7")
        assert answer.error is not None
    assert answer.error is not None
    assert answer.error.data == {"outcome": "not_sent", "reason": "stopping"}


async def test_loose_answers_are_understood_and_each_looseness_is_told_once() -> None:
    bodies = [b'{"jsonrpc":"2.0","result":{"_":5}}', b'\xef\xbb\xbf{"jsonrpc":"2.0","result":5,"id":7}\n\n!'] * 2

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = bodies.pop()
        writer.write(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    events = Events()
    server = await asyncio.start_server(application, "127.0.0.1", 0)
    async with server:
        leading = channel(server.sockets[0].getsockname()[1], events)
        for _ in range(4):
            answer = await leading.deliver(Request(Address(LS_1, "add", "1"), {}), HD_1, 5)
            assert answer == Response("ls-1.add(1)", 5)
        await leading.close()
    notices = events.of(Notice)
    told = " ".join(notice.text for notice in notices)
    flaws = {Flaw.MARK, Flaw.SURPLUS, Flaw.NO_ID, Flaw.OTHER_ID, Flaw.STATUS}
    assert len(notices) == len(flaws) and all(flaw.what in told for flaw in flaws)
    assert {notice.level for notice in notices} == {Level.WARN}


async def test_an_application_that_is_down_is_a_delivery_error() -> None:
    async with jsonrpc_server(lambda call: None) as server:  # type: ignore[arg-type, return-value]  # never called
        port = server.port
    leading = channel(port)
    with pytest.raises(Unreachable, match="connection refused"):
        await leading.deliver(Request(Address(LS_1, "add", "1"), {}), HD_1, 5)
    await leading.close()


@pytest.mark.parametrize("is_short", [True, False])
async def test_a_short_entry_has_no_records(is_short: bool) -> None:
    seen: list[Call] = []

    async def application(call: Call) -> Response:
        seen.append(call)
        return Response(call.id, {})

    entry = {"name": "hd-1", "groups": ["g"], "channels": [], "records": [{"hash": "x"}]}
    params = {"a": 1, "_client": {"name": "hd-1", "entry": entry}}
    async with jsonrpc_server(application) as server:
        client = JsonRpcClient(f"http://localhost:{server.port}/jsonrpc", tls=None)
        leading = JsonRpcClientChannel(LS_1, client, Fixed(8), ignore, is_short=is_short)
        await leading.deliver(Request(Address(LS_1, "add", "7"), params), HD_1, 5)
        await leading.close()
    got = seen[0].params["_client"]
    assert (got["name"], got["entry"]["groups"], seen[0].params["a"]) == ("hd-1", ["g"], 1)
    assert ("records" in got["entry"]) is not is_short and "records" in entry, "nobody else's entry is changed"


@pytest.mark.parametrize("params", [{}, {"_client": 1}, {"_client": {"name": "x"}}, {"_client": {"entry": 1}}], ids=str)
def test_what_can_not_be_shortened_stays(params: dict[str, Any]) -> None:
    assert shortened(params) is params

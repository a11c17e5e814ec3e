"""TLS ends at the private proxy; JSON-RPC calls go on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eps.core.event import TunnelFinished
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import Serving
from eps.proxy.jsonrpc_forwarding import JsonRpcForwarder
from support.passage import DOMAIN, NAME, TLS, P, Passage, passage
from support.sockets import tcp_pair
from support.testing import Events, jsonrpc_server, tls_files


@asynccontextmanager
async def through(endpoint: str, events: Events) -> AsyncIterator[Passage]:
    async with passage(forwarder_to(endpoint, events), events) as way:
        yield way


def forwarder_to(endpoint: str, events: Events) -> JsonRpcForwarder:
    return JsonRpcForwarder(JsonRpcClient(endpoint, tls=None), Serving(Requests("/rpc"), TLS), emit=events)


async def answers(call: Call) -> Response:
    if call.method == "fail":
        return Response(call.id, error=Error(42, "no", {"why": "x"}))
    return Response(call.id, {"method": call.method, "params": call.params})


async def test_calls_go_on_and_answers_come_back() -> None:
    events = Events()
    async with jsonrpc_server(answers) as server:
        forwarder = forwarder_to(f"http://localhost:{server.port}/jsonrpc", events)
        async with passage(forwarder, events) as way:
            caller = JsonRpcClient(f"https://localhost:{way.port}/rpc", tls=tls_files(NAME), server_name=DOMAIN)
            answer = await caller.call("add", {"a": 1}, request_id="7")
            assert answer == Response("7", {"method": "add", "params": {"a": 1}}) and forwarder.open == 1
            failed = await caller.call("fail", {})
            assert failed.error == Error(42, "no", {"why": "x"})
            await caller.close()
            ended = await events.wait_for(TunnelFinished)
            assert (ended.outcome, ended.callee, forwarder.open) == ("finished", DOMAIN, 0)


async def test_no_client_says_that_it_is_an_operator() -> None:
    async with jsonrpc_server(answers) as server, through(f"http://localhost:{server.port}/jsonrpc", Events()) as way:
        params = {"_client": {"name": "hd-1", "entry": {}}, "a": 1}
        body = {"jsonrpc": "2.0", "method": "add", "params": params, "id": "7"}
        async with way.session.post(way.url("/rpc"), json=body) as answer:
            assert (await answer.json())["result"]["params"] == {"a": 1}


async def test_an_endpoint_that_is_down_and_another_path() -> None:
    async with through("http://127.0.0.1:1/jsonrpc", Events()) as way:
        body = {"jsonrpc": "2.0", "method": "add", "params": {}, "id": 7}
        async with way.session.post(way.url("/rpc"), json=body) as answer:
            told = await answer.json()
            assert (answer.status, told["id"], told["error"]["code"]) == (400, 7, 500)
        async with way.session.post(way.url("/other"), json=body) as answer:
            assert answer.status == 404


async def test_no_tls() -> None:
    events = Events()
    async with through("http://127.0.0.1:1/jsonrpc", events) as way:
        reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        assert (await events.wait_for(TunnelFinished)).outcome == "no_tls"


async def test_stopping_while_hands_are_shaken() -> None:
    events = Events()
    forwarder = JsonRpcForwarder(JsonRpcClient("http://x/", tls=None), Serving(Requests("/"), TLS), emit=events)
    await forwarder.start()
    near, far = tcp_pair()
    task = asyncio.create_task(forwarder.forward(near, DOMAIN, P))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events.of(TunnelFinished)[0].outcome == "stopped"
    far.close()
    assert forwarder.open == 0
    await forwarder.close()

"""JSON-RPC over HTTP between ours and those in use (PROTOCOL.md section 5; section 9, «Calls»)."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from eps.core.jsonrpc_text import Call
from eps.core.message import Error
from eps.core.message import Response as OurResponse
from eps.errors import DeliveryError, TlsFailed
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.server import JsonRpcServer, Serving
from eps.transport.tls import TlsFiles
from support.foreign.network import HD_1, PROXY, Network
from support.foreign.rpc import ForeignRpcClient, ForeignRpcServer, RpcCall, RpcError
from support.ours import Watch, in_thread


def _answer(call: RpcCall) -> Any:
    if call.method == "fail":
        raise RpcError(-7, "no", {"why": "because"})
    return call.params.get("want")


@pytest.fixture
def server() -> Iterator[ForeignRpcServer]:
    server = ForeignRpcServer(_answer)
    yield server
    server.close()


@asynccontextmanager
async def our_client(endpoint: str, **options: Any) -> AsyncIterator[JsonRpcClient]:
    client = JsonRpcClient(endpoint, tls=options.pop("tls", None), **options)
    try:
        yield client
    finally:
        await client.close()


# --- our client, their server


@pytest.mark.parametrize("want", [{"a": 1}, [1, "x"], "text", 0, False, None, {}, {"_": 1}])
async def test_ours_reads_any_result(server: ForeignRpcServer, want: Any) -> None:
    async with our_client(server.endpoint) as client:
        answer = await client.call("m", {"want": want}, request_id="op.m(1)")
    assert answer.error is None
    assert (answer.result or None) == (want or None)
    assert server.calls[0].id == "op.m(1)"


@pytest.mark.parametrize("slip", [False, True])
async def test_ours_reads_errors_also_with_the_recorded_slip(server: ForeignRpcServer, slip: bool) -> None:
    server.slip = slip
    async with our_client(server.endpoint) as client:
        answer = await client.call("fail", {}, request_id="op.fail(1)")
    assert answer.error == Error(-7, "no", {"why": "because"})


@pytest.mark.parametrize("html", [True, False])
async def test_ours_does_not_take_a_404_page_for_a_success(server: ForeignRpcServer, html: bool) -> None:
    server.html_404 = html
    async with our_client(server.endpoint + "/elsewhere") as client:
        with pytest.raises(DeliveryError, match="404"):
            await client.call("m", {}, request_id="op.m(1)")


async def test_an_empty_id_gets_one_from_the_server(server: ForeignRpcServer) -> None:
    async with our_client(server.endpoint) as client:
        await client.call("m", {})
    assert server.calls[0].id


async def test_mutual_tls_with_a_name_that_is_not_the_host() -> None:
    with Network() as network:
        server = ForeignRpcServer(lambda call: call.client_name, network.context(PROXY, server=True))
        certificate, key, root = network.files(HD_1)
        files = TlsFiles((str(root),), str(certificate), str(key))
        try:
            async with our_client(server.endpoint, tls=files, server_name=PROXY) as client:
                assert (await client.call("m", {})).result == HD_1
            async with our_client(server.endpoint, tls=files, server_name="other") as client:
                with pytest.raises(TlsFailed):
                    await client.call("m", {})
        finally:
            server.close()


# --- their client, our server


@asynccontextmanager
async def our_server(**options: Any) -> AsyncIterator[JsonRpcServer]:
    async def handle(call: Call) -> OurResponse:
        if call.method == "fail":
            return OurResponse(call.id, error=Error(-7, "no", {"why": "because"}))
        return OurResponse(call.id, call.params.get("want"))

    server = JsonRpcServer("test", "127.0.0.1:0", handle, serving=Serving(**options), emit=Watch())
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@pytest.mark.parametrize("request_id", ["a", 7, -7, 0, "n:7", "nn:-7", "ä"])
async def test_ids_come_back_to_foreign_clients(request_id: Any) -> None:
    async with our_server() as server:
        client = ForeignRpcClient(f"http://127.0.0.1:{server.port}/jsonrpc")
        answer = await in_thread(client.call, "m", {"want": [1]}, request_id)
    assert (answer.status, answer.id, answer.result) == (200, request_id, [1])
    assert json.loads(answer.body)["jsonrpc"] == "2.0"


async def test_errors_reach_foreign_clients_that_ignore_the_status() -> None:
    async with our_server() as server:
        client = ForeignRpcClient(f"http://127.0.0.1:{server.port}/jsonrpc")
        answer = await in_thread(client.call, "fail", {}, "1")
        assert answer.error == {"code": -7, "message": "no", "data": {"why": "because"}}
        assert json.loads(answer.body)["jsonrpc"] == "2.0"
        assert answer.status == 400
        elsewhere = ForeignRpcClient(f"http://127.0.0.1:{server.port}/nope")
        lost = await in_thread(elsewhere.call, "m", {}, "1")
        assert (lost.status, lost.body) == (404, b'{"message":"not found"}')

"""Large calls by JSON-RPC, and their answers, don't hold up the event loop: in both directions, whatever they hold."""

from typing import Any

import pytest

from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.jsonrpc.client import JsonRpcClient
from support.promptness import A_TURN, shortest_longest_turn
from support.testing import jsonrpc_server


async def echo(call: Call) -> Response:
    return Response(call.id, call.params)


LARGE: dict[str, Any] = {
    "lists": [[] for _ in range(600_000)],
    "keys": {str(number): 1 for number in range(200_000)},
    "keys inside lists": [{str(number): [number]} for number in range(80_000)],
}


@pytest.mark.parametrize("kind", LARGE)
async def test_a_large_call_and_its_answer(kind: str) -> None:
    value = {"a": LARGE[kind]}
    async with jsonrpc_server(echo) as server:
        client = JsonRpcClient(f"http://127.0.0.1:{server.port}/jsonrpc", tls=None)

        async def call(_number: int) -> None:
            answer = await client.call("hd-1.x", value, timeout=60)
            assert answer.error is None and len(answer.result["a"]) == len(value["a"])

        try:
            assert await shortest_longest_turn(call) < A_TURN
        finally:
            await client.close()

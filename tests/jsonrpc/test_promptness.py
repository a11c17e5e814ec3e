"""Large calls by JSON-RPC, and their answers, don't hold up the event loop: in both directions, whatever they hold."""

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.errors import EpsError
from eps.jsonrpc.client import JsonRpcClient
from eps.programs.running.collector import MANY, TICK_SECONDS, collect_at_leisure
from eps.transport.large_values import LARGE_VALUES
from support.grpc_rig import nested
from support.promptness import A_TURN, looks, shortest_longest_turn
from support.testing import jsonrpc_server


async def echo(call: Call) -> Response:
    return Response(call.id, call.params)


LARGE: dict[str, Any] = {
    "lists": [[] for _ in range(600_000)],
    "keys": {str(number): 1 for number in range(200_000)},
    "numbers": [0.5 + number for number in range(400_000)],
    "nested lists": [nested("l" * 40) for _ in range(30_000)],
    "nested objects": [nested("o" * 30) for _ in range(20_000)],
    "keys inside lists": [{str(number): [number]} for number in range(80_000)],
    "two million lists": [nested("l" * 94) for _ in range(22_000)],
}


SLOW = ("numbers", "nested lists", "nested objects", "two million lists")
"""Those that take the longest."""


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.chaos] * (kind in SLOW)) for kind in LARGE])
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


async def test_nobody_looks_at_the_values_of_a_large_call_for_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would hold up the event loop for as long as it takes: 100 ms for so many."""
    monkeypatch.setattr(LARGE_VALUES, "_watched", [])  # another test may keep one for minutes

    async def answer_later(call: Call) -> Response:
        at_once = [[] for _ in range(2 * MANY)]  # those of the call may have been looked at while they came, few by few
        with looks() as seen_meanwhile:
            await asyncio.sleep(4 * TICK_SECONDS)
            young = gc.get_count()[0]
        assert young > MANY and at_once, "they are alive, and new"
        return Response(call.id, {"seen": seen_meanwhile, "values": len(call.params["a"])})

    await LARGE_VALUES.decoded(0, dict, lambda value: value)  # from now on they are looked after in this loop
    async with asyncio.timeout(60):
        while len(LARGE_VALUES):  # what is forgotten is subtracted from what is new
            await asyncio.sleep(0.01)
    value = {"a": [[] for _ in range(5 * MANY)]}
    gc.collect()  # which it does before it begins
    collecting = asyncio.create_task(collect_at_leisure())
    await asyncio.sleep(0)
    async with jsonrpc_server(answer_later) as server:
        client = JsonRpcClient(f"http://127.0.0.1:{server.port}/jsonrpc", tls=None)
        with looks() as seen:
            answer = await client.call("hd-1.x", value, timeout=60)
        await client.close()
    collecting.cancel()
    await asyncio.wait([collecting])
    assert answer.error is None
    assert answer.result == {"seen": [], "values": 5 * MANY}
    assert all(generation < 2 and young <= MANY for generation, young in seen)


HOSTILE = {
    "nested too deep": b'{"a":' + b"[" * 1_900_000 + b"]" * 1_900_000 + b"}",
    "nested too deep, again and again": b'{"a":[' + b",".join([b"[" * 220 + b"]" * 220] * 8_000) + b"]}",
    "objects nested too deep": b'{"a":[' + b",".join([b'{"a":' * 220 + b"1" + b"}" * 220] * 2_500) + b"]}",
    "never closed": b'{"a":' + b"[" * 3_900_000,
    "one long text": b'{"a":"' + b"\\n" * 1_900_000 + b'"}',
    "an integer beyond at the end": b'{"a":[' + b"0," * 1_900_000 + b"9007199254740993]}",
    "lists, and an integer beyond": b'{"a":[' + b"[]," * 1_300_000 + b"9007199254740993]}",
    "the same key": b"{" + b",".join([b'"a":1'] * 600_000) + b"}",
}
"""Objects of some 4 MB that nobody sends in good faith."""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.chaos] * (kind != "nested too deep, again and again")) for kind in HOSTILE],
)
async def test_what_a_caller_sends_to_hold_us_up(kind: str) -> None:
    body = b'{"jsonrpc":"2.0","id":"1","method":"hd-1.x","params":' + HOSTILE[kind] + b"}"
    head = f"POST /jsonrpc HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    async with jsonrpc_server(echo) as server:

        async def post(_number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head.encode() + b"Host: x\r\nConnection: close\r\n\r\n" + body)
            assert (await reader.read(9)).startswith(b"HTTP/1.1 ")
            while await reader.read(1 << 20):
                pass
            writer.close()

        assert await shortest_longest_turn(post) < A_TURN


@pytest.mark.chaos
@pytest.mark.parametrize("kind", HOSTILE)
async def test_what_a_server_answers_to_hold_us_up(kind: str) -> None:
    body = b'{"jsonrpc":"2.0","id":"1","result":' + HOSTILE[kind] + b"}"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:

        async def call(_number: int) -> None:
            port = server.sockets[0].getsockname()[1]
            client = JsonRpcClient(f"http://127.0.0.1:{port}/jsonrpc", tls=None)
            with suppress(EpsError):
                await client.call("hd-1.x", {}, timeout=60, request_id="1")
            await client.close()

        assert await shortest_longest_turn(call) < A_TURN

"""jsonrpc/large_bodies: one at a time, counted, and nobody keeps the others waiting for long."""

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from eps.core.jsonrpc_text import Call, strict_loads
from eps.core.message import Response
from eps.core.taking_apart import STEP_VALUES, take_apart
from eps.jsonrpc import large_bodies as module
from eps.jsonrpc import request_body
from eps.jsonrpc.client import JsonRpcClient
from eps.jsonrpc.large_bodies import LARGE, LargeBodies
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import JsonRpcServer, ServerLimits
from support.testing import jsonrpc_server

SEVERAL = ServerLimits(max_body=8 * LARGE)


def submission(size: int) -> dict[str, Any]:
    return {"records": [{"name": "x" * 1000} for _ in range(size // 1000)]}


async def call(server: JsonRpcServer, params: dict[str, Any]) -> Response:
    client = JsonRpcClient(f"http://localhost:{server.port}/jsonrpc", tls=None)
    try:
        return await client.call("submitRecords", params, request_id="7", timeout=20)
    finally:
        await client.close()


async def begin(server: JsonRpcServer, size: int, sent: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request of which some bytes are sent, and no more."""
    reader, writer = await asyncio.open_connection("localhost", server.port)
    head = f"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode() + b" " * sent)
    await writer.drain()
    return reader, writer


async def test_large_ones_are_answered_one_at_a_time_and_small_ones_beside_them() -> None:
    running = most = 0
    small = asyncio.Event()

    async def answer(call: Call) -> Response:
        nonlocal running, most
        if len(call.params["records"]) < 10:
            small.set()
            return Response(call.id, "small")
        running += 1
        most = max(most, running)
        await small.wait()
        running -= 1
        return Response(call.id, len(call.params["records"]))

    async with jsonrpc_server(answer, limits=SEVERAL, requests=Requests(large=LargeBodies(strict_loads))) as server:
        large = [asyncio.create_task(call(server, submission(2 * LARGE))) for _ in range(4)]
        while not running:
            await asyncio.sleep(0.01)
        assert (await call(server, submission(1000))).result == "small"
        answers = await asyncio.gather(*large)
    assert [answer.result for answer in answers] == [2 * LARGE // 1000] * 4
    assert [answer.id for answer in answers] == ["7"] * 4
    assert most == 1


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"records": [{}] * LARGE}, "more than 1,000,000 values in one JSON text"),
        ({"records": [], "more": "x" * 6 * LARGE}, "bytes of JSON in one piece, the limit is 5242880"),
        ({"records": ["x" * 6 * LARGE]}, "bytes of JSON in one piece, the limit is 5242880"),
    ],
)
async def test_what_would_take_too_much_is_refused(params: dict[str, Any], why: str) -> None:
    async def never(call: Call) -> Response:
        raise AssertionError

    async with jsonrpc_server(never, limits=SEVERAL, requests=Requests(large=LargeBodies(strict_loads))) as server:
        answer = await call(server, params)
    assert answer.error is not None
    assert why in answer.error.message


async def test_a_body_that_is_no_request_is_refused_as_a_small_one_is() -> None:
    async def never(call: Call) -> Response:
        raise AssertionError

    async with jsonrpc_server(never, limits=SEVERAL, requests=Requests(large=LargeBodies(strict_loads))) as server:
        reader, writer = await asyncio.open_connection("localhost", server.port)
        body = b'{"jsonrpc": "2.0", "method": 7, "params": {}, "id": 1}' + b" " * LARGE
        head = f"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        answer = json.loads((await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")[2])
        writer.close()
    assert '"method" must be a string' in answer["error"]["message"]


async def test_who_falls_silent_in_its_turn_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "SILENT_SECONDS", 0.2)

    async def answer(call: Call) -> Response:
        return Response(call.id, "ok")

    async with jsonrpc_server(answer, limits=SEVERAL, requests=Requests(large=LargeBodies(strict_loads))) as server:
        silent = [await begin(server, 4 * LARGE, LARGE + 100_000) for _ in range(3)]
        for reader, writer in silent:  # one after the other: each has the turn when the one before has lost it
            async with asyncio.timeout(20):
                assert "the body did not arrive within" in (await reader.readuntil(b"}")).decode()
            writer.close()
        monkeypatch.undo()  # an honest sender may be slow on a busy machine
        assert (await call(server, submission(2 * LARGE))).result == "ok"


async def test_who_trickles_loses_its_turn_once_others_wait() -> None:
    turns = LargeBodies(strict_loads)
    assert not turns.is_too_slow(LARGE, 1000)
    async with turns.turn():
        waiting = asyncio.create_task(enter(turns))
        await asyncio.sleep(0)
        assert not turns.is_too_slow(LARGE, 10.9)
        assert turns.is_too_slow(LARGE, 11.1)
    await waiting


async def test_a_trickling_body_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(LargeBodies, "is_too_slow", lambda *_: True)

    async def never(call: Call) -> Response:
        raise AssertionError

    async with jsonrpc_server(never, limits=SEVERAL, requests=Requests(large=LargeBodies(strict_loads))) as server:
        answer = await call(server, submission(4 * LARGE))
    assert answer.error is not None
    assert "the body comes slowly, and others wait" in answer.error.message


async def enter(turns: LargeBodies) -> None:
    async with turns.turn():
        pass


async def test_only_so_many_wait_and_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", 0.1)
    turns = LargeBodies(strict_loads)
    async with turns.turn():
        waiting = [asyncio.create_task(enter(turns)) for _ in range(17)]
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert ["are waiting already" in str(error) for error in ended] == [False] * 16 + [True]
    assert ["other large requests took" in str(error) for error in ended] == [True] * 16 + [False]
    await enter(turns)


async def test_what_it_brought_is_forgotten_in_pieces_before_the_memory_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    each, left = list[int](), list[int]()

    def counted(values: list[Any]) -> Iterator[None]:
        before = sys.getallocatedblocks()
        for _ in take_apart(values):
            each.append(before - sys.getallocatedblocks())
            yield
            before = sys.getallocatedblocks()

    async def answer(call: Call) -> Response:
        return Response(call.id, len(call.params["records"]))

    monkeypatch.setattr(module, "take_apart", counted)
    monkeypatch.setattr(module, "give_back_memory", lambda: left.append(sum(each)))
    async with jsonrpc_server(answer, limits=SEVERAL, requests=Requests(large=LargeBodies(strict_loads))) as server:
        assert (await call(server, {"records": [{"a": [1]}] * 120_000})).result == 120_000
    assert left[0] > 200_000
    assert max(each) < 6 * STEP_VALUES

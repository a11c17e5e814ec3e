"""A narrow line: who sends much does not keep those waiting who send little."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eps.jsonrpc.client import JsonRpcClient
from support.application import offer
from support.faults import FaultProxy, Weather
from support.namespaces import Apart, Hub
from support.network import HD_1, HD_2, Network, Node

LARGE = "x" * 2_000_000
PER_SECOND = 10
SECONDS = 6.0
QUEUE = 64_000
"""Bytes: a second of the line's work, as routers have."""

SMALL = "_directory"
"""What hd-2 answers itself, in a few bytes about nobody: an application would be on the narrow line, too."""

BOUND = 3.0
"""Seconds that a small call may take."""


async def test_small_calls_pass_large_ones_on_a_narrow_line() -> None:
    """Two calls of 2 MB beside ten small ones a second, at 64 kB/s: each of these takes less than 3 s."""
    async with Network(behind_proxy=()) as network:
        hd_1, hd_2 = await network.node(HD_1, call_timeout=60.0), await network.node(HD_2, call_timeout=60.0)
        async with FaultProxy(int(hd_2.address.rpartition(":")[2]), buffers=16_384) as line:
            network.addresses[HD_2] = f"127.0.0.1:{line.port}"
            network.publish()
            assert (await hd_1.call("hd-2.echo", {"value": 1})).result == {"got": 1}
            line.weather = Weather(rate=64_000, piece=1400, under_way=16_384)
            large = [asyncio.create_task(hd_1.call("hd-2.echo", {"value": LARGE}, f"large {n}")) for n in range(2)]
            await asyncio.sleep(0.5)
            took = await small_ones(lambda number: echoed(hd_1, number))
            assert not any(task.done() for task in large), "they must be under way meanwhile"
            for task in large:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
    assert max(took) < BOUND, sorted(took)[-5:]


async def echoed(node: Node, number: int) -> None:
    assert (await node.call("hd-2.echo", {"value": number}, f"small {number}")).result == {"got": number}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("a", "b", "p") as made:
        yield made


@pytest.mark.chaos
@pytest.mark.parametrize("place", ["b", "p"])
async def test_small_calls_pass_large_ones_on_a_narrow_line_behind_a_relay(
    hub: Hub, tmp_path: Path, dev_tree: Path, place: str
) -> None:
    """The same through a tunnel, whose far leg or whose proxy has the narrow line. Whatever the relay and the line hold
    is in front of what is small, so the caller lets little of what is large be on its way."""
    async with Apart(tmp_path, dev_tree, hub) as machine:
        offer(machine, method=SMALL)
        await machine.ready()
        hub.narrow(place, 64_000, QUEUE)
        client = machine.application()
        try:
            await answered(client, "first")
            large = [asyncio.create_task(client.call("hd-2._ping", {"value": LARGE})) for _ in range(2)]
            await asyncio.sleep(0.5)
            took = await small_ones(lambda number: answered(client, f"small {number}"))
            assert not any(task.done() for task in large), "they must be under way meanwhile"
            for task in large:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        finally:
            await client.close()
    in_order = sorted(took)
    assert in_order[len(took) * 9 // 10] < BOUND, in_order
    assert in_order[-1] < 10 * BOUND, (
        in_order
    )  # TCP is that late at times, where the line loses one packet again and again


async def answered(client: JsonRpcClient, name: str) -> None:
    answer = await client.call(f"hd-2.{SMALL}", {"operator": "nobody"}, request_id=name)
    assert answer.error is None and answer.result == {"entries": []}


async def small_ones(call: Callable[[int], Awaitable[None]]) -> list[float]:
    """So many calls per second, for some seconds; how long each took."""
    loop = asyncio.get_running_loop()

    async def one(number: int) -> float:
        await asyncio.sleep(number / PER_SECOND)
        began = loop.time()
        await call(number)
        return loop.time() - began

    return await asyncio.gather(*(one(number) for number in range(int(SECONDS * PER_SECOND))))

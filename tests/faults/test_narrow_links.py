"""A narrow line: who sends much does not keep those waiting who send little."""

import asyncio
from contextlib import suppress

from support.faults import FaultProxy, Weather
from support.network import HD_1, HD_2, Network, Node

LARGE = "x" * 2_000_000
PER_SECOND = 10
SECONDS = 6.0
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
            took = await small_calls(hd_1)
            assert not any(task.done() for task in large), "they must be under way meanwhile"
            for task in large:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
    assert max(took) < BOUND, sorted(took)[-5:]


async def small_calls(node: Node) -> list[float]:
    loop = asyncio.get_running_loop()

    async def one(number: int) -> float:
        await asyncio.sleep(number / PER_SECOND)
        began = loop.time()
        assert (await node.call("hd-2.echo", {"value": number}, f"small {number}")).result == {"got": number}
        return loop.time() - began

    return await asyncio.gather(*(one(number) for number in range(int(SECONDS * PER_SECOND))))

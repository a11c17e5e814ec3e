"""Long runs of a whole network in one process: every task and every allocation of all parts is in view."""

import asyncio
import gc
import os
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from eps.core.event import PeerChanged
from support.measure import load_of, settled_tasks
from support.network import HD_1, HD_2, Network, Node

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

AT_A_TIME = 32


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with Network() as made:
        await made.node(HD_1)
        await made.node(HD_2)
        await made.proxy()
        await made.ready()
        yield made


async def pings(node: Node, count: int) -> None:
    """``count`` pings, 32 at a time; none may fail."""
    left = iter(range(count))

    async def caller() -> None:
        for number in left:
            answer = await node.call("hd-2._ping", {"n": number}, str(number))
            assert answer.error is None, answer.error
            assert answer.result["params"]["n"] == number

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(caller())


def forget_events(network: Network) -> None:
    """What was recorded is the test's, not the servers'."""
    for node in network.nodes.values():
        node.events.all.clear()
        node.application.requests.clear()
    network.relay_events.all.clear()


async def held(network: Network) -> tuple[int, int, int, int]:
    """Tasks, files, bytes allocated by Python code, resident bytes."""
    forget_events(network)
    tasks = await settled_tasks()
    gc.collect()
    load = load_of(os.getpid())
    return tasks, load.files, tracemalloc.get_traced_memory()[0], load.memory


async def test_twenty_thousand_relayed_pings(network: Network) -> None:
    a = network.nodes[HD_1]
    tracemalloc.start()
    try:
        await pings(a, 2_000)
        before = await held(network)
        for part in range(10):
            await pings(a, 2_000)
            now = await held(network)
            print(f"\n{(part + 1) * 2_000}: {now[0]} tasks, {now[1]} files, {now[2] / 2**20:.2f} MiB of objects, "
                  f"{now[3] / 2**20:.1f} MiB resident", end="")  # fmt: skip
    finally:
        tracemalloc.stop()
    assert now[:2] == before[:2]
    assert now[2] - before[2] < 256 * 1024  # 13 bytes a ping: less than any object
    assert now[3] - before[3] < 8 * 2**20
    assert a.steps() == []  # all on the tunnel that was there


async def test_five_hundred_tunnels(network: Network) -> None:
    """Tunnels that are cut again and again leave nothing behind."""
    a = network.nodes[HD_1]
    assert network.relay is not None

    async def cut_and_ping(count: int) -> None:
        for _ in range(count):
            forget_events(network)
            for relay in list(network.relay.relays):
                relay.stop()
            await a.events.wait_for(PeerChanged, lambda event: event.link == "tunnel" and not event.up)
            answer = await a.call("hd-2._ping")
            assert answer.error is None, answer.error

    tracemalloc.start()
    try:
        assert (await a.call("hd-2._ping")).error is None
        await cut_and_ping(600)  # h2 remembers the last 512 streams of each connection that was closed
        before = await held(network)
        await cut_and_ping(500)
        now = await held(network)
    finally:
        tracemalloc.stop()
    print(f"\n{before} → {now}", end="")
    assert now[:2] == before[:2]
    assert now[2] - before[2] < 256 * 1024
    assert now[3] - before[3] < 12 * 2**20

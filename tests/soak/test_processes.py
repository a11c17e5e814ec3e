"""Long runs of the real programs, seen from outside."""

import asyncio

import pytest

from support.machine import SERVERS, Machine
from support.measure import Load, load_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

AT_A_TIME = 32
GROWTH = 6 * 2**20
"""Bytes: what the allocator may still take for itself after the warm-up; 20,000 leaks of 300 bytes would show."""


async def pings(machine: Machine, count: int) -> None:
    left = iter(range(count))
    client = machine.application()

    async def caller() -> None:
        for number in left:
            response = await client.call("hd-2._ping", {}, request_id=str(number))
            assert response.error is None, response.error

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(caller())
    finally:
        await client.close()


async def loads(machine: Machine) -> dict[str, Load]:
    await asyncio.sleep(2)  # connections of the client that was closed are noticed
    return {role: load_of(machine.processes[role].pid) for role in SERVERS}


async def test_twenty_thousand_relayed_pings(machine: Machine) -> None:
    await machine.ready()
    await pings(machine, 12_000)  # by then the allocators have what they need
    before = await loads(machine)
    for _ in range(5):
        await pings(machine, 4_000)
    now = await loads(machine)
    for role in SERVERS:
        print(f"\n{role}: {before[role]} → {now[role]}", end="")
    for role in SERVERS:
        assert now[role].files <= before[role].files, role
        assert now[role].threads <= before[role].threads, role
        assert now[role].memory - before[role].memory < GROWTH, role

"""A working day in short: two thousand tunnels, every tenth in use, and three hundred calls a second beside them.

EPS_SOAK_SECONDS says how long: 1,800 for the run that the documents tell of, and in ``make soak``; by default a minute.
"""

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from support.hellos import hello, host
from support.machine import PASSTHROUGH, SERVERS, Machine
from support.measure import Load, load_of

SECONDS = float(os.environ.get("EPS_SOAK_SECONDS", "60"))
TUNNELS = 2_000
ACTIVE = TUNNELS // 10
CALLS_A_SECOND = 300
AT_A_TIME = 64
"""A machine that others use, too, does fewer calls, rather than late ones; the count is printed."""

DOMAIN = "test.internal-server.local"
HELLO = hello(host(DOMAIN))
ROLES = (*SERVERS, *PASSTHROUGH)
PATIENCE = 60.0
WARM = 0.2
"""Of the whole time; what the programs hold then is the baseline."""

GROWTH = 8 * 2**20
"""Bytes that a program may hold more at the end."""

MORE_THREADS = (os.cpu_count() or 1) + 4
"""asyncio starts another where all that it has are busy, up to so many, and keeps them."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 600)]

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echoing(port: int) -> AsyncIterator[None]:
    """The internal server: what comes behind the hello goes back."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(HELLO)) == HELLO
        writer.write(b"!")
        with suppress(ConnectionError):
            while part := await reader.read(65_536):
                writer.write(part)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "localhost", port, backlog=512)
    try:
        yield
    finally:
        server.close()


async def announced(machine: Machine) -> None:
    """Tried again until everybody knows the directory."""
    params = {"domain": DOMAIN, "proxy": "public-proxy-1.ga", "expires_at": None}
    async with asyncio.timeout(PATIENCE):
        while (await machine.call("private-proxy-1.ga.announceConnection", params)).error is not None:
            await asyncio.sleep(0.1)


async def tunnel(port: int) -> Ends:
    """Through both proxies to the internal server, which has said its first byte."""
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(HELLO)
    async with asyncio.timeout(PATIENCE):
        assert await reader.readexactly(1) == b"!"
    return reader, writer


async def use_once(ends: Ends, rng: random.Random, counts: Counter[str]) -> None:
    """Send some KiB, and compare what comes back."""
    reader, writer = ends
    sent = rng.randbytes(rng.randrange(1, 32_768))
    writer.write(sent)
    async with asyncio.timeout(PATIENCE):
        assert await reader.readexactly(len(sent)) == sent
    counts["bytes"] += len(sent)


async def use(ends: Ends, until: float, rng: random.Random, counts: Counter[str]) -> None:
    """Send some KiB now and then."""
    while time.monotonic() < until:
        await use_once(ends, rng, counts)
        await asyncio.sleep(rng.uniform(0.5, 2.0))


async def calls(machine: Machine, until: float, counts: Counter[str]) -> None:
    """At a steady rate, if the machine has time for it; none may fail, and each answer is its own question's."""
    client = machine.application()
    began = time.monotonic()
    numbers = itertools.count()

    async def caller() -> None:
        while (due := began + (number := next(numbers)) / CALLS_A_SECOND) < until:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            if time.monotonic() > until:
                return
            answer = await client.call("hd-2._ping", {"n": number}, request_id=str(number))
            assert answer.error is None, answer.error
            assert answer.result["params"]["n"] == number
            counts["calls"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(caller())
    await client.close()


def loads(machine: Machine) -> dict[str, Load]:
    return {role: load_of(machine.processes[role].pid) for role in ROLES}


def ended(held: list[Ends]) -> int:
    """How many tunnels are over."""
    return sum(reader.at_eof() or reader.exception() is not None for reader, _ in held)


def tell(machine: Machine, when: str, counts: Counter[str], held: list[Ends]) -> None:
    print(
        f"\n{when}: {counts['calls']:,} calls, {counts['bytes'] / 1e6:,.0f} MB through tunnels, "
        f"{ended(held)} of {len(held)} tunnels have ended"
    )
    print("\n".join(f"  {role}: {load}" for role, load in loads(machine).items()), flush=True)


async def test_two_thousand_tunnels_and_three_hundred_calls_a_second(machine: Machine) -> None:
    counts: Counter[str] = Counter()
    async with echoing(machine.ports.of[7777]):
        await machine.ready()
        await machine.start(*PASSTHROUGH)
        await announced(machine)
        held = [await tunnel(machine.ports.of[4433]) for _ in range(TUNNELS)]
        tell(machine, "all tunnels are up", counts, held)
        until = time.monotonic() + SECONDS
        async with asyncio.TaskGroup() as group:
            group.create_task(calls(machine, until, counts))
            for number, ends in enumerate(held[:ACTIVE]):
                group.create_task(use(ends, until, random.Random(number), counts))
            await asyncio.sleep(WARM * SECONDS)
            before = loads(machine)
            while time.monotonic() < until - 5:
                tell(machine, f"{SECONDS - until + time.monotonic():.0f} s", counts, held)
                await asyncio.sleep(min(60.0, max(until - 5 - time.monotonic(), 0)))
        await asyncio.sleep(3)
        now = loads(machine)
        tell(machine, "at the end", counts, held)
        assert ended(held) == 0
        async with asyncio.TaskGroup() as group:
            for number, ends in enumerate(held):
                group.create_task(use_once(ends, random.Random(number), counts))
        for _, writer in held:
            writer.close()
        await asyncio.sleep(3)
        tell(machine, "without tunnels", counts, [])
        for role in ROLES:
            assert now[role].memory - before[role].memory < GROWTH, f"{role}: {before[role]} → {now[role]}"
            assert now[role].threads <= before[role].threads + MORE_THREADS, role
            assert load_of(machine.processes[role].pid).files < 100, role

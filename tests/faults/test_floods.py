"""Whoever floods a server's ports stalls nobody: honest calls beside it are all answered, in time, and the memory that
it takes is bounded and given back."""

import asyncio
from pathlib import Path

import pytest

from support.attacker import AT_GRPC, AT_JSONRPC, KINDS, Attacker
from support.flood import Flood, Kind
from support.honest import HonestLoad, at
from support.machine import Machine
from support.measure import load_of

MIB = 2**20
MOST_MEMORY = 250 * MIB
"""The promise, whatever floods."""

LEFT_BEHIND = 64 * MIB
"""More than before a flood, once it is over: what Python keeps for later, and its pieces of the heap."""

PROMISED_SECONDS = 1.0
BUSY_SECONDS = 10.0
"""Where tests share two processors with others: what a stalled server would not keep to either."""

SOME, ALL = 3_000, 10_000
SOME_HANDSHAKES = 1_200
"""More than a port lets in; each of them costs this machine some milliseconds."""

WITH_TLS = ("hello", "tls", "half_head")


def flood(machine: Machine, kind: Kind, port: str, count: int) -> Flood:
    """At hd-1."""
    certs: Path = machine.dev / "certs"
    if port == "grpc":
        kind, number, own, alpn = "half_preface" if kind == "half_head" else kind, 8888, certs / "hd-2", "h2"
    else:
        number, own, alpn = 5555, certs / "hd-1", "http/1.1"
    return Flood(kind, machine.ports.of[number], count, certificate=own, alpn=alpn)


async def ready(machine: Machine) -> None:
    """hd-1 logs as in production: what a flood makes it say at level debug, this process would have to read."""
    await machine.ready()
    await machine.stop("hd-1")
    await (await machine.launch("hd-1", "--level", "info")).up()
    await machine.until_ping(30)


async def beside(machine: Machine, kind: Kind, count: int) -> HonestLoad:
    """Honest calls, from the beginning of a flood at both ports to its end; what it does to memory is looked at."""
    pid = machine.processes["hd-1"].pid
    before = most = load_of(pid).memory
    async with HonestLoad(machine) as honest:
        async with flood(machine, kind, "grpc", count) as first, flood(machine, kind, "jsonrpc", count) as second:
            made = asyncio.gather(first.made(), second.made())
            while not made.done():
                await asyncio.sleep(0.05)
                most = max(most, load_of(pid).memory)
            print(f"{kind}: {await made} made")
            assert load_of(pid).files < 2 * 1_000 + 1_000, "more than 1,000 of each port, and what is there besides"
        await asyncio.sleep(0.5)
    print(f"{honest}; {before / MIB:.0f} MiB before, {most / MIB:.0f} at most")
    assert most < MOST_MEMORY
    async with asyncio.timeout(30):
        while load_of(pid).memory > before + LEFT_BEHIND or load_of(pid).files > 200:
            await asyncio.sleep(0.1)
    return honest


@pytest.mark.parametrize(
    "kind",
    ["tcp", "half_head", *(pytest.param(kind, marks=pytest.mark.chaos) for kind in ("half_hello", "hello", "tls"))],
)
async def test_an_honest_client_beside_silent_connections(machine: Machine, kind: Kind) -> None:
    await ready(machine)
    honest = await beside(machine, kind, SOME_HANDSHAKES if kind in WITH_TLS else SOME)
    assert not honest.lost
    assert min(map(len, (honest.kept, honest.new_jsonrpc, honest.new_grpc))) > 0
    assert max(honest.kept + honest.fresh) < BUSY_SECONDS


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["tcp", "half_hello", "hello", "tls", "half_head"])
async def test_ten_thousand_silent_connections(machine: Machine, kind: Kind) -> None:
    await ready(machine)
    honest = await beside(machine, kind, ALL)
    assert not honest.lost
    assert max(honest.kept + honest.fresh) < PROMISED_SECONDS
    assert at(honest.kept, 0.99) < 0.25


@pytest.mark.chaos
@pytest.mark.parametrize("kind", KINDS)
async def test_honest_calls_beside_an_attack(machine: Machine, kind: str) -> None:
    await ready(machine)
    port = 8888 if kind in AT_GRPC else 5555 if kind in AT_JSONRPC else 3322
    async with HonestLoad(machine) as honest, Attacker(kind, machine.ports.of[port], machine.dev / "certs") as attacker:
        rounds = await attacker.rounds()
    print(f"{kind}: {rounds} rounds beside {honest}")
    assert rounds > 0
    assert not honest.lost
    assert min(map(len, (honest.kept, honest.new_jsonrpc, honest.new_grpc))) > 0
    assert at(honest.kept, 0.99) < 0.25
    assert at(honest.fresh, 0.99) < PROMISED_SECONDS

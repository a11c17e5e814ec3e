"""Rows about calls: relayed, direct, local, cold; and with many operators in the directory.

Each row takes turns with bare grpclib calls of the same payload (bare.py), round by round, so that whatever else the
machine does meets both alike.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from network import Bare, Network, running
from table import Row, Target
from workers import CpuShares, Worker

T = TypeVar("T")

CALLERS = (1, 32, 128)

RELAYED = {
    "hd-2._ping": "relayed _ping",
    "hd-2._kib": "relayed, 1 KiB from inside B",
    "hd-2.answer": "relayed, 1 KiB from the application behind B",
}
DIRECT = {"public-proxy-1.ga._ping": "direct _ping"}
LOCAL = {"hd-1._ping": "own _ping"}

TARGETS: dict[tuple[str, int], Sequence[Target]] = {
    ("hd-2._ping", 1): (Target(400), Target(0.30, of_ratio=True)),
    ("hd-2._ping", 32): (Target(1000), Target(0.25, of_ratio=True)),
    ("hd-2._kib", 32): (Target(0.35, of_ratio=True),),
    ("hd-2.answer", 32): (Target(0.22, of_ratio=True),),
    ("hd-1._ping", 32): (Target(3500),),
}

OPERATORS = (100, 1_000, 10_000)
FEW = 10
SUBMITTED_AT_ONCE = 2_500


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: rounds, and seconds for each of the two things in a round."""

    rounds: int
    seconds: float
    cold_calls: int
    operators: Sequence[int]

    @classmethod
    def of(cls, *, quick: bool) -> "Effort":
        return cls(2, 0.5, 8, OPERATORS[:2]) if quick else cls(5, 1.0, 40, OPERATORS)


def turns(ways: Iterable[T], index: int) -> list[T]:
    """The order in which round ``index`` measures: now this way round, now that."""
    return list(ways) if index % 2 == 0 else list(ways)[::-1]


class Stand:
    """A running network, a load generator and the bare pair."""

    def __init__(self, network: Network, load: Worker, bare: Bare) -> None:
        self.network = network
        self.load = load
        self.bare = bare

    @classmethod
    @asynccontextmanager
    async def made(cls, folder: Path, tree: Path) -> AsyncIterator["Stand"]:
        async with AsyncExitStack() as stack:
            folder.mkdir()
            network = await stack.enter_async_context(running(folder, tree))
            load = await stack.enter_async_context(network.load())
            yield cls(network, load, await stack.enter_async_context(Bare.between(network)))

    async def row(self, method: str, name: str, callers: int, effort: Effort) -> Row:
        """A method beside a bare call with the same messages."""
        request, answer = await self.network.messages(method, {})
        await self.bare.server.ask(answer=answer)
        ours, floor = [], []
        cost = Cost(self.network.pids)
        for _ in range(effort.rounds):
            with cost:
                got = await self.load.ask(seconds=effort.seconds, callers=callers, method=method, params={})
            if got["failed"]:
                raise RuntimeError(f"{got['failed']} calls of {method} failed")
            cost.count(got)
            ours.append(got["calls"] / got["seconds"])
            got = await self.bare.client.ask(seconds=effort.seconds * 0.7, callers=callers, request=request)
            floor.append(got["calls"] / got["seconds"])
        return Row(
            name=f"{name}, {callers} at a time",
            unit="/s",
            values=ours,
            beside="bare",
            beside_values=floor,
            targets=TARGETS.get((method, callers), ()),
            cpu=cost.per_call(),
            cpu_unit="µs/call",
            note=f"{name}: the answer is {len(answer) * 3 // 4:,} bytes between the servers",
        )


class Cost:
    """CPU time for each call, of each process that takes part."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._seconds: dict[str, float] = dict.fromkeys(pids, 0.0)
        self._load = 0.0
        self._calls = 0.0
        self._shares: CpuShares | None = None

    def __enter__(self) -> None:
        self._shares = CpuShares(self._pids)

    def __exit__(self, *_: object) -> None:
        assert self._shares is not None
        for name, seconds in self._shares.seconds().items():
            self._seconds[name] += seconds

    def count(self, got: dict[str, Any]) -> None:
        """The load generator's count; the calls of its warm-up are estimated from its speed."""
        rate = got["calls"] / got["seconds"]
        self._calls += rate * (got["seconds"] + 0.3)
        self._load += got["cpu_seconds"] * (got["seconds"] + 0.3) / got["seconds"]

    def per_call(self) -> dict[str, float]:
        used = {**self._seconds, "load": self._load}
        return {name: s / self._calls * 1e6 for name, s in used.items() if s / self._calls > 5e-6}


async def call_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """Relayed, direct and local calls, and the check of the load generator."""
    async with Stand.made(folder / "calls", tree) as stand:
        for method, name in {**RELAYED, **DIRECT, **LOCAL}.items():
            for callers in CALLERS if method in RELAYED else CALLERS[:2]:
                tell(await stand.row(method, name, callers, effort))
        tell(await _two_generators(stand, effort))


async def _two_generators(stand: Stand, effort: Effort) -> Row:
    """The same 32 callers from one process and from two: two would be faster if the generator were measured."""
    one, two = [], []
    async with stand.network.load() as second:
        for _ in range(effort.rounds):
            got = await stand.load.ask(seconds=effort.seconds, callers=32, method="hd-2._kib", params={})
            one.append(got["calls"] / got["seconds"])
            both = await asyncio.gather(
                *(load.ask(seconds=effort.seconds, callers=16, method="hd-2._kib", params={})
                  for load in (stand.load, second))
            )  # fmt: skip
            two.append(sum(got["calls"] / got["seconds"] for got in both))
    return Row(
        name="check: 2 generators with 16 callers each",
        unit="/s",
        values=two,
        beside="1 with 32",
        beside_values=one,
        note="check: a ratio of about 1 says that the load generator is not what is measured",
    )


async def cold_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """A call without a kept connection: ask the proxy, two dials, TLS, the call."""
    (folder / "cold").mkdir()
    async with running(folder / "cold", tree, idle_timeout=0.1) as network, network.load() as load:
        log = network.processes["hd-1"].lines
        before = _tunnels(log)
        taken = (await load.ask(times=effort.cold_calls, pause=0.4, method="hd-2._ping"))["ms"]
        await asyncio.sleep(0.3)  # for the last lines of the log
        brokered = _tunnels(log) - before
        if brokered != effort.cold_calls:
            raise RuntimeError(f"{effort.cold_calls} cold calls, but {brokered} tunnels")
        request, answer = await network.messages("hd-2._ping", {})
        async with Bare.between(network) as bare:
            await bare.server.ask(answer=answer)
            floor = (await bare.client.ask(request=request, times=effort.cold_calls))["ms"]
    name = "cold _ping through a new tunnel"
    target = Target(25, at_most=True)
    tell(Row(name, "ms", taken, "bare, new connection", floor, targets=[target], note=_spread(name, taken)))


def _tunnels(log: list[dict[str, Any]]) -> int:
    return sum(line.get("kind") == "peer" and line.get("link") == "tunnel" and line.get("up") for line in log)


def _spread(name: str, taken: list[float]) -> str:
    ordered = sorted(taken)
    return f"{name}: {len(taken)} calls, {ordered[0]:.1f} to {ordered[-1]:.1f} ms, middle {median(taken):.1f} ms"


async def operator_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """Two networks side by side: one with 10 operators, one that grows."""
    async with AsyncExitStack() as stack:
        networks, loads = [], []
        for name in ("few", "many"):
            (folder / name).mkdir()
            network = await stack.enter_async_context(running(folder / name, tree))
            networks.append(network)
            loads.append(await stack.enter_async_context(network.load()))
        few, many = networks
        known = await _operators(few)
        await _add_operators(few, known, FEW)
        for number in effort.operators:
            known = await _add_operators(many, await _operators(many), number)
            values, beside = [], []
            for index in range(effort.rounds):
                for load, rates in turns([(loads[1], values), (loads[0], beside)], index):
                    got = await load.ask(seconds=effort.seconds, callers=32, method="hd-2._ping", params={})
                    if got["failed"]:
                        raise RuntimeError(f"{got['failed']} calls failed")
                    rates.append(got["calls"] / got["seconds"])
            targets = [Target(0.9, of_ratio=True)] if number == OPERATORS[-1] else []
            name = f"relayed _ping, 32 at a time, {known:,} operators"
            tell(Row(name, "/s", values, f"{FEW} operators", beside, targets=targets))


async def _operators(network: Network) -> int:
    lines = network.processes["hd-1"].lines
    return next(int(line["operators"]) for line in reversed(lines) if line.get("kind") == "directory")


async def _add_operators(network: Network, known: int, wanted: int) -> int:
    """Submit operators, behind the proxy like hd-1, until there are so many; wait until every server knows them."""
    for first in range(known, wanted, SUBMITTED_AT_ONCE):
        records = [_record(number) for number in range(first, min(wanted, first + SUBMITTED_AT_ONCE))]
        done = await network.submit(records)
        if done.code:
            raise RuntimeError(done.err)
    for role in ("hd-1", "hd-2", "public-proxy-eps-1"):
        await network.processes[role].wait_for(timeout=120.0, kind="directory", operators=wanted)
    return wanted


def _record(number: int) -> dict[str, Any]:
    settings = {"address": f"localhost:{number}", "proxy": "public-proxy-1.ga"}
    channels = [{"type": "grpc_client"}, {"type": "grpc_server", "settings": settings}]
    return {"name": f"op-{number:05}", "section": "channels", "data": channels}

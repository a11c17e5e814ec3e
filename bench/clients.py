"""Rows about eps.client: what it costs beside the plain HTTP clients that it is built on, in the same network."""

import json
from collections.abc import Callable
from pathlib import Path

from calls import Effort
from network import running
from table import Row, Target
from workers import Worker

WAYS = (("eps.client", "http.client", 1), ("eps.AsyncClient", "aiohttp", 32))
"""Ours, what it is compared with, calls at a time."""

METHODS = {"hd-1._ping": "own _ping", "hd-2._ping": "relayed _ping"}


async def client_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """Each beside its floor, in turns."""
    (folder / "client").mkdir()
    async with running(folder / "client", tree) as network:
        given = json.dumps({"port": network.ports.of[5555], "host": "hd-1", **network.files("hd-1")})
        async with Worker("client_load.py", given) as load:
            for ours, floor, callers in WAYS:
                for method, name in METHODS.items():
                    tell(await row(load, method, name, (ours, floor, callers), effort))


async def row(load: Worker, method: str, name: str, ways: tuple[str, str, int], effort: Effort) -> Row:
    ours, floor, callers = ways
    rates: dict[str, list[float]] = {ours: [], floor: []}
    cpu: dict[str, list[float]] = {ours: [], floor: []}
    for _ in range(effort.rounds):
        for way in (ours, floor):
            got = await load.ask(way=way, method=method, seconds=effort.seconds, callers=callers)
            rates[way].append(got["calls"] / got["seconds"])
            cpu[way].append(got["cpu_seconds"] / got["calls"] * 1e6)
    return Row(
        name=f"{ours}, {name}, {callers} at a time",
        unit="/s",
        values=rates[ours],
        beside=floor,
        beside_values=rates[floor],
        targets=(Target(0.9, of_ratio=True),),
        cpu={way: sorted(taken)[len(taken) // 2] for way, taken in cpu.items()},
        cpu_unit="µs/call",
    )

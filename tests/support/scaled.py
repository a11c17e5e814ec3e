"""The network with several of everything, as real programs that a test may kill, restart, and have callers beside."""

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from eps.client import AsyncClient, CallError, Endpoint, Policy
from eps.programs.dev import scaled
from support.application import METHOD, Application
from support.load import Book
from support.machine import Machine, Process
from support.redis_server import DURABLE, RedisServer

CALLS_PER_SECOND = 100
PATIENT = Policy(timeout=32.0, attempts=200, pause=0.05, longest_pause=0.25)
"""A call that certainly was not sent is sent again: hd-1's own server, too, is killed."""


class Scaled:
    """See the module's text.

    Args:
        application: behind both servers of hd-2.
    """

    def __init__(self, machine: Machine, application: Application, redis: Any = None) -> None:
        self.machine = machine
        application.serve(machine, max_concurrent=1000)  # none is to be refused on a machine that others use, too
        free = iter([machine.ports.of[port] for port in (7776, 7766, 2118, 2138, 8877, 2116, 2136, 7777)])
        ports = {name: next(free) for name in scaled.NAMES}
        self.redis: RedisServer = redis or RedisServer(machine.folder / "redis", next(free), *DURABLE)
        of = machine.ports.of.__getitem__
        self.ground = scaled.Ground(machine.dev, machine.folder / "scaled", of, ports, self.redis.port)
        self.environments = scaled.write_settings(self.ground)

    async def launch(self, name: str) -> Process:
        """Start one of the programs, and return when it says that it runs."""
        role, program, *command = scaled.COMMANDS[name]
        process = await self.machine.spawn(
            role, program, "--format", "json", "--level", "debug", *command, **self.environments[name]
        )
        self.machine.processes[name] = process
        await process.up()
        return process

    async def start(self) -> None:
        """All of them, and the directory."""
        await asyncio.gather(*(self.launch(name) for name in scaled.COMMANDS if name.startswith("sd-")))
        await self.machine.setup_directory()
        done = await self.machine.run("eps", "sd", "submit-records", str(scaled.relay_file(self.ground)))
        assert done.code == 0, done
        tip = done.out.split()[-1]
        others = [name for name in scaled.COMMANDS if not name.startswith("sd-")]
        await asyncio.gather(*(self.launch(name) for name in others))
        for name in ("hd-1", "hd-2-a", "hd-2-b", "public-proxy-eps-1"):
            await self.machine.processes[name].wait_for(kind="directory", tip=tip)
        for name in ("hd-2-a", "hd-2-b"):
            await self.machine.processes[name].wait_for(kind="peer", link="stream", up=True)

    async def kill(self, name: str) -> None:
        """kill -9; returns when it has ended."""
        assert await self.machine.stop(name, signal.SIGKILL) == -signal.SIGKILL

    async def restart(self, name: str) -> Process:
        """As a service manager does it: SIGTERM, and when it has ended, started again."""
        assert await self.machine.stop(name) == 0
        return await self.launch(name)

    async def take_over(self, name: str) -> Process:
        """Another process takes the place of the one that runs, and both answer meanwhile."""
        old = self.machine.leaves(name)
        role, program, *command = scaled.COMMANDS[name]
        arguments = ["--format", "json", "--level", "debug", *command, "--take-over"]
        self.machine.processes[name] = await self.machine.spawn(role, program, *arguments, **self.environments[name])
        await self.machine.processes[name].up()
        assert await old.end(0) == 0
        return self.machine.processes[name]

    async def whole(self, process: Process, name: str) -> None:
        """Until a program that has been started does its part again: it follows the directory, and is connected."""
        if name.startswith("hd-") or name == "public-proxy-eps-1":
            await process.wait_for(kind="directory")
        if name.startswith("hd-"):
            await process.wait_for(kind="peer", link="stream", up=True)
        if name == "public-proxy-eps-1":
            for _ in range(2):
                await process.wait_for(kind="peer", link="connected", peer="hd-2", up=True)

    def endpoint(self) -> Endpoint:
        """hd-1's, for its application."""
        certs = self.machine.dev / "certs"
        return Endpoint(
            f"https://localhost:{self.machine.ports.of[5555]}/jsonrpc",
            operator="hd-1",
            certificate_file=str(certs / "hd-1.crt"),
            key_file=str(certs / "hd-1.key"),
            ca_certificate_files=(str(certs / "root.crt"),),
        )


class Calls:
    """What callers were told, a hundred calls a second.

    Attributes:
        book: by call.
        began: when each was made, and
        latest: when the last one was answered; of the event loop's clock.
    """

    def __init__(self) -> None:
        self.book = Book()
        self.began: dict[str, float] = {}
        self._flying: dict[str, float] = {}
        self.latest = 0.0

    @property
    def oldest(self) -> float:
        """When the oldest call was made that has no answer."""
        return min(self._flying.values(), default=time.monotonic())

    async def one(self, client: AsyncClient, name: str) -> None:
        self.began[name] = self._flying[name] = time.monotonic()
        try:
            answer = await client.call(f"hd-2.{METHOD}", {"call": name})
            assert answer == {"call": name}, "an answer was crossed"
            self.book.answered.add(name)
            self.latest = time.monotonic()
        except CallError as error:
            self.book.failed[name] = ({"no": "not_sent"}.get(error.executed, "unknown"), str(error))
        finally:
            del self._flying[name]


@asynccontextmanager
async def calling(network: Scaled, rate: float = CALLS_PER_SECOND) -> AsyncIterator[Calls]:
    """Calls come evenly, whether those before are answered or not; all are over when this is left."""
    calls, over = Calls(), asyncio.Event()

    async def make(client: AsyncClient) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                if over.is_set():
                    return
                group.create_task(calls.one(client, str(number)))
                await asyncio.sleep(max(began + (number + 1) / rate - time.monotonic(), 0))

    async with AsyncClient(network.endpoint(), policy=PATIENT) as client:
        making = asyncio.create_task(make(client))
        try:
            yield calls
        finally:
            over.set()
            await making


@asynccontextmanager
async def scaled_network(machine: Machine, application: Application) -> AsyncIterator[Scaled]:
    """All up, on a Redis of its own."""
    network = Scaled(machine, application)
    async with network.redis:
        await network.start()
        yield network
        for name in list(machine.processes):
            await machine.stop(name)


async def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)

"""Real redis-servers and Sentinels on free ports: started, frozen, killed, failed over, and ended by process id."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from redis.asyncio import Redis

from eps.core.event import Event, Level
from eps.datastores import DataEntry
from eps.datastores.redis import RedisDatastore
from eps.datastores.redis_link import RedisPlace
from support.ports import PortBlock

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed (tests/packages.sh)"
)

START_SECONDS = 20.0

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""What nothing is to be said against."""


class RedisServer:
    """One redis-server, or Sentinel.

    Args:
        folder: for its files.
        port: on 127.0.0.1.
        options: behind our own; as on its command line.
        config: lines of a configuration file that it may write to, as Sentinel does.
    """

    def __init__(self, folder: Path, port: int, *options: str, config: Sequence[str] | None = None) -> None:
        self.folder = folder
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.options = options
        self.config = config
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "RedisServer":
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), *self.options]
        if self.config is None:
            arguments += ["--repl-diskless-sync-delay", "0"]  # replicas are ready at once
        else:
            file = self.folder / "sentinel.conf"
            if not file.exists():
                file.write_text("\n".join(self.config) + "\n")
            arguments = [str(file), "--sentinel", *arguments]
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "redis-server", *arguments, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )
        await self._answers()

    async def _answers(self) -> None:
        assert self.process is not None
        async with asyncio.timeout(START_SECONDS):
            while True:
                assert self.process.returncode is None, (self.folder / "log").read_text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    await writer.wait_closed()
                    return
                except OSError:
                    await asyncio.sleep(0.02)

    async def kill(self, number: int = signal.SIGKILL) -> None:
        """End it; its files stay."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(number)
            if number != signal.SIGKILL:
                process.send_signal(signal.SIGCONT)
        await asyncio.wait_for(process.wait(), START_SECONDS)

    def freeze(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    async def ask(self, *command: Any, **options: Any) -> Any:
        """Any command, as another program."""
        async with Redis(host="127.0.0.1", port=self.port, **options) as client:
            return await client.execute_command(*command)

    async def until(self, true: Callable[[Any], bool], *command: Any) -> Any:
        """Ask until the answer is as wanted."""
        async with asyncio.timeout(START_SECONDS):
            while not true(answer := await self.ask(*command)):
                await asyncio.sleep(0.02)
            return answer


class Failover:
    """A master, a replica, and one Sentinel that moves the name ``mymaster`` from one to the other."""

    def __init__(self, folder: Path, ports: PortBlock, *options: str) -> None:
        first, second, third = ports.numbers[:3]
        self.master = RedisServer(folder / "master", first, *options)
        self.replica = RedisServer(folder / "replica", second, *options, "--replicaof", "127.0.0.1", str(first))
        watch = [
            f"sentinel monitor mymaster 127.0.0.1 {first} 1",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 5000",
        ]
        self.sentinel = RedisServer(folder / "sentinel", third, config=watch)

    async def __aenter__(self) -> "Failover":
        await self.master.start()
        await self.replica.start()
        await self.replica.until(lambda role: role[3] == b"connected", "ROLE")
        await self.master.until(_has_one_online, "INFO", "replication")  # a little later
        await self.sentinel.start()
        await self.sentinel.until(len, "SENTINEL", "replicas", "mymaster")
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.sentinel.kill(), self.replica.kill(), self.master.kill())


def _has_one_online(info: Any) -> bool:
    return bool(info["connected_slaves"] == 1 and info["slave0"]["state"] == "online")


def entry(number: int) -> DataEntry:
    return DataEntry(1, number.to_bytes(16, "little"), b'{"n": %d}' % number)


class Told(list[Event]):
    """What was said."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def texts(self, level: Level = Level.ERROR) -> list[str]:
        return [event.message() for event in self if event.level is level]

    async def until(self, text: str, seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not any(text in event.message() for event in self):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def opened_store(
    place: RedisPlace, told: Told | None = None, *, shared: bool = False
) -> AsyncIterator[RedisDatastore]:
    """A store, closed at the end."""
    store = await RedisDatastore.open(place, shared=shared, emit=told if told is not None else Told())
    try:
        yield store
    finally:
        await store.close()

"""Service directories on Redis and on files: started from data of servers in use, moved, and amid outages."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from eps.datastores.file import read_content
from eps.datastores.sqlite import read_entries
from support.machine import Machine, Process
from support.redis_server import RedisServer, needs_redis
from support.store_data import foreign_entry, foreign_file

pytestmark = [needs_redis, pytest.mark.xdist_group("redis")]


class Directory:
    """The service directory sd-1 on one store or another."""

    def __init__(self, machine: Machine, redis: RedisServer) -> None:
        self.machine = machine
        self.stores: dict[str, Any] = {
            "redis": {"addresses": [redis.address], "password": "", "key": "sd-1"},
            "file": {"filename": str(machine.folder / "records.entries")},
        }
        for kind, settings in self.stores.items():
            more = {"directory": {"datastore!": {"type": kind, "settings": settings}}}
            (machine.folder / f"{kind}.json").write_text(json.dumps(more))

    def places(self, kind: str) -> str:
        more = f":{kind}.json" if kind in self.stores else ""
        return f"settings/dev/roles/sd-1{more}"

    async def start(self, kind: str) -> Process:
        process = await self.machine.launch("sd-1", SD_SETTINGS=self.places(kind))
        await process.up()
        return process

    async def stop(self) -> None:
        assert await self.machine.stop("sd-1") == 0

    async def store(self, *command: str, kind: str = "sqlite") -> str:
        """What ``sd store …`` prints; it must succeed."""
        done = await self.machine.run("sd", "store", *command, SD_SETTINGS=self.places(kind))
        assert done.code == 0, done
        return done.out

    async def name_of(self, operator: str) -> Any:
        """What the directory says now of an operator's groups; None if it has none of that name."""
        done = await self.machine.run("eps", "sd", "get-entries", "--name", operator)
        assert done.code == 0, done
        found = json.loads(done.out)
        return found[0]["groups"] if found else None

    async def add(self, operator: str) -> None:
        done = await self.submit(operator)
        assert done.code == 0, done

    async def submit(self, operator: str) -> Any:
        return await self.machine.submit([{"name": operator, "section": "groups", "data": ["new"]}])


@pytest.fixture
async def directory(machine: Machine, redis: RedisServer) -> Directory:
    return Directory(machine, redis)


@pytest.mark.parametrize(("first", "second"), [("redis", "file"), ("file", "redis")])
async def test_a_start_from_data_of_servers_in_use(
    directory: Directory, redis: RedisServer, machine: Machine, first: str, second: str
) -> None:
    """Read, extended, moved to the other type of store, read and extended again."""
    await directory.start("sqlite")
    await machine.setup_directory()
    await directory.stop()
    (made,) = machine.dev.parents[1].glob(".eps/sd-1/*.sqlite")
    theirs = [foreign_entry(json.loads(entry.data)) for entry in read_entries(made)]
    file = Path(directory.stores["file"]["filename"])
    if first == "redis":
        await redis.ask("RPUSH", "sd-1", *theirs)
    else:
        file.write_bytes(foreign_file(theirs))

    await directory.start(first)
    assert await directory.name_of("hd-1") is not None
    await directory.add("added-1")
    assert "read again, both hold the same" in await directory.store(
        "copy", f"settings:{directory.places(first)}", f"settings:{directory.places(second)}"
    )
    await directory.stop()

    await directory.start(second)
    assert await directory.name_of("added-1") == ["new"]
    await directory.add("added-2")
    assert await directory.name_of("added-2") == ["new"]
    await directory.stop()
    assert f"{len(theirs) + 2} records" in await directory.store("verify", kind=second)
    assert f"{len(theirs) + 1} records" in await directory.store("verify", kind=first)

    kept = await redis.ask("LRANGE", "sd-1", 0, -1)
    assert kept[: len(theirs)] == theirs  # what was there is as it was, byte by byte
    assert len(read_content(file).entries) in (len(kept) - 1, len(kept) + 1)


async def test_a_directory_whose_redis_is_away(directory: Directory, redis: RedisServer, machine: Machine) -> None:
    """It says so once, goes on serving, refuses changes clearly, and takes them again when Redis is back."""
    process = await directory.start("redis")
    await machine.setup_directory()
    await redis.kill()
    lost = await process.wait_for(level="error", message="can't be reached")
    assert "what is known goes on being served, changes are refused" in lost["message"]
    assert await directory.name_of("hd-1") is not None
    refused = await directory.submit("early")
    assert refused.code == 1 and "the datastore here can't be used at present" in refused.err
    assert "redis://" not in refused.err
    assert await directory.name_of("early") is None
    await redis.start()
    await process.wait_for(message="can be reached again")
    await directory.add("late")
    assert sum("can't be reached" in line.get("message", "") for line in process.lines if line["level"] == "error") == 1
    await directory.stop()


async def test_a_directory_whose_redis_is_flushed_and_restored(
    directory: Directory, redis: RedisServer, machine: Machine
) -> None:
    process = await directory.start("redis")
    await machine.setup_directory()
    await directory.store("backup", "backup", kind="redis")
    await redis.ask("FLUSHALL")
    said = await process.wait_for(level="error", message="is not what it was: it is empty, and it had")
    assert "sd store import" in (Path(__file__).parents[2] / "docs" / "howto-recover-directory.md").read_text()
    assert "docs/howto-recover-directory.md" in said["message"]
    assert await directory.name_of("hd-1") is not None
    refused = await directory.submit("early")
    assert refused.code == 1 and "is not what it was, so nothing is stored on top of it" in refused.err
    assert "restored" in await directory.store("restore", "backup", kind="redis")
    await process.wait_for(message="is whole again")
    await directory.add("late")
    await directory.stop()
    assert "verifies" in await directory.store("verify", kind="redis")


async def test_two_directories_on_one_redis(directory: Directory, redis: RedisServer, machine: Machine) -> None:
    """Servers and commands that know both go on when the one that they ask is killed; nothing is submitted twice."""
    first = await directory.start("redis")
    second = await second_directory(machine, directory.places("redis"))
    try:
        await machine.setup_directory()
        await second.wait_for(kind="directory", source="others that use the store")
        await machine.start("hd-1")
        await machine.processes["hd-1"].wait_for(kind="directory")
        await directory.add("added-1")
        await second.wait_for(kind="directory", changed=["added-1: groups"])
        assert await machine.stop("sd-1", signal.SIGKILL) == -signal.SIGKILL
        await directory.add("added-2")
        assert await directory.name_of("added-2") == ["new"]
        told = await second.wait_for(kind="directory", changed=["added-2: groups"])
        await machine.processes["hd-1"].wait_for(kind="directory", tip=told["tip"])
        again = await directory.start("redis")
        await directory.add("added-3")
        for each in (second, again):
            await each.wait_for(kind="directory", changed=["added-3: groups"])
        assert not [line for line in (*first.lines, *second.lines, *again.lines) if line.get("level") == "error"]
    finally:
        assert await second.end() == 0


async def second_directory(machine: Machine, places: str) -> Process:
    """Another service directory with the same certificate, and hd-1 told of both."""
    here, there = machine.ports.of[3322], machine.ports.of[7777]
    other = {"jsonrpc_server": there, "metrics": 0, "status": 0}
    own = {section: {"bind_address": f"localhost:{port}"} for section, port in other.items()}
    (machine.folder / "sd-2.json").write_text(json.dumps(own))
    endpoints = [f"https://localhost:{port}/jsonrpc" for port in (here, there)]
    both = {"directory": {"settings": {"endpoints!": endpoints, "server_names!": ["sd-1", "sd-1"]}}}
    (machine.dev / "roles" / "hd-1" / "zz-both.json").write_text(json.dumps(both))
    process = await machine.spawn(
        "sd-1", "sd", "--format", "json", "--level", "debug", "run",
        SD_SETTINGS=f"{places}:sd-2.json", STATE_DIRECTORY=str(machine.folder / "sd-2"),
    )  # fmt: skip
    await process.up()
    return process


async def test_the_start_says_what_may_be_lost(directory: Directory, redis: RedisServer) -> None:
    await redis.ask("CONFIG", "SET", "appendfsync", "everysec")
    process = await directory.start("redis")
    warned = await process.wait_for(level="warn", message="before they are on disk")
    assert "appendfsync always" in warned["message"]
    await directory.stop()


async def test_a_file_that_another_directory_has_is_refused(directory: Directory, machine: Machine) -> None:
    await directory.start("file")
    other = await machine.run("sd", "run", SD_SETTINGS=directory.places("file"))
    assert other.code == 2 and "is in use by another program" in other.err
    await directory.stop()


async def test_a_start_without_redis(directory: Directory, redis: RedisServer, machine: Machine) -> None:
    await redis.kill()
    done = await machine.run("sd", "run", SD_SETTINGS=directory.places("redis"))
    assert done.code == 2 and "can't be reached" in done.err and "Traceback" not in done.err


async def test_a_start_waits_a_little_for_redis(directory: Directory, redis: RedisServer) -> None:
    await redis.kill()
    starting = asyncio.create_task(directory.start("redis"))
    await asyncio.sleep(1)
    await redis.start()
    await starting
    await directory.stop()

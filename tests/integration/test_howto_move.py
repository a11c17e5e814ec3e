"""docs/howto-move.md, command by command, against data in the format of servers in use."""

import json
import re
import shlex
from typing import Any

import pytest

from eps.datastores.sqlite import read_entries
from support.machine import ROOT, Machine
from support.redis_server import RedisServer, needs_redis
from support.store_data import foreign_entry, foreign_file

pytestmark = [needs_redis, pytest.mark.xdist_group("redis")]

PAGE = (ROOT / "docs" / "howto-move.md").read_text()
PLACE = "redis.example.org:6379"


class Reader:
    """Somebody who follows the page on a machine of her own."""

    def __init__(self, machine: Machine, redis: RedisServer) -> None:
        self.machine = machine
        roles = machine.dev / "roles"
        self.replaced = {
            "/etc/eps/sd": str(roles / "sd-1"),
            "/etc/eps/hd-1": str(roles / "hd-1"),
            "/etc/eps/public-proxy": str(roles / "public-proxy-1"),
            "/var/backups": str(machine.folder / "backups"),
            "/var/lib/eps": str(machine.folder / "lib"),
            PLACE: redis.address,
        }
        for folder in ("backups", "lib"):  # every system has the one, and who installed a server the other
            (machine.folder / folder).mkdir(exist_ok=True)
        self.environment: dict[str, str] = {}
        self.out: list[tuple[str, str]] = []

    def here(self, text: str) -> str:
        for theirs, ours in self.replaced.items():
            text = text.replace(theirs, ours)
        return text

    async def follow(self, page: str) -> None:
        """Type what stands in indented lines, and put into the settings what stands in blocks of YAML."""
        for settings, line in re.findall(r"^```yaml\n(.*?)^```|^    (\S[^\n]*)$", page, re.MULTILINE | re.DOTALL):
            if settings:
                (self.machine.dev / "roles" / "sd-1" / "003_moved.yml").write_text(self.here(settings))
            else:
                await self.type(line)

    async def type(self, line: str) -> None:
        words = shlex.split(self.here(line))
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
        elif words[0] == "systemctl":
            await self.systemctl(words[1], words[2])
        else:
            more = dict(word.split("=", 1) for word in words if re.match(r"[A-Z]+_SETTINGS=", word))
            rest = words[len(more) :]
            done = await self.machine.run(*rest, **{**self.environment, **more})
            assert done.code == 0, (line, done)
            self.out.append((line, done.out))

    async def systemctl(self, verb: str, unit: str) -> None:
        if verb == "start":
            await self.machine.start("sd-1")
        elif unit == "eps-sd":
            assert await self.machine.stop("sd-1") == 0

    def said(self, command: str) -> list[str]:
        return [out for line, out in self.out if line.startswith(command)]


async def records_of_servers_in_use(machine: Machine) -> list[bytes]:
    await machine.start("sd-1")
    await machine.setup_directory()
    await machine.stop("sd-1")
    (made,) = machine.folder.glob(".eps/sd-1/*.sqlite")
    theirs = [foreign_entry(json.loads(entry.data)) for entry in read_entries(made)]
    made.unlink()
    return theirs


def old_settings(machine: Machine, role: str, section: str, kind: str, settings: dict[str, Any]) -> None:
    more = {section: {"datastore!": {"type": kind, "settings": settings}}}
    (machine.dev / "roles" / role / "002_store.json").write_text(json.dumps(more))


@pytest.mark.parametrize("kind", ["redis", pytest.param("file", marks=pytest.mark.chaos)])
async def test_every_command_of_the_page(machine: Machine, redis: RedisServer, kind: str) -> None:
    theirs = await records_of_servers_in_use(machine)
    file = machine.folder / "theirs"
    file.write_bytes(foreign_file(theirs))
    await redis.ask("RPUSH", "entries", *theirs)
    announcement = {"operator": "private-proxy-1.ga", "domain": "a.internal-server.local", "expires_at": None}
    await redis.ask("RPUSH", "announcements", foreign_entry(announcement))
    place: dict[str, Any] = {"addresses": [redis.address], "password": ""}
    settings = {"redis": place, "file": {"filename": str(file)}}[kind]
    old_settings(machine, "sd-1", "directory", kind, settings)
    old_settings(machine, "public-proxy-1", "public", "redis", {**place, "key": "announcements"})

    reader = Reader(machine, redis)
    await reader.follow(PAGE)

    sums = {out.split()[-1] for out in reader.said("sd store verify")}
    assert len(sums) == 1 and len(reader.said("sd store verify")) == 3
    assert all(out.split()[-1] in sums for out in reader.said("sd store copy"))
    assert "hd-1" in reader.said("EPS_SETTINGS=")[0]
    assert "1 announcement stands, 0 have expired" in reader.said("proxy store verify")[0]
    assert f"{len(theirs)} records" in reader.said("sd store verify")[-1]
    await machine.stop("sd-1")


def test_the_page_names_every_command() -> None:
    for command in ("copy", "verify", "backup", "restore"):
        assert re.search(rf"^    sd store {command}\b", PAGE, re.MULTILINE)

"""Every block of commands of every how-to, typed as it stands, in a network of the real programs."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from support.howto import (
    ELSEWHERE,
    HERE,
    NOWHERE,
    PAGES,
    SETTINGS_ONLY,
    SLOW,
    TUTORIAL,
    Block,
    Reader,
    blocks_of,
    impatient_renewal,
)
from support.machine import PASSTHROUGH, ROOT, Machine
from support.ports import PortBlock

pytestmark = pytest.mark.timeout(600)
"""Each command is a program, of which a loaded machine starts one in some seconds."""


PROXY_FILES = tuple(f"{kind}-proxy-1.ga{end}" for kind in ("public", "private") for end in (".crt", ".key"))


def page(name: str) -> Path:
    return ROOT / "docs" / name


def test_every_page_is_typed_somewhere() -> None:
    assert {one.name for one in PAGES} == {*ELSEWHERE, *HERE, *SLOW, *NOWHERE, *SETTINGS_ONLY}
    assert not any(block.is_command for name in SETTINGS_ONLY for block in blocks_of(page(name)))
    for name in ELSEWHERE.values():
        assert (ROOT / "tests" / name).exists()


@pytest.mark.parametrize("name", [*HERE, *SLOW, *NOWHERE])
def test_a_block_that_is_not_run_says_why(name: str) -> None:
    reasons = [block.marks["not run"] for block in blocks_of(page(name)) if "not run" in block.marks]
    assert all(len(reason) > 10 for reason in reasons)
    if name in NOWHERE:
        assert all("not run" in block.marks for block in blocks_of(page(name)) if block.is_command)
    else:
        assert len(reasons) <= 4


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_nothing_to_paste_has_gaps(one: Path) -> None:
    """Blocks of settings and records can be pasted as they stand, and so can commands."""
    for block in blocks_of(one):
        if block.kind in ("yaml", "sh") or block.is_command:
            assert "…" not in block.text, block


def other_ports(machine: Machine, block: PortBlock) -> dict[str, str]:
    """Ports of ls-1 that the block of a development network has none for; all files of the machine have them."""
    ports = dict(zip(("4445", "5557", "6666"), map(str, block.numbers), strict=False))
    for file in [*machine.dev.rglob("ls-1/*.yml"), machine.dev / "directory" / "001_base.json",
                 machine.folder / "examples" / "locations.py"]:  # fmt: skip
        text = file.read_text()
        for theirs, ours in ports.items():
            text = text.replace(theirs, ours)
        file.write_text(text)
    return ports


class Library:
    """A network, and who reads pages beside it."""

    def __init__(self, machine: Machine, block: PortBlock) -> None:
        self.machine = machine
        shutil.copytree(ROOT / "examples", machine.folder / "examples")
        self.ports = {str(theirs): str(ours) for theirs, ours in machine.ports.of.items()}
        self.ports |= other_ports(machine, block)
        self.acme = dict(zip(("localhost:4444", "localhost:5555", "localhost:2112"),
                             (f"localhost:{number}" for number in block.numbers[4:]), strict=False))  # fmt: skip
        (machine.folder / "backups").mkdir()

    def settings(self, role: str) -> str:
        """A role's settings that can be used from any folder."""
        more = self.machine.folder / f"{role}.json"
        more.write_text(json.dumps({"state_path": str(self.machine.folder / ".eps" / role)}))
        return f"{self.machine.dev / 'roles' / role}:{more}"

    def reader(self, name: str) -> Reader:
        """Somebody on the machine that a page is written for."""
        folder = self.machine.folder
        if name in ("howto-call.md", "howto-service.md", "howto-diagnose.md"):
            return Reader(folder, {**self.ports, "/etc/eps/eps.yml": self.settings("hd-1")})
        etc = folder / Path(name).stem / "etc"
        etc.mkdir(parents=True)
        if name != "howto-operator.md":
            return self.proxys_reader(name, etc)
        impatient_renewal(folder / "acme")
        for file in ("root.crt", "intermediate.crt", "intermediate.key"):
            shutil.copy(self.machine.dev / "certs" / file, etc)
        here = {
            "/etc/admin-org/eps.yml": self.settings("hd-1"),
            "/etc/eps/sd": self.settings("sd-1"),
            "/etc/eps": str(etc),
            "/var/backups": str(folder / "backups"),
            "/opt/eps/bin": str(folder / "acme" / "bin"),
            "sd.example.org:3322": f"localhost:{self.ports['3322']}",
        }
        return Reader(folder / "acme", here, folder, {etc / "eps.yml": self.acme})

    def proxys_reader(self, name: str, etc: Path) -> Reader:
        """An administrator of a proxy, public or private, who has its certificates."""
        folder, certs = self.machine.folder, self.machine.dev / "certs"
        for file in ("root.crt", "intermediate.crt", *PROXY_FILES):
            shutil.copy(certs / file, etc)
        for end in (".crt", ".key"):
            shutil.copy(certs / f"internal-server{end}", etc / f"app.example.org{end}")
        here = {"/etc/eps": str(etc), "/etc/proxy/proxy.yml": self.settings("public-proxy-1")}
        return Reader(folder, {**self.ports, **here}, folder)


async def read(library: Library, name: str) -> list[Block]:
    reader = library.reader(name)
    try:
        return await reader.read(blocks_of(page(name)))
    finally:
        await reader.close()


async def test_every_command_of_an_operator_and_of_a_proxy(machine: Machine) -> None:
    block = PortBlock()
    try:
        library = Library(machine, block)
        await machine.ready()
        for name in HERE:
            assert await read(library, name), name
    finally:
        block.close()


@pytest.mark.chaos
async def test_every_command_of_the_other_pages(machine: Machine) -> None:
    """Beside what the demo leaves running: a private proxy, a server behind it, and its name announced."""
    block = PortBlock()
    try:
        library = Library(machine, block)
        await machine.ready()
        await machine.start(*PASSTHROUGH)
        address = f"localhost:{library.ports['7777']}"
        internal = await machine.spawn("hd-1", "eps", "dev", "internal-server", "--bind-address", address)
        await internal.wait_for(message="is running")
        params = {"domain": "test.internal-server.local", "proxy": "public-proxy-1.ga"}
        await machine.processes["private-proxy-eps-1"].wait_for(kind="directory")
        answer = await machine.call("private-proxy-1.ga.announceConnection", params)
        assert answer.error is None, answer.error
        for name in SLOW:
            assert await read(library, name), name
        await internal.end()
    finally:
        block.close()


@pytest.mark.chaos
async def test_an_operator_of_ones_own(machine: Machine) -> None:
    """The tutorial's newcomer: joins, offers a method, is called, renews its certificate, is removed."""
    block = PortBlock()
    library = Library(machine, block)
    impatient_renewal(machine.folder)
    reader = Reader(machine.folder, dict(library.ports))
    try:
        await machine.ready()
        joining, *others = blocks_of(TUTORIAL, "9. Add an operator of your own")
        await reader.read([joining])
        settings = machine.dev / "roles" / "clinic-9" / "001_default.yml"
        settings.write_text(machine.ports.rewrite(settings.read_text()))
        (service,) = re.findall(r"http://localhost:(\d+)/jsonrpc", settings.read_text())
        reader.here = {**reader.here, "6667": service}
        await reader.read(others)
        async with asyncio.timeout(60):  # servers ask for news every few seconds
            while (await machine.call("clinic-9._ping")).error is None:
                await asyncio.sleep(0.2)
    finally:
        await reader.close()
        block.close()

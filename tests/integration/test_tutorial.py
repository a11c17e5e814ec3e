"""README.md and docs/tutorial.md as a newcomer types them, in a stand-in for a fresh clone."""

import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from support.howto import README, SERVERS, TUTORIAL, Block, Reader, blocks_of, make_here
from support.machine import BIN, ROOT, Machine
from support.ports import PortBlock

pytestmark = [pytest.mark.timeout(600), pytest.mark.chaos]
"""Some twenty programs are started."""


@pytest.fixture
async def newcomer(machine: Machine) -> AsyncIterator[Reader]:
    """Somebody in the clone's root; the ports are those of this test."""
    block = PortBlock()
    shutil.copytree(ROOT / "examples", machine.folder / "examples")
    ports = {str(theirs): str(ours) for theirs, ours in machine.ports.of.items()} | {"6666": str(block.numbers[0])}
    for file in (machine.folder / "examples").rglob("*.*"):
        file.write_text(file.read_text().replace("6666", ports["6666"]))
    make_here(machine.folder)
    reader = Reader(machine.folder, {**ports, ".venv/bin/activate": str(BIN / "activate")})
    yield reader
    await reader.close()
    block.close()


def section(number: int) -> list[Block]:
    """The blocks of one of the tutorial's sections."""
    (heading,) = re.findall(rf"^## ({number}\. .+)$", TUTORIAL.read_text(), re.MULTILINE)
    return list(blocks_of(TUTORIAL, heading))


async def says(reader: Reader, words: str, shown: Block) -> None:
    """A server's log has what the page shows of it: each line up to what is another one each time."""
    (process,) = [one for one in reader.running if words in one.role]
    for part in re.split(r"…|\s+(?=warn |error )|\d\d:\d\d:\d\d\.\d+|\b[0-9a-f]{12,}\b|127\.0\.0\.1:\d+", shown.text):
        wanted = " ".join(reader.at_home(part).split())
        if wanted:
            await process.wait_for(message=wanted.removeprefix("info ").removeprefix("warn ").removeprefix("error "))


async def test_the_readme(newcomer: Reader) -> None:
    ran = await newcomer.read(blocks_of(README))
    assert sum(SERVERS.search(line) is not None for block in ran for line in block.text.split("\n")) == 5
    assert '"serverInfo"' in newcomer.said, "the last block calls hd-2 with curl"


async def test_the_tutorial(newcomer: Reader) -> None:
    for number in (1, 2, 3, 4, 5):
        await newcomer.read(section(number))
    await newcomer.stop("proxy run public")
    called, refused = section(6)
    await newcomer.read([called, refused])
    (servers, *_) = section(2)
    (proxy,) = [line for line in servers.text.split("\n") if "proxy run public" in line]
    await newcomer.read([replace(called, text=proxy, marks={}), replace(called, marks={})])
    await newcomer.stop("hd-1 eps server run")
    wrong, *shown, checked, told, mended = section(7)
    await newcomer.read([wrong])
    for words, block in zip(("hd-1-wrong", "hd-1-wrong", "public-proxy-eps-1"), shown, strict=True):
        await says(newcomer, words, block)
    await newcomer.read([checked, told])
    await newcomer.stop("hd-1-wrong")
    await newcomer.read([mended])
    service, offered, *others = section(8)
    await newcomer.read([service])
    await newcomer.stop("hd-1 eps server run")
    await newcomer.read([offered, *others])
    assert [block for block in section(10) if block.is_command] == []

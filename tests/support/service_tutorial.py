"""docs/tutorial-service.md as somebody reads it who has nothing but the package: in an empty folder."""

import asyncio
import os
import re
import signal
from pathlib import Path

from support.howto import Block, Reader, blocks_of
from support.machine import BIN, ROOT
from support.ports import PortBlock

PAGE = ROOT / "docs" / "tutorial-service.md"
WEB_PAGE = ROOT / "docs" / "howto-call-web.md"

SECONDS = 120.0
"""For a program to start, on a loaded machine."""


async def follow(folder: Path, programs: Path = BIN, *, tests: bool = True, page: Path = PAGE) -> None:
    """Do what a page says, and see what it shows.

    Args:
        programs: where ``eps`` and ``python`` are.
        tests: whether pytest is there, too.
        page: this one, or another that begins with ``eps mock``.
    """
    ports = PortBlock()
    reader = Reader(folder, dict.fromkeys(("5566", "5577"), str(ports.numbers[0])))
    reader.come_from(programs)
    blocks = [block for block in blocks_of(page) if tests or "pytest" not in block.text]
    mock: asyncio.subprocess.Process | None = None
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    try:
        for block, behind in zip(blocks, [*blocks[1:], None], strict=True):
            if block.text.startswith("eps mock"):
                assert behind is not None
                mock = await started(reader, block, path)
                await says(mock, reader.at_home(behind.text))
            else:
                await reader.read([block, *([behind] if behind is not None and behind.shows(block) else [])])
        assert mock is not None
        mock.send_signal(signal.SIGINT)
        async with asyncio.timeout(SECONDS):
            assert await mock.wait() == 0
    finally:
        if mock is not None and mock.returncode is None:
            mock.kill()
            await mock.wait()
        ports.close()


async def started(reader: Reader, block: Block, path: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "sh", "-c", f"exec {reader.at_home(block.text)}", cwd=reader.folder, env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def says(process: asyncio.subprocess.Process, shown: str) -> None:
    """Its first lines are those that are shown."""
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        for line in shown.split("\n"):
            said = (await process.stdout.readline()).decode().strip()
            assert re.fullmatch(".*".join(map(re.escape, line.split("…"))), said), (line, said)

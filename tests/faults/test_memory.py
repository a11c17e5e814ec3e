"""What a program holds once it is idle: 64 MiB, and no module that only command lines need."""

import asyncio
import time
from pathlib import Path

import pytest

from support.machine import PASSTHROUGH, SERVERS, Machine

MOST_MIB = 64.0
"""What each may hold."""

IDLE_SECONDS = 60.0
"""Within which each has seen that there is nothing to do (``running.quiet``), also on a machine that others use."""

COMMAND_LINES = ("typer", "click", "rich", "shellingham", "eps.programs.dev", "eps.programs.cli")
NOT_USED = ("redis", "aiohttp.client.", "aiohttp.connector", "eps.datastores.file")
NOT_LOADED = (*COMMAND_LINES, *NOT_USED)

LOOK = """
import atexit, sys
atexit.register(lambda: open({path!r}, "w").write("\\n".join(sys.modules)))
"""


def held_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith("Rss:"))
    return kib / 1024


def all_held(machine: Machine) -> dict[str, float]:
    return {role: held_mib(process.pid) for role, process in machine.processes.items()}


async def test_idle_programs_hold_little(machine: Machine) -> None:
    await machine.ready()
    await machine.start(*PASSTHROUGH)
    assert (await machine.ping()).error is None
    assert set(machine.processes) == {*SERVERS, *PASSTHROUGH}
    until = time.monotonic() + IDLE_SECONDS
    while max((held := all_held(machine)).values()) >= MOST_MIB:
        assert time.monotonic() < until, held
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("role", ["hd-1", "sd-1", "public-proxy-1", "private-proxy-1"])
async def test_a_server_loads_nothing_of_command_lines(machine: Machine, tmp_path: Path, role: str) -> None:
    hook, seen = tmp_path / "hook", tmp_path / "modules"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(LOOK.format(path=str(seen)))
    process = await machine.launch(role, PYTHONPATH=str(hook))
    await process.up()
    assert await machine.stop(role) == 0
    loaded = seen.read_text().splitlines()
    assert "eps.programs.serving" in loaded
    surplus = [name for name in loaded if name.startswith(NOT_LOADED)]
    assert not surplus

"""What a program holds once it is idle: 64 MiB, and no module that only command lines need."""

import asyncio
from pathlib import Path

import pytest

from support.machine import PASSTHROUGH, SERVERS, Machine

MOST_MIB = 64.0 + 4.0
"""What each may hold. (4 MiB more than docs/performance.md says: libraries and their pages differ between machines.)"""

NOT_LOADED = ("typer", "click", "rich", "shellingham", "redis", "eps.programs.dev", "eps.programs.cli")

LOOK = """
import atexit, sys
atexit.register(lambda: open({path!r}, "w").write("\\n".join(sys.modules)))
"""


def held_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (kib,) = (int(line.split()[1]) for line in lines if line.startswith("Rss:"))
    return kib / 1024


async def test_idle_programs_hold_little(machine: Machine) -> None:
    await machine.ready()
    await machine.start(*PASSTHROUGH)
    assert (await machine.ping()).error is None
    await asyncio.sleep(1)  # idle, so there is nothing to wait for
    held = {role: held_mib(process.pid) for role, process in machine.processes.items()}
    assert set(held) == {*SERVERS, *PASSTHROUGH}
    assert max(held.values()) < MOST_MIB, held


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

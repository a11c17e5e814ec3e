"""What others on the machine see of the running programs' files."""

import os
import stat
from pathlib import Path

from support.machine import Machine


async def test_no_other_user_reads_what_the_programs_keep(machine: Machine) -> None:
    """Whatever the umask is, and whatever lay there before."""
    state = Path(machine.folder) / ".eps"
    (state / "hd-1").mkdir(parents=True)
    (state / "hd-1").chmod(0o755)
    before = os.umask(0)
    try:
        await machine.start("sd-1", "hd-1", "public-proxy-eps-1", "public-proxy-1")
    finally:
        os.umask(before)
    await machine.setup_directory()
    await machine.processes["hd-1"].wait_for(kind="directory", level="info")
    await machine.processes["public-proxy-1"].wait_for(kind="started")
    seen = {path: stat.S_IMODE(path.stat().st_mode) for path in state.rglob("*")}
    wide = {str(path.relative_to(state)): oct(mode) for path, mode in seen.items() if mode & 0o077}
    assert not wide
    names = {path.name for path in seen}
    assert {"records.sqlite", "directory-cache.sqlite", "high-water.json", "announcements.sqlite"} <= names, names


async def test_a_link_in_the_place_of_a_store_is_not_followed(machine: Machine) -> None:
    victim, state = Path(machine.folder) / "victim", Path(machine.folder) / ".eps" / "sd-1"
    victim.write_text("precious")
    state.mkdir(parents=True)
    (state / "records.sqlite").symlink_to(victim)
    done = await machine.run("sd", "run", role="sd-1")
    assert done.code == 2
    assert "records.sqlite can't be opened: it is a link" in done.err
    assert "name the file that it leads to" in done.err
    assert victim.read_text() == "precious"

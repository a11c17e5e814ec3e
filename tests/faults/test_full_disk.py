"""A full disk at the start: it is called full, and the start is one that may be tried again (exit code 1)."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from eps.datastores import DataEntry, Datastore
from eps.datastores.file import FileDatastore
from eps.datastores.sqlite import SqliteDatastore
from eps.errors import DiskFull
from support.machine import Machine

PAGE = 4096
DISK_PAGES = 64

Open = Callable[[Path], Awaitable[Datastore]]

STORES: dict[str, Open] = {
    "sqlite": SqliteDatastore.open,
    "shared sqlite": lambda path: SqliteDatastore.open(path, shared=True),
    "file": FileDatastore.open,
}


class Disk:
    """A small disk of its own.

    Args:
        folder: where it is mounted.
        files: how many files it can hold.
    """

    def __init__(self, folder: Path, files: int = 1000) -> None:
        self.folder = folder
        folder.mkdir()
        options = f"size={DISK_PAGES * PAGE},nr_inodes={files},mode=0777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)

    def fill(self, left: int = 0) -> None:
        """Leave room for so many pages."""
        room = os.statvfs(self.folder).f_bavail - left
        if room > 0:
            with (self.folder / "filler").open("ab") as filler:
                filler.write(b"x" * room * PAGE)

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


def may_mount() -> bool:
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not may_mount(), reason="only root can mount a small disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.unmount()


async def opened_or_full(make: Open, path: Path) -> bool:
    store, refusal = None, None
    try:
        store = await make(path)
    except DiskFull as full:
        refusal = full
    if store is None:
        assert refusal is not None and "full" in refusal.message and str(path.parent) in refusal.hint, refusal
        return False
    assert await store.read_all() is not None
    await store.close()
    return True


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("had", ["nothing", "a folder", "a store"])
async def test_whatever_room_is_left_a_store_opens_or_says_full(disk: Disk, kind: str, had: str) -> None:
    results = []
    for left in range(24):
        path = disk.folder / f"{left}" / "store"
        if had != "nothing":
            path.parent.mkdir()
        if had == "a store":
            store = await STORES[kind](path)
            await store.append([DataEntry(1, bytes(16), b"{}")])
            await store.close()
        disk.fill(left)
        results.append(await opened_or_full(STORES[kind], path))
        disk.free()
        assert await opened_or_full(STORES[kind], path), "with room it opens"
        for file in path.parent.iterdir():
            file.unlink()
    assert results[-1], results
    assert not results[0] or kind == "file", results  # a file that holds nothing needs none but in its folder


@pytest.mark.parametrize("kind", STORES)
async def test_a_disk_that_can_hold_no_more_files_is_full_too(tmp_path: Path, kind: str) -> None:
    for files in range(2, 8):
        disk = Disk(tmp_path / f"{files}", files)
        try:
            opened = await opened_or_full(STORES[kind], disk.folder / "new" / "store")
        finally:
            disk.unmount()
    assert opened, "a store is no more than six files and folders"


def keep_state(machine: Machine, role: str, folder: Path, store: str) -> None:
    """Have the role keep what it keeps on the disk, in a store of that type."""
    setting = {"sqlite": {"path": str(folder / "store")}, "file": {"filename": str(folder / "store")}}[store]
    datastore = f"datastore!: {{type: {store}, settings: {setting}}}"
    part = {"sd-1": "directory", "public-proxy-1": "public", "private-proxy-1": "private"}[role]
    text = f"{part}: {{{datastore}}}\nstate_path: {folder}\n"
    (machine.dev / "roles" / role / "009_disk.yml").write_text(text)


@pytest.mark.parametrize("store", ["sqlite", "file"])
@pytest.mark.parametrize("role", ["sd-1", "public-proxy-1", "private-proxy-1"])
async def test_a_program_says_full_and_may_be_started_again(
    machine: Machine, disk: Disk, role: str, store: str
) -> None:
    keep_state(machine, role, disk.folder / "state", store)
    disk.fill()
    process = await machine.launch(role)
    line = await process.wait_for(level="fatal")
    assert "the disk is full" in line["message"] and str(disk.folder) in line["hint"], line
    assert await process.process.wait() == 1
    assert await machine.stop(role) == 1
    disk.free()
    await machine.start(role)
    assert await machine.stop(role) == 0


async def test_an_eps_server_needs_no_room(machine: Machine, disk: Disk) -> None:
    (machine.dev / "roles" / "hd-1" / "009_disk.yml").write_text(f"state_path: {disk.folder / 'state'}\n")
    disk.fill()
    await machine.start("hd-1")
    line = await machine.processes["hd-1"].wait_for(level="warn", message="cache")
    assert "the disk is full" in line["message"], line
    assert await machine.stop("hd-1") == 0


async def test_a_log_file_for_which_there_is_no_room(machine: Machine, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk", files=2)
    try:
        (disk.folder / "only one").touch()
        done = await machine.run("eps", "--log-file", str(disk.folder / "log"), "server", "run", role="hd-1")
        assert done.code == 1 and "the disk is full" in done.err, done
    finally:
        disk.unmount()


async def test_a_log_on_a_full_disk_keeps_nobody_from_starting(machine: Machine, disk: Disk) -> None:
    disk.fill()
    process = await machine.launch("hd-1", "--log-file", str(disk.folder / "log"))
    port = machine.ports.of[5555]
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("localhost", port)
                break
            except OSError:
                await asyncio.sleep(0.05)
    writer.close()
    process.send(signal.SIGTERM)
    assert await machine.stop("hd-1") == 0

"""Fixtures for tests that run the real programs."""

import asyncio
import fcntl
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from eps.programs.dev.certs import make_dev_certs
from eps.transport.sockets import Keepalive, keep_alive
from support.machine import BIN, ROOT, Machine
from support.ports import PortBlock, is_free

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it has in the background deaf to Ctrl-C, and so would be the programs that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def dev_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``settings/dev`` as the repository has it, with certificates of its own; made once for all xdist workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "eps-dev-tree"
    folder.mkdir(exist_ok=True)
    tree = folder / "settings" / "dev"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tree / "certs").exists():
            source = ROOT / "settings" / "dev"
            shutil.copytree(source / "roles", tree / "roles")
            (tree / "directory").mkdir()
            shutil.copy(source / "directory" / "001_base.json", tree / "directory")
            make_dev_certs(folder, print)
    return tree


@pytest.fixture
def impatient() -> Iterator[None]:
    """Peers that confirm nothing are given up after two seconds: the shortest that leaves a kernel time to ask."""
    keep_alive(Keepalive(idle=1, interval=1, count=1))
    yield
    keep_alive(Keepalive())


@pytest.fixture
async def machine(tmp_path: Path, dev_tree: Path) -> AsyncIterator[Machine]:
    """A development network's folder; nothing runs in it yet."""
    async with Machine(tmp_path, dev_tree) as made:
        yield made


@pytest.fixture
async def dev(tmp_path: Path, dev_tree: Path) -> AsyncIterator[Machine]:
    """A development network on its very ports, in a stand-in for the repository's root, so that the developer's own
    certificates and state stay untouched. Mark the test ``xdist_group("dev-network")``."""
    ports = await PortBlock.dev()
    for _ in range(100):  # the last connections of a test that has just ended may take a moment
        taken = [port for port in ports.of if not is_free(port)]
        if not taken:
            break
        await asyncio.sleep(0.1)
    else:
        ports.close()
        pytest.skip(f"a development network or demo has the ports {taken}")
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(BIN.parent)
    async with Machine(tmp_path, dev_tree, ports) as machine:
        yield machine


LONG = ("soak", "chaos")
"""Markers of tests that run for long, or break things slowly."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long runs only where they are asked for (``make soak``, ``make chaos``, or any other ``-m`` that names them)."""
    wanted = str(config.option.markexpr)
    left_out = [mark for mark in LONG if mark not in wanted]
    long = [item for item in items if any(item.get_closest_marker(mark) for mark in left_out)]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]

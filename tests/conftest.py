"""Fixtures for tests that run the real programs."""

import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eps.programs.dev_certs import make_dev_certs
from machine import ROOT, Machine


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
async def machine(tmp_path: Path, dev_tree: Path) -> AsyncIterator[Machine]:
    """A development network's folder; nothing runs in it yet."""
    async with Machine(tmp_path, dev_tree) as made:
        yield made


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long runs only where they are asked for (``make soak``, or any other ``-m`` that names them)."""
    if "soak" in str(config.option.markexpr):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]

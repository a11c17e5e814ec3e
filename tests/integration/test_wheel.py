"""The package as somebody installs it who has no clone: the demo and the development network in an empty folder."""

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from support.machine import ROOT
from support.ports import PortBlock
from support.service_tutorial import follow

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), pytest.mark.xdist_group("dev-network")]
"""Seven programs are started, and a wheel is built and installed."""

NOBODY = 65534


def done(*words: str | Path, folder: Path, **environment: str) -> str:
    """What a command prints that ends well."""
    ended = subprocess.run(
        words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
    return ended.stdout


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="eps-wheel-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def installed(place: Path, python: Path) -> Path:
    """A new environment with the wheel, and what it needs: by the lock file, or where no index has it, what is here."""
    done(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place / "dist", folder=ROOT)
    (wheel,) = (place / "dist").glob("*.whl")
    done(python, "-m", "venv", "--without-pip", place / "venv", folder=place)
    pip = (sys.executable, "-m", "pip", "--python", str(place / "venv"), "install", "--quiet", "--no-deps")
    locked = subprocess.run(
        [*pip, "--require-hashes", "--retries", "0", "-r", str(ROOT / "requirements.lock")],
        capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    if locked.returncode:
        (packages,) = (place / "venv" / "lib").glob("python*/site-packages")
        (packages / "what-is-here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done(*pip, "--no-index", wheel, folder=place)
    return place / "venv" / "bin"


BECOME = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


STARTS = "import ssl, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
"""What the demo needs of a Python: setpriv still finds one in root's home, and that one then can't be found again."""


def python_of_others() -> Path | None:
    """A Python like ours that a user without rights may run, if this user can become one; None if not."""
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    if os.getuid() or not shutil.which("setpriv"):
        return None
    tried = ([*BECOME, path, "-c", STARTS] for path in (sys.executable, system) if Path(path).exists())
    able = (words[-3] for words in tried if not subprocess.run(words, capture_output=True, check=False).returncode)
    return next(map(Path, able), None)


async def test_the_demo_and_the_development_network_in_an_empty_folder(place: Path) -> None:
    other = python_of_others()
    become = BECOME if other else ()
    programs = await asyncio.to_thread(installed, place, other or Path(sys.executable))
    folder = place / "empty"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    where = done(programs / "python", "-c", "import eps; print(eps.__file__)", folder=folder)
    assert where.startswith(str(place / "venv")), "not the clone's"
    home = {"HOME": str(folder), "COLUMNS": "80"}
    ports = await PortBlock.dev()
    try:
        shown = await asyncio.to_thread(
            partial(done, *become, programs / "eps", "demo", "--once", folder=folder, **home)
        )
    finally:
        ports.close()
    added = done(*become, programs / "eps", "dev", "add-operator", "clinic-9", folder=folder, **home)
    assert "wrote the development network's settings to settings/dev" in shown
    assert "joined hd-1 and hd-2; bytes flow both ways" in shown and '"name": "hd-2"' in shown
    assert "settings/dev/directory/clinic-9.json" in added
    await follow(place / "service", programs, tests=False)

"""The Debian package, made once for all tests, and small Debians to put it into."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.machine import ROOT

DEBIAN_PYTHON = Path("/usr/bin/python3.11")

SECONDS = 900.0
"""For what fetches packages, on a slow line."""


def done(*words: str | Path, folder: str | Path = ROOT, **environment: str) -> str:
    """What a command prints that ends well."""
    ended = subprocess.run(
        words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, (words, ended.stdout[-3000:], ended.stderr[-3000:])
    return ended.stdout


def needs(*programs: str, root: bool = False) -> None:
    """Skip the test where one of them, or root, is not there."""
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if root and os.getuid():
        pytest.skip("only root can run a Debian of its own")


def built(folder: Path) -> Path:
    """The package, made there."""
    needs("dpkg-deb")
    if not DEBIAN_PYTHON.exists():
        pytest.skip(f"{DEBIAN_PYTHON} is not there: the package is for Debian's own Python")
    return Path(done("deploy/debian/build.sh", folder).strip())


def apt_options() -> list[str]:
    """How this machine's apt gets at packages, as options of mmdebstrap."""
    files = sorted(Path("/etc/apt/apt.conf.d").glob("*"))
    return [f"--aptopt={path}" for path in files if "cquire::" in path.read_text()]


def sources() -> str:
    """This machine's, of the kind that it has."""
    files = sorted(Path("/etc/apt/sources.list.d").glob("debian*.sources")) or [Path("/etc/apt/sources.list")]
    return "\n\n".join(path.read_text() for path in files)


def debian(place: Path, packages: Sequence[str]) -> None:
    """A small Debian in the folder ``place``; the test is skipped where none can be fetched."""
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", *apt_options(), f"--include={','.join(packages)}", "bookworm",
         place, "-"],
        input=sources(), capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"Debian can't be fetched: {made.stderr[-300:]}")

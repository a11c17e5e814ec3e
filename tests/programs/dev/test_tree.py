"""The development network's settings in an empty folder, from the repository and from the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from eps.errors import StartError
from eps.programs.dev.tree import FILES, ensure_tree

ROOT = Path(__file__).parents[3]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_folder_is_given_the_settings(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / ".venv").mkdir()
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    ensure_tree(tmp_path, told.append)
    assert told == ["wrote the development network's settings to settings/dev, and examples to examples"]
    assert set(files_in(tmp_path)) >= {"settings/dev/roles/hd-1/001_default.yml", "examples/locations.py"}
    assert not list(tmp_path.rglob("*.key"))
    ensure_tree(tmp_path, told.append)
    assert len(told) == 1


def test_every_role_of_the_repository_is_brought_along(tmp_path: Path) -> None:
    ensure_tree(tmp_path, print)
    ours = subprocess.run(["git", "ls-files", "settings/dev"], cwd=ROOT, capture_output=True, text=True, check=False)
    for name in ours.stdout.split():
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()


def test_other_files_are_not_mixed_with_ours(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(StartError, match=r"is not empty \(it has thesis.txt\) \(run this in an empty folder"):
        ensure_tree(tmp_path, print)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "x")

    monkeypatch.setattr("eps.programs.dev.tree._copy", refuse)
    with pytest.raises(StartError, match="can't write x: Permission denied"):
        ensure_tree(tmp_path, print)


def test_the_wheel_has_them(tmp_path: Path) -> None:
    """As pip unpacks it, far from the repository."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (tmp_path / "empty").mkdir()
    script = "from pathlib import Path; from eps.programs.dev.tree import ensure_tree; ensure_tree(Path.cwd(), print)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    run = [sys.executable, "-c", script]
    subprocess.run(run, cwd=tmp_path / "empty", env=environment, check=True, capture_output=True, timeout=60)
    ours = tmp_path / "ours"
    ours.mkdir()
    ensure_tree(ours, print)
    assert files_in(tmp_path / "empty") == files_in(ours)
    assert {name for name in FILES if not (ours / name).exists()} == set()

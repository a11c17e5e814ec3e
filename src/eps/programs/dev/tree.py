"""The development network's settings, for ``eps demo`` and ``eps dev``: in the repository, or in an empty folder.

in the repository   settings/dev is there, and is used as it is
installed           the package brings the same files along; an empty folder is given a copy
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import eps
from eps.errors import StartError

ROLES = (
    "sd-1",
    "hd-1",
    "hd-2",
    "public-proxy-1",
    "public-proxy-eps-1",
    "private-proxy-1",
    "private-proxy-eps-1",
    "ls-1",
    "op-1",
)
"""PROTOCOL.md section 1; what was added to a repository's settings later is not copied."""

FILES = (
    *(f"settings/dev/roles/{role}" for role in ROLES),
    "settings/dev/directory/001_base.json",
    "examples/locations.py",
    "examples/call.py",
    "examples/offer",
)


def ensure_tree(root: Path, tell: Callable[[str], None]) -> None:
    """Have the development network's settings in ``root``; where they are missing, an empty folder is given them.

    Raises:
        StartError: they are missing, and other files are there; or they can't be written.
    """
    if (root / "settings" / "dev" / "roles").is_dir():
        return
    others = sorted(entry.name for entry in root.iterdir() if _counts(entry))
    if others:
        raise StartError(
            f"there is no settings/dev/roles in {root}, and the folder is not empty (it has {others[0]})",
            hint="run this in an empty folder, which is then given the development network's settings, or in the root "
            "of the repository",
        )
    try:
        for name in FILES:
            _copy(_shipped() / name, root / name)
    except OSError as error:
        raise StartError(f"can't write {error.filename}: {error.strerror}", hint="check the folder's owner") from None
    tell("wrote the development network's settings to settings/dev, and examples to examples")


def _counts(entry: Path) -> bool:
    """Whether a folder with this in it is not empty: hidden files and a virtual environment don't make it that."""
    return not entry.name.startswith(".") and not (entry / "pyvenv.cfg").exists()


def _shipped() -> Path:
    """Where the files are: in an installed package, or in the repository from which it is imported."""
    package = Path(eps.__file__).parent
    inside = package / "programs" / "dev" / "tree_files"
    return inside if inside.is_dir() else package.parents[1]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)

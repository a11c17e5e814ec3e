"""``eps dev certs`` (``make certs``): certificates for settings/dev and settings/test, and a network without a past.

Each of the two trees gets its own authority, whose key is kept beside its certificates: it signs for operators that
join later (``operators``). A new authority makes the chain of change records that was signed under the old one
worthless, so the state that the trees' programs kept is removed as well.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eps.errors import StartError
from eps.pki import Authority, Issued, write_key
from eps.programs.admin.own_records import as_file, pins_record
from eps.settings import PROGRAMS
from eps.settings.loader import read_settings
from eps.settings.node import plain

NAMES = (
    "hd-1",
    "hd-2",
    "ls-1",
    "op-1",
    "op-2",
    "public-proxy-1.ga",
    "private-proxy-1.ga",
    "sd-1",
    "internal-server",
    "demo-app",
)
"""Who has certificates (PROTOCOL.md section 1)."""

GROUPS = {"hd-1": ("sd-admin",)}
"""Groups in signing certificates: hd-1 may sign change records."""

TREES = ("dev", "test")

AUTHORITY_KEY = "intermediate.key"
"""The key with which the development network's authority signs; a file beside the certificates, for its owner only."""

Tell = Callable[[str], None]
"""Shows one line to the administrator."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """One operator's certificates."""

    tls: Issued
    signing: Issued

    @property
    def pins(self) -> tuple[tuple[str, str], ...]:
        """Key usage and fingerprint of each, as the directory is to have them."""
        return (("signing", self.signing.fingerprint), ("encryption", self.tls.fingerprint))


def make_dev_certs(root: Path, tell: Tell) -> None:
    """Make all certificates of the development network anew, under ``root``/settings, and forget its state.

    Certificates, keys (readable by their owner only) and ``002_certificates.json`` replace the old ones only when all
    are written.

    Args:
        root: the folder that holds ``settings``; state lies in its ``.eps``.
        tell: given one line for each thing done.

    Raises:
        StartError: there is no such tree, a server of the network is running, or a file can't be written.
    """
    trees = [root / "settings" / name for name in TREES if (root / "settings" / name / "roles").is_dir()]
    if not trees:
        raise StartError(
            f"there is no settings/dev/roles in {root}", hint="run this in the root of the repository, or name it"
        )
    states = list({state.resolve(): state for tree in trees for state in _state_folders(tree, root)}.values())
    try:
        with _nobody_running(states):
            for tree in trees:
                _make_tree(tree)
                tell(f"made the certificates in {tree.relative_to(root) / 'certs'}, by a new authority")
                tell(f"wrote their fingerprints to {(tree / _DIRECTORY_FILE).relative_to(root)}")
            removed = [state for state in states if _remove(state)]
    except OSError as error:
        raise StartError(f"can't write {error.filename}: {error.strerror}", hint="check the folder's owner") from None
    if removed:
        names = ", ".join(str(state.relative_to(root)) for state in removed)
        tell(f"removed the old network's state, which the new authority makes worthless: {names}")
    tell(f"the directory is empty now: start the service directory, then run {_setup(root)}")


_DIRECTORY_FILE = Path("directory") / "002_certificates.json"


def _setup(root: Path) -> str:
    """What fills the directory, in the repository or in another folder."""
    if (root / "Makefile").exists():
        return "make sd-setup"
    return "EPS_SETTINGS=settings/dev/roles/hd-1 eps sd submit-records --reset settings/dev/directory"


# --- certificates ---


def _make_tree(tree: Path) -> None:
    """Issue and write one tree's certificates: first aside, then in place of the old ones."""
    authority = Authority.create()
    # RSA keys are made outside Python's lock, so as many at once as there are processors.
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        joined = joined_operators(tree)
        names = (*NAMES, *joined)
        pinned = dict(zip(names, pool.map(lambda name: issue(authority, name), names), strict=True))
        others = dict(zip(NAMES, pool.map(lambda name: issue(authority, name), NAMES), strict=True))
    with tempfile.TemporaryDirectory(prefix=".certs-", dir=tree) as folder:
        new = Path(folder) / "certs"
        new.mkdir()
        (new / "root.crt").write_bytes(authority.root_pem)
        (new / "intermediate.crt").write_bytes(authority.intermediate_pem)
        write_key(new / AUTHORITY_KEY, authority.key_pem)
        for name in names:
            _write(new, name, pinned[name], "")
        for name in NAMES:
            _write(new, name, others[name], "-alt")
        records = Path(folder) / _DIRECTORY_FILE.name
        records.write_text(as_file([_pins(name, pinned[name]) for name in NAMES]))
        certs = tree / "certs"
        if certs.exists():
            certs.rename(Path(folder) / "old")
        new.rename(certs)
        (tree / _DIRECTORY_FILE).parent.mkdir(exist_ok=True)
        records.replace(tree / _DIRECTORY_FILE)
    for name in joined:
        _pin_anew(tree / "directory" / f"{name}.json", _pins(name, pinned[name]))


def joined_operators(tree: Path) -> tuple[str, ...]:
    """Who was added to a tree later (``eps dev add-operator``): a role and a file of records of one name."""
    return tuple(
        role.name for role in sorted((tree / "roles").iterdir()) if (tree / "directory" / f"{role.name}.json").is_file()
    )


def _pin_anew(file: Path, pins: dict[str, Any]) -> None:
    """Replace the record of certificates in an operator's file of records."""
    kept = [record for record in json.loads(file.read_text())["records"] if record["section"] != "certificates"]
    file.write_text(as_file([pins, *kept]))


def issue(authority: Authority, name: str) -> Certificates:
    """New certificates for one operator."""
    return Certificates(authority.issue_tls(name), authority.issue_signing(name, GROUPS.get(name, ())))


def _write(folder: Path, name: str, certificates: Certificates, suffix: str) -> None:
    certificates.tls.write(folder, f"{name}{suffix}")
    certificates.signing.write(folder, f"{name}-sign{suffix}")


def _pins(name: str, certificates: Certificates) -> dict[str, Any]:
    """The record that pins an operator's certificates, dated."""
    return {**pins_record(name, certificates.pins), "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


# --- state ---


def _state_folders(tree: Path, root: Path) -> list[Path]:
    """Where the tree's programs keep their state, as far as it lies in ``root``/.eps; nothing else is ever removed."""
    inside = (root / ".eps").resolve()
    found = []
    for role in sorted((tree / "roles").iterdir()):
        settings = _plain_settings(role)
        state = settings.get("state_path")
        if isinstance(state, str):
            folder = root / state
            if inside in folder.resolve().parents:
                found.append(folder)
    return found


def _plain_settings(role: Path) -> dict[str, Any]:
    """A role's settings, unchecked: their certificates need not exist yet."""
    variable = PROGRAMS["eps"].variable
    tree, _ = read_settings(variable, {variable: str(role.absolute())}, role)
    settings = plain(tree)
    return settings if isinstance(settings, dict) else {}


@contextmanager
def _nobody_running(states: list[Path]) -> Iterator[None]:
    """Hold the locks that running programs hold on their state.

    Raises:
        StartError: one of them is held.
    """
    held = []
    try:
        for lock in sorted({lock.resolve() for state in states for lock in state.rglob("*.lock")}):
            file = lock.open("rb")
            held.append(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StartError(
                    f"a server is running on {lock.parent}", hint="stop the development network, then try again"
                ) from None
        yield
    finally:
        for file in held:
            file.close()


def _remove(state: Path) -> bool:
    if not state.exists():
        return False
    shutil.rmtree(state)
    return True

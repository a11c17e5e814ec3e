"""The Debian package, made, looked at by lintian, and used in a root of its own that its own systemd runs."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.howto import blocks_of
from support.machine import BIN, ROOT
from support.packages import built, debian, done, needs

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800), pytest.mark.xdist_group("packages")]
"""A package is made of some forty wheels, and Debian is fetched."""

PAGE = ROOT / "docs" / "howto-install.md"

BESIDE = {
    "systemctl enable --now eps-sd": [
        "running: active active active ", "submitted", "called", "reloaded", "sockets that outlive it: some",
        "other people's modules are not loaded",
    ],
    "apt-get install --yes --reinstall ./eps_0.1.0-1_amd64.deb": [
        "restarted 1", "restarted 2", "restarted 3", "running: active active active ",
    ],
    "systemctl stop eps eps-sd eps-proxy@public": ["running: active active active "],
    "systemctl disable --now eps eps-sd eps-proxy@public": ["no program is left", "what it kept stays"],
}  # fmt: skip
"""What is found behind a block, by its first command."""

ROLES = {
    "eps.yml": ("public-proxy-eps-1", "eps"),
    "sd.yml": ("sd-1", "eps-sd"),
    "proxy.yml": ("public-proxy-1", "eps-proxy/public"),
    "admin.yml": ("hd-1", "admin"),
}
"""Of each file of settings: the development network's role, and the state folder."""

NSPAWN = ("systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "--private-network", "--boot")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("package"))


def test_lintian_finds_nothing(package: Path) -> None:
    needs("lintian")
    assert done("lintian", "--fail-on", "error,warning", package) == ""


def test_the_same_sources_make_the_same_package(package: Path, tmp_path: Path) -> None:
    assert built(tmp_path).read_bytes() == package.read_bytes()


@pytest.fixture
def root(package: Path) -> Iterator[Path]:
    """A small Debian with systemd, where the package is installed, and the development network's files lie."""
    needs("mmdebstrap", "systemd-nspawn", root=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        place = Path(folder) / "root"
        debian(place, ("systemd", "systemd-sysv", "dbus", "python3.11", "adduser"))
        home = place / "root"
        shutil.copy(package, home / package.name)
        with_settings(place / "etc" / "eps", home / "records")
        (home / "hostile").mkdir()
        (home / "hostile" / "eps.py").write_text("raise SystemExit(1)\n")
        yield place


def with_settings(folder: Path, records: Path) -> None:
    """The development network's, as they look at an administrator's who has followed the pages."""
    with tempfile.TemporaryDirectory() as made:
        done(BIN / "eps", "dev", "certs", folder=made)
        tree = Path(made) / "settings" / "dev"
        shutil.copytree(tree / "certs", folder / "certs")
        shutil.copytree(tree / "directory", records)
        for name, (role, state) in ROLES.items():
            text = "\n".join(path.read_text() for path in sorted((tree / "roles" / role).glob("*.yml")))
            text = text.replace("/$DIR/../../certs", "/etc/eps/certs")
            (folder / name).write_text(re.sub(r"(?m)^state_path: \S+", f"state_path: /var/lib/{state}", text))


def test_it_is_installed_run_upgraded_and_removed_as_the_page_says(root: Path) -> None:
    """Every block of the page, typed in a root of its own that its own systemd runs, with the units as they are."""
    typed = [block for block in blocks_of(PAGE) if block.is_command and "not run" not in block.marks]
    (root / "root" / "blocks").mkdir()
    for number, block in enumerate(typed):
        (root / "root" / "blocks" / f"{number:02}").write_text(block.text + "\n")
    shutil.copy(Path(__file__).with_name("in_the_root.sh"), root / "root" / "do")
    units = root / "etc" / "systemd" / "system"
    (units / "do.service").write_text(
        "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/bin/sh /root/do\n"
    )
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants" / "do.service").symlink_to("../do.service")
    done("timeout", "400", *NSPAWN, "--directory", root)
    wanted = [
        line for block in typed for first in block.text.split("\n")[:1] for line in (first, *BESIDE.get(first, ()))
    ]
    found = (root / "root" / "found").read_text().splitlines()
    assert found == wanted, f"{found}\n{(root / 'root' / 'told').read_text()[-20_000:]}"

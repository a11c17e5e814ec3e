"""deploy/systemd: the units are locked up as tightly as the programs can stand."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.machine import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))

EXPOSURE = 2.0
"""The most that systemd may find of what a service could do beyond its work, of 10."""

analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def analyzed(*words: str | Path) -> str:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def settings_of(unit: Path) -> dict[str, list[str]]:
    """What stands in a unit: by key, all its values."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"(?m)^([A-Za-z]+)=(.*)$", unit.read_text()):
        found.setdefault(key, []).append(value)
    return found


def test_there_is_one_for_each_program() -> None:
    assert [unit.name for unit in UNITS] == ["eps-proxy@.service", "eps-sd.service", "eps.service"]


@analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_a_service_could_do_beyond_its_work(unit: Path) -> None:
    told = analyzed("security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert found and float(found[1]) < EXPOSURE, told


@analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    """But for the program, which is not where the unit says on this machine."""
    copy = tmp_path / unit.name.replace("@", "@public")
    copy.write_text(re.sub(r"(?m)^Documentation=.*\n", "", unit.read_text().replace("/opt/eps/bin/", "/bin/true ")))
    told = analyzed("verify", copy)
    assert str(copy) not in told and copy.name not in told, told


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_they_differ_in_nothing_but_what_they_start(unit: Path) -> None:
    own = {"Description", "Documentation", "Environment", "ExecStart", "StateDirectory", "PrivateUsers",
           "CapabilityBoundingSet", "AmbientCapabilities"}  # fmt: skip
    first, this = settings_of(UNITS[0]), settings_of(unit)
    assert {key: first[key] for key in first.keys() - own} == {key: this[key] for key in this.keys() - own}


def test_only_a_proxy_may_take_the_ports_of_the_web() -> None:
    may = {unit.stem: settings_of(unit)["AmbientCapabilities"] for unit in UNITS}
    assert may == {"eps-proxy@": ["CAP_NET_BIND_SERVICE"], "eps-sd": [""], "eps": [""]}

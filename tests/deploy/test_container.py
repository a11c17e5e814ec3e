"""deploy/container: an image of Debian's smallest root and our package; deploy/compose.yml: a network in it."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import yaml

from support.machine import ROOT
from support.packages import apt_options, built, done, needs, sources

ROLES = ROOT / "settings" / "dev" / "roles"

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yml").read_text())

SERVERS = {name: service for name, service in COMPOSE["services"].items() if service["restart"] != "no"}

PROGRAMS = {"eps": "EPS_SETTINGS", "eps-sd": "SD_SETTINGS", "eps-proxy": "PROXY_SETTINGS"}


def test_each_server_of_the_compose_file_has_the_settings_of_its_role() -> None:
    for name, service in SERVERS.items():
        variable = PROGRAMS[service["command"][0]]
        assert service["environment"] == {variable: f"settings/dev/roles/{name}"}
        assert (ROLES / name).is_dir()


def test_what_the_compose_file_runs_is_locked_up() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert set(service["depends_on"]) <= set(COMPOSE["services"]), name
    assert {name for name, service in COMPOSE["services"].items() if service["network_mode"] != "service:sd-1"} == {
        "prepare",
        "sd-1",
    }


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs("mmdebstrap", "buildah", root=True)
    folder = tmp_path_factory.mktemp("image")
    (folder / "apt.sources").write_text(sources())
    name = f"eps-test:{uuid4().hex[:8]}"
    done(
        "deploy/container/build.sh", built(folder), name, APT_OPTIONS=" ".join(apt_options()),
        SOURCES=str(folder / "apt.sources"), STORAGE_DRIVER="vfs", BUILDAH_ISOLATION="chroot",
    )  # fmt: skip
    yield name
    done("buildah", "rmi", "--force", name, STORAGE_DRIVER="vfs")


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_the_image_runs_as_nobody_in_particular_and_says_how_it_is(image: str) -> None:
    vfs = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
    told = json.loads(done("buildah", "inspect", "--type", "image", image, **vfs))["Docker"]["config"]
    assert told["User"] == "eps" and told["Volumes"] == {"/var/lib/eps": {}}
    assert told["Healthcheck"]["Test"] == ["CMD", "/usr/lib/eps/bin/healthy"]
    container = done("buildah", "from", "--pull-never", image, **vfs).strip()
    try:
        who = done("buildah", "run", container, "--", "sh", "-c", "id -un; eps version; touch /usr/x 2>&1; pwd", **vfs)
        assert who.splitlines()[0] == "eps" and who.splitlines()[-1] == "/var/lib/eps" and "denied" in who
        script = """
            eps dev certs > /dev/null 2>&1
            export SD_SETTINGS=settings/dev/roles/sd-1
            eps-sd run 2> /dev/null &
            for _ in $(seq 60); do eps-sd status --json > /dev/null 2>&1 && break; sleep 0.5; done
            eps-sd status --json > /dev/null && echo well
            kill $!
            wait
            eps-sd status --json > /dev/null 2>&1 || echo ill
        """
        assert done("buildah", "run", container, "--", "sh", "-c", script, **vfs).split() == ["well", "ill"]
    finally:
        done("buildah", "rm", container, **vfs)

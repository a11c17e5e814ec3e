"""examples/container: how a container starts its program, told by stand-ins for what only root may do."""

import os
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "container"

TELL = '#!/bin/sh\necho "$(basename "$0")" "$@" "[$EPS_SETTINGS$SD_SETTINGS$PROXY_SETTINGS]"\n'
"""A stand-in that says what it was given."""


def start(
    folder: Path, *words: str, user: int = 1000, program: str = "eps", **environment: str
) -> tuple[int, str, str]:
    """Exit code and what was said."""
    stand_ins = folder / "bin"
    stand_ins.mkdir()
    texts = dict.fromkeys(("eps", "sd", "proxy", "chown", "setpriv"), TELL) | {"id": f"#!/bin/sh\necho {user}\n"}
    for name, text in texts.items():
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    path = f"{stand_ins}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [EXAMPLE / "entrypoint", *words],
        env={"PATH": path, "PROGRAM": program, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("program", "words", "started"),
    [
        ("eps", "", "eps [/app/settings]"),
        ("eps", "server run", "eps server run [/app/settings]"),
        ("eps", "eps --level debug s run", "eps --level debug s run [/app/settings]"),
        ("eps", "sd get-entries", "eps sd get-entries [/app/settings]"),
        ("sd", "run", "sd run [/app/settings]"),
        ("sd", "sd run", "sd run [/app/settings]"),
        ("proxy", "run private", "proxy run private [/app/settings]"),
    ],
)
def test_what_is_started(tmp_path: Path, program: str, words: str, started: str) -> None:
    assert start(tmp_path, *words.split(), program=program) == (0, f"{started}\n", "")


@pytest.mark.parametrize(
    ("environment", "settings"), [({"EPS_SETTINGS": "/a:/b"}, "/a:/b"), ({"HYPER_SETTINGS": "/h"}, "/h")]
)
def test_settings_that_are_named(tmp_path: Path, environment: dict[str, str], settings: str) -> None:
    assert start(tmp_path, "server", "run", **environment) == (0, f"eps server run [{settings}]\n", "")


def test_root_gives_the_mounted_folders_away_and_becomes_iris(tmp_path: Path) -> None:
    code, out, err = start(tmp_path, "server", "run", user=0, MOUNT_POINTS="/storage,/app/db:/x /y")
    given = [f"chown -Rh iris: {folder} [/app/settings]" for folder in ("/storage", "/app/db", "/x", "/y")]
    leave = "setpriv --reuid iris --regid iris --init-groups eps server run [/app/settings]"
    assert (code, out.splitlines(), err) == (0, [*given, leave], "")


def test_an_unknown_program(tmp_path: Path) -> None:
    code, out, err = start(tmp_path, program="hyper")
    assert (code, out) == (2, "")
    assert "must be eps, sd or proxy" in err


def test_the_image_copies_what_there_is() -> None:
    lines = (EXAMPLE / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1] if word[:2] != "--"]
    assert {"src", "requirements.lock", "examples/container/entrypoint"} < set(copied)
    assert [name for name in copied if not (EXAMPLE.parents[1] / name).exists()] == []

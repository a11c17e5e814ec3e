"""Which commands shorten what is more than a screen, and why the others need not."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.command_lines import APPS, command_of

SHORTENED = frozenset(
    ["eps call", "eps sd get-entries", "eps methods", "eps trace", "proxy trace",
     "eps directory show", "eps directory log", "eps directory diff", "eps directory check"]
)  # fmt: skip
"""A terminal gets a screen of their result; ``--all`` shows all."""

WITHOUT = {
    "a pipe gets all, and they say so": [
        "eps explain", "eps directory export", "eps sd submit-records", "eps directory submit", "eps directory remove",
    ],
    "every line may be what is looked for": [
        "eps audit verify", *(f"{program} {name}" for program in APPS for name in ("doctor", "status", "config check")),
    ],
    "others take it as it is": [
        "eps sd sign", "eps directory propose", "eps directory sign", "eps operator records",
        "eps client generate", "eps audit head", "eps audit reveal",
        *(f"{program} {name}" for program in APPS for name in ("completion", "man")),
    ],
    "some lines, or steps one by one": [
        "eps ping", "eps demo", "eps mock", "eps server run", "sd run", "proxy run public", "proxy run private",
        "eps server drain", "proxy drain", "eps sd trust-root", "eps sd verify", "eps operator init",
        "eps cert request", "eps cert fingerprint", "eps cert inspect", "eps cert renew", "sd store import",
        "eps audit key", "eps audit check",
        *(f"eps dev {name}" for name in ("certs", "add-operator", "sign", "internal-server")),
        *(f"{program} version" for program in APPS),
        *(f"{program} store {name}" for program in APPS for name in ("copy", "verify", "backup", "restore")),
    ],
}  # fmt: skip
"""Why they have no ``--all``."""


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    else:
        for name, one in inner.items():
            yield from commands(one, f"{path} {name}")


FOUND = {path: one for program in APPS for path, one in commands(command_of(program), program)}


def test_of_every_command_it_is_decided() -> None:
    decided = [*SHORTENED, *(name for names in WITHOUT.values() for name in names)]
    assert sorted(decided) == sorted(FOUND)


@pytest.mark.parametrize("path", sorted(FOUND))
def test_all_of_it_can_be_asked_for(path: str) -> None:
    options = {name for param in FOUND[path].params for name in param.opts}
    assert ("--all" in options) is (path in SHORTENED)

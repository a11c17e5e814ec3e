"""The development network with several of everything on one Redis, for ``eps demo --scale`` and tests.

    sd-1-a, sd-1-b                       one list of records
    public-proxy-1-a, public-proxy-1-b   one list of announcements; behind public-proxy-eps-1, which knows both
    hd-2-a, hd-2-b                       siblings
    hd-1, public-proxy-eps-1             once

Each runs from a copy of its role's settings, in which ports are replaced, and with a file of what it has besides.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eps.programs.dev.processes import Program

MORE = "900_scaled.json"
"""Read behind the role's own files."""

PROXY = "public-proxy-1.ga"

SECOND = {
    "sd-1-b": {3322: "sd-b", 2114: "", 2134: ""},
    "public-proxy-1-b": {4433: "tls-b", 9999: "relay-b", 6655: "proxy-b", 2115: "", 2135: ""},
    "hd-2-b": {8889: "grpc-b", 3334: "rpc-b", 2113: "", 2133: ""},
}
"""Ports of the second ones: that of the role, and the name of the one in its place; "" is any."""

NAMES = ("sd-b", "tls-b", "relay-b", "proxy-b", "grpc-b", "rpc-b")
"""Of ports that are needed besides those of the roles, and the Redis server's."""

COMMANDS = {
    "sd-1-a": ("sd-1", "sd", "run"),
    "sd-1-b": ("sd-1", "sd", "run"),
    "public-proxy-1-a": ("public-proxy-1", "proxy", "run", "public"),
    "public-proxy-1-b": ("public-proxy-1", "proxy", "run", "public"),
    "public-proxy-eps-1": ("public-proxy-eps-1", "eps", "server", "run"),
    "hd-1": ("hd-1", "eps", "server", "run"),
    "hd-2-a": ("hd-2", "eps", "server", "run"),
    "hd-2-b": ("hd-2", "eps", "server", "run"),
}
"""Programs: their role, and what they run."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where it stands.

    Attributes:
        dev: settings/dev, with certificates.
        folder: for the copies.
        of: the port that stands for one of the development network's.
        ports: the others, by :data:`NAMES`.
        redis: the Redis server's.
    """

    dev: Path
    folder: Path
    of: Callable[[int], int]
    ports: Mapping[str, int]
    redis: int


def relay_file(ground: Ground) -> Path:
    """A file with the record that lets both relays be dialled."""
    endpoints = [f"localhost:{ground.of(9999)}", f"localhost:{ground.ports['relay-b']}"]
    item = {"operator": "", "service": "proxy", "environment": "", "settings": {"internal_endpoints": endpoints}}
    record = {"name": PROXY, "section": "settings", "data": [item], "created_at": "2026-11-22T00:00:00Z"}
    file = ground.folder / "relays.json"
    file.write_text(json.dumps({"records": [record]}))
    return file


def write_settings(ground: Ground) -> dict[str, dict[str, str]]:
    """Write the copies; each program's environment."""
    found: dict[str, dict[str, str]] = {}
    for name, (role, program, *_) in COMMANDS.items():
        target = ground.folder / name
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted((ground.dev / "roles" / role).iterdir()):
            (target / file.name).write_text(_rewritten(file.read_text(), name, role, ground))
        (target / MORE).write_text(json.dumps(_more(name, ground), indent=2))
        found[name] = {f"{program.upper()}_SETTINGS": str(target)}
    return found


def programs(environments: Mapping[str, Mapping[str, str]]) -> list[Program]:
    """What to start."""
    return [
        Program(name, (f"eps.programs.{program}", "--format", "json", "--level", "debug", *command), environments[name])
        for name, (_, program, *command) in COMMANDS.items()
    ]


def _rewritten(text: str, name: str, role: str, ground: Ground) -> str:
    text = text.replace("/$DIR/../..", str(ground.dev)).replace(f".eps/{role}", f".eps/scaled/{name}")
    for port, other in SECOND.get(name, {}).items():
        text = text.replace(f"localhost:{ground.of(port)}", f"localhost:{ground.ports[other] if other else 0}")
    if name == "public-proxy-eps-1":
        line = f"endpoint: https://localhost:{ground.of(6655)}/jsonrpc"
        further = f'further_endpoints: ["https://localhost:{ground.ports["proxy-b"]}/jsonrpc"]'
        text = text.replace(line, f"{line}\n      {further}")
    return text


def _more(name: str, ground: Ground) -> dict[str, Any]:
    redis = {"addresses": [f"127.0.0.1:{ground.redis}"], "password": ""}
    if name.startswith("sd-1"):
        return {"directory": {"datastore!": {"type": "redis", "settings": {**redis, "key": "sd"}}}}
    if name.startswith("public-proxy-1"):
        return {"public": {"datastore!": {"type": "redis", "settings": {**redis, "key": "announcements"}}}}
    both = {
        "endpoints": [f"https://localhost:{ground.ports['sd-b']}/jsonrpc"],
        "server_names": ["sd-1"],
    }
    more: dict[str, Any] = {"directory": {"settings": both}, "patience": 20.0}
    if name.startswith("hd-2"):
        port = ground.of(8889) if name == "hd-2-a" else ground.ports["grpc-b"]
        address = f"localhost:{port}"
        more["siblings"] = {"instance": name, "address": address, "redis": {**redis, "key": "eps"}}
    return more

"""Other stores for the demo than the settings' SQLite: files, or lists on a Redis server that it starts for itself.

settings/dev/roles/sd-1 : .eps/demo-stores/redis/sd-1.json   the second replaces the first's datastore
"""

import json
import shutil
import socket
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from eps.errors import StartError
from eps.programs.dev.processes import Program


class Store(StrEnum):
    """The words behind ``eps demo --store``; the values are those of ``datastore.type``."""

    SQLITE = "sqlite"
    FILE = "file"
    REDIS = "redis"


SECTIONS = {"sd-1": "directory", "public-proxy-1": "public", "private-proxy-1": "private"}
"""Which programs keep something, and where their settings say so."""

REDIS = "redis"
"""The Redis server's name among the programs."""


def redis_program(folder: Path, port: int) -> Program:
    """The demo's own Redis server.

    Raises:
        StartError: it is not installed.
    """
    if shutil.which("redis-server") is None:
        raise StartError(
            "redis-server is not installed", hint="apt install redis-server, or let «make demo STORE=redis» do it"
        )
    return Program(REDIS, ("eps.programs.dev.redis_server", str(port), str(folder)), {})


def free_port() -> int:
    """A port of localhost that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number: int = sock.getsockname()[1]
    return number


def with_store(programs: Sequence[Program], store: Store, folder: Path, redis_port: int = 0) -> list[Program]:
    """The same programs, with another store; the settings that say so are written to ``folder``."""
    if store is Store.SQLITE:
        return list(programs)
    folder.mkdir(parents=True, exist_ok=True)
    return [_with_store(program, store, folder, redis_port) for program in programs]


def _with_store(program: Program, store: Store, folder: Path, redis_port: int) -> Program:
    section = SECTIONS.get(program.name)
    if section is None:
        return program
    settings: dict[str, Any] = {"filename": str(folder / f"{program.name}.entries")}
    if store is Store.REDIS:
        settings = {"addresses": [f"127.0.0.1:{redis_port}"], "password": "", "key": program.name}
    more = folder / f"{program.name}.json"
    more.write_text(json.dumps({section: {"datastore!": {"type": store.value, "settings": settings}}}, indent=2))
    ((variable, places),) = program.environment.items()
    return replace(program, environment={variable: f"{places}:{more}"})

"""Stand-ins that several test files share."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eps.core.entries import Directory
from eps.core.message import Response
from eps.core.names import Object, Operator, Token
from eps.core.record import parse_change_record
from eps.core.removal import removal
from eps.directory.json_files import records_of
from eps.errors import EpsError

BASE = Path(__file__).parents[2] / "settings" / "dev" / "directory" / "001_base.json"
"""A directory shaped as the development network's is (settings/dev, docs/tutorial.md)."""


def network_directory(
    *,
    without: str = "",
    empty: bool = False,
    pins: dict[str, list[str]] | None = None,
    services: dict[str, list[dict[str, Any]]] | None = None,
    records: Sequence[dict[str, Any]] = (),
    **channels: list[dict[str, Any]],
) -> Directory:
    """The development network's directory, unsigned.

    Args:
        without: leave this operator out.
        pins: encryption fingerprints by operator.
        services: other services by operator.
        records: further ones.
        channels: other channels by operator (with ``_`` for ``-``).
    """
    if empty:
        return Directory.empty()
    given, records = records, [one for one in json.loads(BASE.read_text())["records"] if one["name"] != without]
    records += [
        {"name": name, "section": "certificates", "data": [_pin(value) for value in values]}
        for name, values in (pins or {}).items()
    ]
    records += [
        {"name": name.replace("_", "-"), "section": "channels", "data": data} for name, data in channels.items()
    ]
    records += [{"name": name, "section": "services", "data": data} for name, data in (services or {}).items()]
    records += given
    dated = [{"created_at": "2026-11-22T10:00:00Z", **record} for record in records]
    return Directory.from_records([parse_change_record(record) for record in dated])


def removed_from(directory: Directory, name: str) -> Directory:
    """The same after ``eps directory remove NAME``."""
    entry = directory.entry(Operator(name))
    assert entry is not None
    return directory.after(one.record for one in records_of({"records": removal(entry)}, "removal"))


def _pin(fingerprint: str) -> dict[str, str]:
    return {"fingerprint": fingerprint, "key_usage": "encryption"}


class FakeSource:
    """A DirectorySource whose state the test sets."""

    def __init__(self, current: Directory) -> None:
        self._current = current
        self._changed = asyncio.Event()
        self.next: Directory | None = None
        self.refreshes = 0
        self.refused = ""
        self.failure: EpsError | None = None

    @property
    def current(self) -> Directory:
        return self._current

    @current.setter
    def current(self, value: Directory) -> None:
        self._current = value
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def verified(self) -> Directory:
        return self._current

    async def loaded(self) -> bool:
        return True

    def as_of(self) -> str:
        return "the directory is a test's"

    def too_old(self) -> str:
        return self.refused

    def failing(self) -> EpsError | None:
        return self.failure

    async def start(self) -> None:
        return None

    async def refresh(self) -> None:
        self.refreshes += 1
        if self.next is not None:
            self.current, self.next = self.next, None

    async def changed(self, seen: Directory) -> Directory:
        while self._current is seen:
            await self._changed.wait()
        return self._current

    async def close(self) -> None:
        return None


class RecordingTunnel:
    """A TunnelAcceptor that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, Operator]] = []

    async def accept_tunnel(self, endpoint: str, token: Token, via: Operator) -> None:
        self.asked.append((endpoint, bytes(token), via))


class FakeClients:
    """Clients of service directories (``eps.directory.endpoints.Clients``); ``closed``: how often."""

    def __init__(self, call: Callable[[int, str, Object], Awaitable[Response]], names: Sequence[str]) -> None:
        self.names = names
        self.closed = 0
        self._call = call

    async def call(self, index: int, method: str, params: Object) -> Response:
        return await self._call(index, method, params)

    async def close(self) -> None:
        self.closed += 1


class FakeLeases:
    """Leases that the test gives and takes; see channels.siblings.Leases."""

    def __init__(self) -> None:
        self.instance = "hd-2-a"
        self.siblings: Mapping[str, tuple[str, str]] = {}
        self.holders: Mapping[str, str] = {}
        self.failing = ""
        self.died: list[str] = []
        self.over: list[str] = []
        self.let_go: list[str] = []
        self._held: set[str] = set()
        self._again: dict[str, Callable[[], None]] = {}
        self._news = asyncio.Event()

    def grant(self, peer: str) -> None:
        self._held.add(peer)
        self._tell()

    def take(self, peer: str) -> None:
        self._held.discard(peer)
        self._tell()

    def again(self, peer: str) -> None:
        self._again[peer]()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to close."""

    def holds(self, peer: str) -> bool:
        return peer in self._held

    async def acquire(self, peer: str, again: Callable[[], None]) -> None:
        self._again[peer] = again
        while peer not in self._held:
            await self._news.wait()

    async def lost(self, peer: str) -> None:
        while peer in self._held:
            await self._news.wait()

    def ended(self, peer: str) -> None:
        self.over.append(peer)

    def release(self, peer: str) -> None:
        self.let_go.append(peer)
        self.take(peer)

    def dead(self, boot: str) -> None:
        self.died.append(boot)

    def take_over(self) -> None:
        """There is nobody else."""

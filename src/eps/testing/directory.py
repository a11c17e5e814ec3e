"""The directory of a network for tests: who is there, in which groups, and who may call whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eps.core.entries import Directory
from eps.core.record import parse_change_record
from eps.directory.json_files import JsonDirectory

CREATED = "2026-01-01T00:00:00Z"
"""Of all records: nobody looks at their dates here."""


@dataclass(frozen=True, slots=True)
class Member:
    """An operator.

    Attributes:
        service: the name of what it offers; empty: nothing.
        methods: of its service.
        callers: groups whose members may call them; ``*`` is everybody.
    """

    name: str
    groups: tuple[str, ...] = ()
    service: str = ""
    methods: tuple[str, ...] = ()
    callers: tuple[str, ...] = ("*",)


def directory_of(members: Iterable[Member]) -> Directory:
    """What follows from their records, unsigned."""
    return Directory.from_records([parse_change_record(one) for member in members for one in _records(member)])


def _records(member: Member) -> list[dict[str, Any]]:
    services = [_service("internals", ("*",), ("_ping", "_directory"))]
    if member.service:
        services.append(_service(member.service, member.callers, member.methods))
    server = {"type": "grpc_server", "settings": {"address": f"{member.name}:4444"}}
    sections = {"groups": list(member.groups), "channels": [{"type": "grpc_client"}, server], "services": services}
    return [
        {"name": member.name, "section": section, "data": data, "created_at": CREATED}
        for section, data in sections.items()
    ]


def _service(name: str, callers: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    permissions = [{"group": group, "rights": ["call"]} for group in callers]
    return {"name": name, "permissions": permissions, "methods": [{"name": method} for method in methods]}


class Known(JsonDirectory):
    """A ``DirectorySource`` that everybody in the network shares, and that has always heard of everything. No file is
    read: what is known is said."""

    def __init__(self) -> None:
        super().__init__("")

    def become(self, directory: Directory) -> None:
        """Know another state from now on."""
        self._current = directory

"""The directory entry of an operator that joins, as change records to hand to the directory's administrator.

``eps operator records``, ``eps dev add-operator``. Unsigned (PROTOCOL.md section 4): the administrator signs.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UNDIALLED = "localhost:4444"
"""A ``grpc_server`` behind a proxy needs an address, which nobody dials."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator wants the directory to say of it.

    Attributes:
        name: the operator's.
        groups: that it is to be a member of; they may also call what it offers.
        pins: key usage (``signing``, ``encryption``) and fingerprint of each certificate, in order.
        proxy: the operator of the proxy through which it is reached; empty: none.
        address: HOST:PORT at which others dial it; empty, and no proxy: it is called on streams that it holds.
        methods: that it offers.
    """

    name: str
    groups: tuple[str, ...]
    pins: tuple[tuple[str, str], ...]
    proxy: str = ""
    address: str = ""
    methods: tuple[str, ...] = ()


def pins_record(name: str, pins: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The record that pins an operator's certificates: all of them, since it replaces the section."""
    data = [{"fingerprint": fingerprint, "key_usage": usage} for usage, fingerprint in pins]
    return {"name": name, "section": "certificates", "data": data}


def entry_records(wanted: Wanted) -> list[dict[str, Any]]:
    """The records of the whole entry."""
    sections = {
        "groups": list(wanted.groups),
        "channels": _channels(wanted),
        "services": _services(wanted),
    }
    others = [{"name": wanted.name, "section": section, "data": data} for section, data in sections.items()]
    return [pins_record(wanted.name, wanted.pins), *others]


def as_file(records: Sequence[dict[str, Any]]) -> str:
    """Records as the text of a file that ``eps sd submit-records`` takes."""
    return json.dumps({"records": list(records)}, indent=2) + "\n"


def _channels(wanted: Wanted) -> list[dict[str, Any]]:
    channels: list[dict[str, Any]] = [{"type": "grpc_client"}]
    if wanted.proxy or wanted.address:
        settings = {"address": wanted.address or UNDIALLED, **({"proxy": wanted.proxy} if wanted.proxy else {})}
        channels.append({"type": "grpc_server", "settings": settings})
    return channels


def _services(wanted: Wanted) -> list[dict[str, Any]]:
    services = [_service("internals", wanted.groups, ("_ping",))]
    if wanted.proxy:
        services.insert(0, _service("connection-requests", ("proxy-providers",), ("_connectionRequest",)))
    if wanted.methods:
        services.append(_service(wanted.name, wanted.groups, wanted.methods))
    return services


def _service(name: str, groups: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "permissions": [{"group": group, "rights": ["call"]} for group in groups],
        "methods": [{"name": method, "permissions": []} for method in methods],
    }

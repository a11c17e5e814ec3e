"""The directory as a peer in use sees it: entries in JSON, rights by group, pins by fingerprint (section 4)."""

from collections.abc import Iterable

from support.foreign.messages import Object


class Upset(Exception):
    """An entry that peers in use can't read: one with ``preferences``, or a ``grpc_server`` without an address."""


class Directory:
    """Entries by name. Give new ones to :meth:`replace`; readers see either the old or the new set."""

    def __init__(self, entries: Iterable[Object] = ()) -> None:
        self._entries: dict[str, Object] = {}
        self.replace(entries)

    def replace(self, entries: Iterable[Object]) -> None:
        self._entries = {entry["name"]: _checked(entry) for entry in entries}

    @property
    def entries(self) -> list[Object]:
        return list(self._entries.values())

    def entry(self, name: str) -> Object | None:
        return self._entries.get(name)

    def pins(self, name: str) -> set[str]:
        certificates = (self._entries.get(name) or {}).get("certificates") or []
        return {item["fingerprint"] for item in certificates if item["key_usage"] == "encryption"}

    def grpc_server(self, name: str) -> Object | None:
        """The settings of the operator's ``grpc_server`` channel."""
        return _channel(self._entries.get(name) or {}, "grpc_server")

    def has_channel(self, name: str, kind: str) -> bool:
        channels = (self._entries.get(name) or {}).get("channels") or []
        return any(channel["type"] == kind for channel in channels)

    def may_call(self, caller: str, callee: str, method: str) -> bool:
        groups = {"*", *((self._entries.get(caller) or {}).get("groups") or [])}
        for service in (self._entries.get(callee) or {}).get("services") or []:
            for candidate in service.get("methods") or []:
                if candidate["name"] == method:
                    return bool(groups & (_callers(service) | _callers(candidate)))
        return False

    def stream_targets(self, name: str) -> list[str]:
        """To whom ``name`` holds a ``ServerCall`` stream (section 3, «Who holds streams open»)."""
        own, wanted = self.grpc_server(name), self._groups_served(name)
        reachable = own is not None and _dialable(own)
        return [
            other
            for other, entry in self._entries.items()
            if other != name
            and wanted & set(entry.get("groups") or [])
            and _dialable(self.grpc_server(other))
            and not (reachable and self.has_channel(other, "grpc_client"))
        ]

    def _groups_served(self, name: str) -> set[str]:
        groups: set[str] = set()
        for service in (self._entries.get(name) or {}).get("services") or []:
            groups |= _callers(service)
            for method in service.get("methods") or []:
                groups |= _callers(method)
        return groups


def _callers(granting: Object) -> set[str]:
    return {item["group"] for item in granting.get("permissions") or [] if "call" in item["rights"]}


def _channel(entry: Object, kind: str) -> Object | None:
    for channel in entry.get("channels") or []:
        if channel["type"] == kind:
            return channel.get("settings") or {}
    return None


def _dialable(settings: Object | None) -> bool:
    return settings is not None and not settings.get("internal") and not settings.get("proxy")


def _checked(entry: Object) -> Object:
    if entry.get("preferences"):
        raise Upset(f"{entry['name']} has preferences")
    server = _channel(entry, "grpc_server")
    if server is not None and not server.get("address"):
        raise Upset(f"{entry['name']} has a grpc_server without an address")
    return entry

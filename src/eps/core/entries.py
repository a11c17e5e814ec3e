"""The directory: who is in the network, where, and what each may do (PROTOCOL.md section 4).

A ``Directory`` is a snapshot that never changes; a change makes a new one, which shares all unchanged entries.
Entries are typed values; what questions need again and again is worked out once per entry, on first use.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from eps.core.message import Constant
from eps.core.names import Fingerprint, Object, Operator
from eps.core.record import SECTIONS, ChangeRecord, SignedRecord, sendable_section
from eps.core.sections import (
    GRPC_CLIENT,
    GRPC_SERVER,
    PROXIES,
    Channel,
    GrpcServerInfo,
    Mark,
    Permission,
    PinnedCertificate,
    Service,
    ServiceSettings,
    alternatives_in,
    first_settings,
    grpc_server_of,
    is_direct,
    typed,
)


@dataclass(frozen=True)  # no slots: cached_property needs the instance's __dict__
class Entry:
    """What the directory says of one operator.

    Attributes:
        records: the signed records that the present sections come from, oldest first; empty for unsigned directories.
        marks: the sections that are not what their last records say.
    """

    name: Operator
    groups: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    services: tuple[Service, ...] = ()
    certificates: tuple[PinnedCertificate, ...] = ()
    settings: tuple[ServiceSettings, ...] = ()
    preferences: tuple[ServiceSettings, ...] = ()
    records: tuple[SignedRecord, ...] = field(default=(), repr=False)
    display_name: str = ""
    marks: tuple[Mark, ...] = ()

    def with_record(self, record: ChangeRecord, signed: SignedRecord | None = None) -> "Entry":
        """The entry after ``record`` has replaced its section."""
        kept = tuple(old for old in self.records if old.record.section != record.section)
        section: dict[str, Any] = {record.section: typed(record.section, record.data)}
        return replace(
            self, records=(*kept, signed) if signed else kept, marks=self._marks_but(record.section), **section
        )

    def with_mark(self, mark: Mark) -> "Entry":
        """The entry after a record that can't be used: without the section, or with the one that it had."""
        section: dict[str, Any] = {}
        if mark.state == "emptied":
            kept = tuple(old for old in self.records if old.record.section != mark.section)
            section = {mark.section: (), "records": kept}
        return replace(self, marks=(*self._marks_but(mark.section), mark), **section)

    def _marks_but(self, section: str) -> tuple[Mark, ...]:
        return tuple(mark for mark in self.marks if mark.section != section)

    def to_json(self) -> Constant:
        """The entry as ``getEntries`` shows it, records included. Made once: not to be changed."""
        return self._json

    @cached_property
    def _json(self) -> Constant:
        marked = {"marks": [mark.to_json() for mark in self.marks]} if self.marks else {}
        return Constant(
            {
                "name": self.name,
                "groups": list(self.groups),
                "channels": [channel.to_json() for channel in self.channels],
                "services": [service.to_json() for service in self.services],
                "certificates": [certificate.to_json() for certificate in self.certificates],
                "settings": [item.to_json() for item in self.settings],
                "preferences": [item.to_json() for item in self.preferences] or None,
                "records": [record.to_json() for record in self.records],
                "properties": {"displayName": self.display_name},
                **marked,
            }
        )

    def to_message(self) -> Constant:
        """The entry as it is sent along with calls and their answers. Not to be changed.

        As :meth:`to_json`, without free-form values that are nested too deep for that, and without the records that
        hold them; numbers as any JSON library writes them.
        """
        return self._message

    @cached_property
    def _message(self) -> Constant:
        changed: Object = {}
        for section in SECTIONS:
            data = self._json[section] or []
            sent = sendable_section(section, data)
            if sent is not data:
                changed[section] = sent
        if not changed:
            return self._json
        return Constant(self._json | changed | {"records": [r.to_json() for r in self.records if _travels(r)]})

    @cached_property
    def as_client(self) -> Constant:
        """What receivers of the operator's requests put into them: ``_client`` (section 2). Not to be changed.

        A proxy hands it on as ``client``. Peers in use are upset by ``preferences`` and by a ``grpc_server`` without an
        address (section 9), so neither is in it.
        """
        channels = [c.to_json() for c in self.channels if c.type != GRPC_SERVER or grpc_server_of(c).address]
        upsetting = bool(self.preferences) or len(channels) < len(self.channels)
        entry = self._message
        if upsetting:
            entry = Constant(entry | {"channels": sendable_section("channels", channels), "preferences": None})
        return Constant({"name": self.name, "entry": entry})

    @cached_property
    def grpc_server(self) -> GrpcServerInfo | None:
        """The first ``grpc_server`` channel."""
        return next((grpc_server_of(channel) for channel in self.channels if channel.type == GRPC_SERVER), None)

    def proxies_for(self, asking: str) -> tuple[Operator, ...]:
        """The operators through whose proxies ``asking`` reaches this one, the first one first; none where it is
        dialled, or not at all (PROTOCOL.md section 10)."""
        server = self.grpc_server
        if server is None or not server.proxy:
            return ()
        mine = (item.settings for item in self.settings if item.service == PROXIES and item.operator in (asking, ""))
        others = (Operator(name) for name in alternatives_in(next(mine, {})))
        return tuple(dict.fromkeys((server.proxy, *(name for name in others if name != self.name))))

    @cached_property
    def proxies(self) -> frozenset[Operator]:
        """All operators that may bring tunnels to this one, whoever asks them."""
        askers = {"", *(item.operator for item in self.settings if item.service == PROXIES)}
        return frozenset(proxy for asking in askers for proxy in self.proxies_for(asking))

    def has_channel(self, kind: str) -> bool:
        """Whether a channel of this type is listed."""
        return kind in [channel.type for channel in self.channels]  # any() takes twice as long

    @cached_property
    def pins(self) -> frozenset[Fingerprint]:
        """Fingerprints of the TLS certificates that the operator may show."""
        return frozenset(c.fingerprint for c in self.certificates if c.key_usage == "encryption")

    @cached_property
    def signing_pin(self) -> Fingerprint | None:
        """Fingerprint of the certificate that the operator signs with: the last one listed."""
        return next((c.fingerprint for c in reversed(self.certificates) if c.key_usage == "signing"), None)

    @cached_property
    def callers(self) -> Mapping[str, frozenset[str]]:
        """For each method, the groups that may call it; of a name offered twice, the first service's."""
        found: dict[str, frozenset[str]] = {}
        for service in self.services:
            shared = _groups_that_call(service.permissions)
            for method in service.methods:
                found.setdefault(method.name, shared | _groups_that_call(method.permissions))
        return MappingProxyType(found)

    @cached_property
    def named_groups(self) -> frozenset[str]:
        """All groups that the services and methods name, shadowed ones included (section 4, peers)."""
        permissions = [p for s in self.services for p in s.permissions]
        permissions += [p for s in self.services for m in s.methods for p in m.permissions]
        return _groups_that_call(permissions)


def _travels(signed: SignedRecord) -> bool:
    """Whether a record can be sent along as it is."""
    return sendable_section(signed.record.section, signed.record.data) is signed.record.data


def _groups_that_call(permissions: Iterable[Permission]) -> frozenset[str]:
    return frozenset(permission.group for permission in permissions if "call" in permission.rights)


@dataclass(frozen=True)
class Directory:
    """A state of the directory.

    Attributes:
        entries: by operator, in the order of their first record.
        version: the hash of the last record it was made from; changes with every change. Empty: no record yet.
    """

    entries: Mapping[Operator, Entry]
    version: str = ""

    @classmethod
    def empty(cls) -> "Directory":
        return cls(MappingProxyType({}))

    @classmethod
    def from_records(cls, records: Iterable[ChangeRecord], version: str = "") -> "Directory":
        """From unsigned records, in their order (a ``json`` directory)."""
        return cls.empty().after(records, version)

    def after(self, records: Iterable[ChangeRecord], version: str = "") -> "Directory":
        """What this comes to when unsigned ``records`` have replaced their sections, in their order."""
        entries = dict(self.entries)
        for record in records:
            if not record.name:
                continue  # as in signed directories
            entries[record.name] = entries.get(record.name, Entry(record.name)).with_record(record)
        return Directory(MappingProxyType(entries), version)

    def replace(self, entries: Iterable[Entry], version: str) -> "Directory":
        """A directory in which ``entries`` stand in place of those of the same names, or behind the others."""
        changed = dict(self.entries)
        changed.update((entry.name, entry) for entry in entries)
        return Directory(MappingProxyType(changed), version)

    def entry(self, name: str) -> Entry | None:
        return self.entries.get(Operator(name))

    @property
    def marked(self) -> int:
        """How many sections are not what their last records say."""
        return sum(len(entry.marks) for entry in self.entries.values())

    def pins(self, name: str) -> frozenset[Fingerprint]:
        """The TLS certificates pinned for ``name``; none for an unknown operator."""
        entry = self.entry(name)
        return entry.pins if entry else frozenset()

    def stream_targets(self, name: str) -> list[Operator]:
        """To whom an EPS server of ``name`` with a ``grpc_client`` holds a stream (section 3)."""
        own = self.entry(name)
        if own is None:
            return []
        dialled, groups = is_direct(own.channels), own.named_groups
        return [
            other.name
            for other in self.entries.values()
            if not groups.isdisjoint(other.groups)
            and other is not own
            and is_direct(other.channels)
            and not (dialled and other.has_channel(GRPC_CLIENT))
        ]

    def service_settings(self, owner: str, service: str, asking: str) -> Object | None:
        """The settings that the directory gives ``owner``'s ``service``, as the server of ``asking`` is to see them."""
        entry = self.entry(owner)
        given = ((item.operator, item.service, item.settings) for item in (entry.settings if entry else ()))
        return first_settings(given, service, asking)

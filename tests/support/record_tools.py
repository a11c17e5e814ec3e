"""Signed records for tests: a small certificate authority, an administrator, and chains that she signs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from eps.core.entries import Entry
from eps.core.names import Object, Operator
from eps.core.record import SECTIONS, SignedRecord, parse_change_record, signed_payload
from eps.core.signature import Signer, TrustStore, load_signer
from eps.pki import Authority

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
"""The time in these tests."""

AUTHORITY = Authority.create(fast=True, now=NOW - timedelta(days=2))
STRANGER = Authority.create(fast=True, now=NOW - timedelta(days=2))


def trust(authority: Authority = AUTHORITY) -> TrustStore:
    return TrustStore.from_pem({"root": authority.root_pem}, {"intermediate": authority.intermediate_pem})


def signer(name: str = "admin", groups: Sequence[str] = ("sd-admin",), authority: Authority = AUTHORITY) -> Signer:
    issued = authority.issue_signing(name, groups)
    return load_signer(issued.cert_pem, issued.key_pem)


ADMIN = signer()


def group_record(name: str, *groups: str, at: datetime = NOW) -> Object:
    """An unsigned change record of section ``groups``."""
    return {"name": name, "section": "groups", "data": list(groups), "created_at": at.isoformat()}


def signing_pin_record(who: Signer, at: datetime = NOW) -> Object:
    """The record that pins the certificate with which ``who`` signs."""
    pin = {"fingerprint": str(who.subject.fingerprint), "key_usage": "signing"}
    return {"name": str(who.subject.name), "section": "certificates", "data": [pin], "created_at": at.isoformat()}


def sign_chain(records: Sequence[Object], parent: str = "", by: Signer = ADMIN) -> list[SignedRecord]:
    """Chain ``records`` behind ``parent`` and sign them."""
    chain: list[SignedRecord] = []
    for value in records:
        record = parse_change_record(value)
        record_hash = record.hash()
        signature = by.sign(signed_payload(record_hash, parent, record))  # type: ignore[arg-type]  # a plain str
        chain.append(SignedRecord(record_hash, parent, record, signature))  # type: ignore[arg-type]
        parent = record_hash
    return chain


def chain_of(
    count: int, *, parent: str = "", at: datetime = NOW, name: str = "op", by: Signer = ADMIN
) -> list[SignedRecord]:
    """``count`` records of ``count`` operators, a microsecond apart."""
    step = timedelta(microseconds=1)
    return sign_chain([group_record(f"{name}-{i}", "g", at=at + i * step) for i in range(count)], parent, by)


def without_canonical(records: Sequence[SignedRecord]) -> list[SignedRecord]:
    """``records`` as they come through a service directory that drops what it doesn't know."""
    return [replace(one, signature=replace(one.signature, canonical=None)) for one in records]


def entry_of(value: Object) -> Entry:
    """The entry that ``getEntries`` shows as ``value``, made as the directory makes it: record by record."""
    entry = Entry(Operator(value["name"]), display_name=(value.get("properties") or {}).get("displayName", ""))
    for section in SECTIONS:
        if value.get(section) is not None:
            record = {"name": entry.name, "section": section, "data": value[section], "created_at": NOW.isoformat()}
            entry = entry.with_record(parse_change_record(record))
    return entry


def as_json(records: Sequence[SignedRecord]) -> list[Any]:
    return [record.to_json() for record in records]


@dataclass
class Clock:
    """A settable time."""

    time: datetime = NOW

    def __call__(self) -> datetime:
        return self.time

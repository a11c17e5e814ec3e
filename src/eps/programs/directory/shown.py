"""Entries and the directory's history in words, and as JSON for scripts; no certificate's text in either. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eps.core.chain import Chain
from eps.core.changes import SectionChange, entry_changes, in_words
from eps.core.entries import Directory, Entry
from eps.core.names import Object, Operator
from eps.core.record import SECTIONS, SignedRecord
from eps.core.removal import is_removed
from eps.core.signature import TrustStore
from eps.core.wording import counted


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed a record, and when.

    Attributes:
        by: the operator's name.
        certificate: the fingerprint of the one that signed.
    """

    by: str
    certificate: str
    at: str
    record: str

    @classmethod
    def of(cls, signed: SignedRecord, trust: TrustStore) -> "Signed":
        subject = trust.leaf(signed.signature.c).subject
        assert subject is not None, "it was verified"
        return cls(str(subject), subject.fingerprint, signed.record.created_at, signed.hash)

    def __str__(self) -> str:
        return f"signed by {self.by}, {day(self.at)}, certificate {self.certificate[:12]}"

    def to_json(self) -> Object:
        return {"by": self.by, "certificate": self.certificate, "at": self.at, "record": self.record}


def day(instant: str) -> str:
    """A record's date for people: to the second."""
    return f"{instant[:10]} {instant[11:19]}{'' if instant.endswith('Z') else instant[-6:]}"


# Entries


def entry_lines(entry: Entry, trust: TrustStore) -> Iterator[str]:
    """An entry, section by section, and who signed each."""
    signed = _signed(entry, trust)
    yield f"{entry.name} (removed from the directory)" if is_removed(entry) else str(entry.name)
    for section in SECTIONS:
        lines = in_words(entry, section)
        if lines:
            yield f"  {section}: {signed[section]}" if section in signed else f"  {section}"
            yield from (f"    {line}" for line in lines)
    for mark in entry.marks:
        yield f"  {mark.section} was {mark.state}, since record {mark.record[:12]} can't be used: {mark.why}"


def entry_json(entry: Entry, trust: TrustStore) -> Object:
    """The entry without its records, and who signed its sections; ``eps directory propose`` takes it, changed."""
    bare = {key: value for key, value in entry.to_json().items() if key not in ("records", "properties")}
    return bare | {"signed": {section: one.to_json() for section, one in _signed(entry, trust).items()}}


def _signed(entry: Entry, trust: TrustStore) -> dict[str, Signed]:
    return {one.record.section: Signed.of(one, trust) for one in entry.records}


def overview(directory: Directory) -> Iterator[tuple[str, str]]:
    """A line for each operator: its name, and what there is to say of it in a few words."""
    for name, entry in directory.entries.items():
        groups = ", ".join(entry.groups) or "no group"
        methods = sum(len(service.methods) for service in entry.services)
        yield name, "removed" if is_removed(entry) else f"{groups}; {_reached(entry)}; {counted(methods, 'method')}"


def _reached(entry: Entry) -> str:
    server = entry.grpc_server
    if server is None or server.internal:
        return "can't be dialled"
    return f"behind {', else '.join(entry.proxies_for(''))}" if server.proxy else f"at {server.address}"


# History


@dataclass(frozen=True, slots=True)
class Step:
    """A record of the chain: what it changed, who signed it."""

    record: SignedRecord
    signed: Signed
    change: SectionChange | None

    def lines(self) -> Iterator[str]:
        what = f"{self.record.record.name or 'nobody'}: {self.record.record.section}"
        yield f"{day(self.signed.at)}  {what}{', the root' if self.record.is_root else ''}"
        by = f"signed by {self.signed.by} with certificate {self.signed.certificate[:12]}"
        yield f"    {by}, record {self.signed.record[:12]}"
        yield from (f"    {line}" for line in (self.change.lines if self.change else ("nothing changed",)))

    def to_json(self) -> Object:
        record = self.record.record
        return {
            "operator": record.name,
            "section": record.section,
            "signed": self.signed.to_json(),
            "root": self.record.is_root,
            "before": self.change.before if self.change else record.data,
            "after": record.data,
        }


def history(chain: Chain, name: str = "") -> list[Step]:
    """The records of ``chain``, or only of one operator, the newest first."""
    entries: dict[Operator, Entry] = {}
    steps = []
    for signed in chain.records:
        record = signed.record
        before = entries.get(record.name)
        after = entries[record.name] = (before or Entry(record.name)).with_record(record)
        if name in ("", record.name):
            change = next(entry_changes(record.name, before, after), None)
            steps.append(Step(signed, Signed.of(signed, chain.trust), change))
    return steps[::-1]


def history_lines(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        yield from step.lines()

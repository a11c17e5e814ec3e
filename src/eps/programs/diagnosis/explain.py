"""``eps explain`` and ``eps methods``: why a call is allowed, or not, and what we may call. Pure: a directory in, what
follows from it out; each server decides so with its own copy (PROTOCOL.md section 4)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cryptography import x509

from eps.core.certificate import subject_of
from eps.core.descriptions import told_by_operator
from eps.core.entries import Directory, Entry
from eps.core.likeness import meant
from eps.core.names import Object, Operator
from eps.core.pem import UNREADABLE
from eps.core.permission import EVERYONE, Denied, callable_by, may_call
from eps.core.record import SignedRecord
from eps.core.sections import Method, Service
from eps.core.told import quoted
from eps.core.ways import Kind, Way, way_between
from eps.programs.diagnosis.known import Known
from eps.programs.diagnosis.paper import Paper

BUILT_IN = frozenset({"_ping", "_directory", "_connectionRequest"})
"""What a server answers itself: these need a right like any other method, and no application behind it."""

LABELS = 12
"""Columns of the words on the left."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission that counts here.

    Attributes:
        group: ``*``: everybody.
        place: ``service`` or ``method``: what it stands at.
    """

    group: str
    place: str

    def __str__(self) -> str:
        who = "everybody (*)" if self.group == EVERYONE else f"the group {self.group}"
        return f"{who} may call {'the whole service' if self.place == 'service' else 'this method'}"


@dataclass(frozen=True, slots=True)
class Source:
    """A change record that something follows from.

    Attributes:
        operator, section: what it says.
        signer: by the certificate that signed it; "" for unsigned directories.
        fingerprint: of that certificate.
    """

    operator: str
    section: str
    hash: str = ""
    date: str = ""
    signer: str = ""
    fingerprint: str = ""

    def __str__(self) -> str:
        what = f"{self.section} of {self.operator}"
        if not self.hash:
            return f"{what}: no signed record"
        date = re.sub(r"\.[0-9]+", "", self.date)
        by = f"{self.signer} (certificate {self.fingerprint[:12]}…)"
        return f"{what}: signed by {by} on {date}, record {self.hash[:12]}…"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call is allowed, or not.

    Attributes:
        why: one sentence.
        service: of the callee, that has the method; "" if none has.
        grants: that apply to the caller.
        sources: the records behind it.
        way: how it would go.
        meant: the method that the caller may call, and of which this one is most likely a misspelling; "" if none.
    """

    caller: str
    callee: str
    method: str
    allowed: bool
    why: str
    service: str
    grants: tuple[Grant, ...]
    sources: tuple[Source, ...]
    way: Way
    meant: str = ""

    def to_json(self) -> Object:
        """For ``--json``."""
        return asdict(self)


def explain(known: Known, caller: str, callee: str, method: str) -> Explanation:
    """Why ``caller`` may call ``method`` of ``callee``, or may not.

    Raises:
        UnknownOperator: one of them is not in the directory.
    """
    sender, recipient = known.entry(caller), known.entry(callee)
    way = way_between(known.directory, sender.name, recipient.name)
    found = _first_with(recipient, method)
    service, grants = (found[0].name, tuple(_grants(*found, sender))) if found else ("", ())
    verdict = may_call(sender, recipient, method)
    if way.kind is Kind.OWN:
        allowed, why = True, f"{callee} is asked by its own applications, which need no right in the directory"
    elif isinstance(verdict, Denied):
        allowed, why = False, verdict.reason
    else:
        allowed, why = True, "; ".join(map(str, grants))
    sources = (_source(recipient, "services"), _source(sender, "groups"), _source(recipient, "channels"))
    similar = "" if found or allowed else meant(method, callable_by(sender, recipient))
    return Explanation(caller, callee, method, allowed, why, service, grants, sources, way, similar)


def _first_with(entry: Entry, method: str) -> tuple[Service, Method] | None:
    """As ``Entry.callers`` has it: of a name offered twice, the first service's counts."""
    every = ((service, one) for service in entry.services for one in service.methods)
    return next(((service, one) for service, one in every if one.name == method), None)


def _grants(service: Service, method: Method, caller: Entry) -> Iterator[Grant]:
    for place, permissions in (("service", service.permissions), ("method", method.permissions)):
        for permission in permissions:
            if "call" in permission.rights and permission.group in (*caller.groups, EVERYONE):
                yield Grant(permission.group, place)


def _source(entry: Entry, section: str) -> Source:
    signed = next((one for one in entry.records if one.record.section == section), None)
    if signed is None:
        return Source(entry.name, section)
    signer, fingerprint = signer_of(signed)
    return Source(entry.name, section, signed.hash, signed.record.created_at, signer, fingerprint)


def signer_of(signed: SignedRecord) -> tuple[str, str]:
    """Who signed a record that was verified: name, and the certificate's fingerprint."""
    try:
        subject = subject_of(x509.load_pem_x509_certificate(signed.signature.c.encode()))
    except UNREADABLE:
        return "a certificate that can't be read", ""
    return str(subject), subject.fingerprint


def way_text(way: Way, caller: str, callee: str) -> str:
    """The way in words."""
    match way.kind:
        case Kind.OWN:
            return f"{callee} is asked by its own applications: nothing leaves its server"
        case Kind.DIRECT:
            return f"{caller} → {callee}, direct, at {way.address}"
        case Kind.PROXY:
            but = f" (but {way.why})" if way.why else ""
            others = "".join(f", else {other.proxy}" for other in way.others)
            return f"{caller} → {callee}, behind the proxy {way.proxy}{but}{others}"
        case Kind.STREAM:
            return f"{caller} → {callee}, down the stream that {callee} holds"
        case Kind.NONE:
            return f"none: {way.why}"


def explained(found: Explanation, known: Known, paper: Paper) -> str:
    """For people."""
    what = f"{found.caller} may{'' if found.allowed else ' not'} call {found.method} of {found.callee}"
    mark = paper.styled("✓", "green", "bold") if found.allowed else paper.styled("✗", "red", "bold")
    internal = " (every server answers it itself)" if found.method in BUILT_IN else ""
    rows = [("why", found.why)]
    rows += [("service", f"{found.service}{internal}")] if found.service else []
    rows += [("records", str(source)) for source in found.sources]
    rows += [("way", way_text(found.way, found.caller, found.callee)), ("directory", known.source)]
    if not found.allowed:
        advice = f"{found.callee}'s administrator grants rights in the section «services» of its directory entry"
        rows += [("what to do", f"did you mean {found.meant}?" if found.meant else advice)]
    return "\n".join([paper.folded(what, 2, f"{mark} ", ("bold",)), *_rows(rows, paper)])


def _rows(rows: Sequence[tuple[str, str]], paper: Paper) -> Iterator[str]:
    before = ""
    for label, text in rows:
        yield paper.row("  " + ("" if label == before else label), text, LABELS + 2)
        before = label


# What we may call


@dataclass(frozen=True, slots=True)
class Offer:
    """A method that a caller may call.

    Attributes:
        parameters: their names; None where the directory says nothing of them.
        grants: by which permissions.
        description: what its operator says of it.
        params, result: JSON Schemas; None where nothing is known.
        described_by: ``application``, ``directory`` or ``server``.
    """

    operator: str
    method: str
    service: str
    parameters: tuple[str, ...] | None
    grants: tuple[Grant, ...]
    description: str = ""
    params: Object | None = None
    result: Object | None = None
    described_by: str = "directory"

    def to_json(self) -> Object:
        """For ``--json``."""
        return asdict(self)


def offers(directory: Directory, caller: Entry, operator: str = "") -> list[Offer]:
    """What ``caller`` may call, of one operator or of all but itself, in the directory's order."""
    return [found for entry in directory.entries.values() if _wanted(entry, caller.name, operator)
            for found in _of_one(entry, caller)]  # fmt: skip


def with_descriptions(found: Sequence[Offer], told: Object) -> list[Offer]:
    """With what our server has learnt of the operator itself.

    Args:
        told: its answer to ``_methods`` (``core.descriptions``).
    """
    described = {one["name"]: one for one in told_by_operator(told, "") or ()}
    return [_described(one, described.get(one.method)) for one in found]


def _described(offer: Offer, told: Object | None) -> Offer:
    if told is None:
        return offer
    params = told["params"]
    properties = params.get("properties") if params is not None else None
    return replace(
        offer,
        description=told["description"],
        params=params,
        result=told["result"],
        described_by=str(told["described_by"]),
        parameters=tuple(properties) if isinstance(properties, dict) else offer.parameters,
    )


def _wanted(entry: Entry, own: Operator, operator: str) -> bool:
    return entry.name == operator if operator else entry.name != own


def _of_one(entry: Entry, caller: Entry) -> Iterator[Offer]:
    seen: set[str] = set()
    for service in entry.services:
        for method in service.methods:
            may = entry is caller or not isinstance(may_call(caller, entry, method.name), Denied)
            if may and method.name not in seen:
                grants = tuple(_grants(service, method, caller))
                yield Offer(entry.name, method.name, service.name, _parameters(method.parameters), grants)
            seen.add(method.name)


def _parameters(given: Any) -> tuple[str, ...] | None:
    if not isinstance(given, list):
        return None
    return tuple(str(one["name"]) for one in given if isinstance(one, dict) and "name" in one)


def _params(offer: Offer) -> Iterator[str]:
    """Each with its type, and a question mark where it may be left out; in another operator's words."""
    params = offer.params or {}
    required, properties = params.get("required"), params.get("properties")
    for name in offer.parameters or ():
        schema = properties.get(name) if isinstance(properties, dict) else None
        kind = schema.get("type") if isinstance(schema, dict) else None
        optional = "?" if isinstance(required, list) and name not in required else ""
        yield quoted(f"{name}{optional}: {kind}" if isinstance(kind, str) else f"{name}{optional}")


def listed(found: Sequence[Offer], paper: Paper) -> str:
    """For people: one line each, as ``eps call`` takes it, and under it who grants it."""
    lines = []
    for one in found:
        params = "" if one.parameters is None else f" ({', '.join(_params(one)) or 'no params'})"
        head = paper.styled(f"{one.operator}.{one.method}", "bold")
        groups = dict.fromkeys("everybody" if grant.group == EVERYONE else grant.group for grant in one.grants)
        by = f"granted to {', '.join(groups)}" if groups else "ours: our applications need no right"
        lines.append(head + params)
        if one.description:
            lines.append(paper.folded(quoted(one.description.partition("\n\n")[0]), 4))
        lines.append(paper.folded(f"service {one.service}; {by}", 4, styles=("dim",)))
    return "\n".join(lines)

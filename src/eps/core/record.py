"""Change records: what changes a section of an operator's directory entry (PROTOCOL.md section 4).

Records come from strangers as JSON values. They are read into normalised values, whose form alone decides the hash:
unknown keys of typed data are dropped, absent optional ones become empty, free-form values stay as they are.
Reading what was written gives the same value again. Whether a record may be believed is for ``core.chain`` to say.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from eps.core.free_form import Unfit, copy_value, sendable
from eps.core.instant import Instant, parse_instant
from eps.core.names import Object, Operator, RecordHash
from eps.core.structure import structured_hash as structured_hash
from eps.errors import BadParams

MAX_CERTIFICATE_CHARS = 65536
"""A signer's leaf has 1 to 2 KB; this leaves room for any key and keeps a hostile one cheap."""

_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{10,100}")


# Values


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """What a section of an operator's entry is to be from now on.

    Attributes:
        section: one of :data:`SECTIONS`.
        data: the section's new content, normalised; belongs to the record and is not to be changed.
        created_at: normalised RFC 3339, as it is hashed.
    """

    name: Operator
    section: str
    data: Any
    created_at: str

    @property
    def instant(self) -> Instant:
        """``created_at`` as a point in time."""
        return parse_instant(self.created_at)

    def hash(self) -> RecordHash:
        """What a signed record's ``hash`` must be."""
        return RecordHash(structured_hash(self.to_json()).hex())

    def to_json(self) -> Object:
        """The record as it is sent and stored."""
        return {"name": self.name, "section": self.section, "data": self.data, "created_at": self.created_at}


@dataclass(frozen=True, slots=True)
class Ecdsa:
    """The two numbers of an ECDSA signature, in decimal."""

    r: str
    s: str

    def to_json(self) -> Object:
        return {"r": self.r, "s": self.s}


@dataclass(frozen=True, slots=True)
class Signature:
    """An ECDSA signature: ``r`` and ``s`` in decimal, ``c`` the PEM of the signer's leaf certificate.

    Attributes:
        canonical: with the same key, over the canonical JSON of what is signed (PROTOCOL.md section 10); None: there
            is none, as from servers in use.
    """

    r: str
    s: str
    c: str
    canonical: Ecdsa | None = None

    def to_json(self) -> Object:
        signature: Object = {"r": self.r, "s": self.s, "c": self.c}
        return signature if self.canonical is None else signature | {"canonical": self.canonical.to_json()}


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A link of the chain. ``parent_hash`` is empty for a root."""

    hash: RecordHash
    parent_hash: RecordHash
    record: ChangeRecord
    signature: Signature

    @property
    def is_root(self) -> bool:
        return not self.parent_hash

    def to_json(self) -> Object:
        """The record as ``getRecords`` shows it and a datastore keeps it."""
        return {
            "parent_hash": self.parent_hash,
            "hash": self.hash,
            "signature": self.signature.to_json(),
            "record": self.record.to_json(),
        }


NO_PARENT = RecordHash("")
"""The ``parent_hash`` of a root."""


def signed_payload(record_hash: RecordHash, parent_hash: RecordHash, record: ChangeRecord) -> Object:
    """What a record's signatures cover: its place in the chain as well as its content."""
    return {"hash": record_hash, "parent_hash": parent_hash, "record": record.to_json()}


# Reading


def parse_change_record(value: object, place: str = "") -> ChangeRecord:
    """The normalised record that the JSON value ``value`` spells.

    Args:
        place: where the value stands in the request, for the message; ``records[3]``.

    Raises:
        BadParams: naming the place and what is wrong there.
    """
    fields = _object(value, place)
    name = _text(fields.get("name"), _within(place, "name"))
    section = _text(fields.get("section"), _within(place, "section"))
    if section not in SECTIONS:
        _refuse(_within(place, "section"), f"must be one of {', '.join(SECTIONS)}, not {section[:40]!r}")
    data = parse_section(section, fields.get("data"), _within(place, "data"))
    created_at = _text(fields.get("created_at"), _within(place, "created_at"))
    try:
        instant = parse_instant(created_at)
    except ValueError as error:
        _refuse(_within(place, "created_at"), f"{error}: {created_at[:40]!r}")
    return ChangeRecord(Operator(name), section, data, instant.text)


def parse_section(section: str, value: object, place: str) -> list[Any]:
    """The normalised content of a section, one of :data:`SECTIONS`; also what entries hold under that name.

    Raises:
        BadParams: naming the place and what is wrong there.
    """
    return _list(value, place, _READERS[section])


def parse_signed_record(value: object, place: str = "") -> SignedRecord:
    """The signed record that the JSON value ``value`` spells; nothing about it is verified yet.

    Raises:
        BadParams: naming the place and what is wrong there.
    """
    fields = _object(value, place)
    parent = fields.get("parent_hash")
    return SignedRecord(
        _record_hash(fields.get("hash"), _within(place, "hash")),
        NO_PARENT if parent is None or parent == "" else _record_hash(parent, _within(place, "parent_hash")),
        parse_change_record(fields.get("record"), _within(place, "record")),
        parse_signature(fields.get("signature"), _within(place, "signature")),
    )


def parse_signature(value: object, place: str = "signature") -> Signature:
    """The signature that the JSON value ``value`` spells.

    Raises:
        BadParams: naming the place and what is wrong there.
    """
    fields = _object(value, place)
    first = _ecdsa(fields, place)
    certificate = _text(fields.get("c"), _within(place, "c"))
    if len(certificate) > MAX_CERTIFICATE_CHARS:
        _refuse(_within(place, "c"), f"is longer than {MAX_CERTIFICATE_CHARS} characters")
    canonical, inside = fields.get("canonical"), _within(place, "canonical")
    second = None if canonical is None else _ecdsa(_object(canonical, inside), inside)
    # Thousands of records have few signers: one string for each.
    return Signature(first.r, first.s, sys.intern(certificate), second)


def _ecdsa(fields: Object, place: str) -> Ecdsa:
    r, s = (_decimal(fields.get(key), _within(place, key)) for key in ("r", "s"))
    return Ecdsa(r, s)


def _record_hash(value: object, place: str) -> RecordHash:
    text = _text(value, place)
    if not _HASH.fullmatch(text):
        _refuse(place, "must be 64 lower-case hex digits")
    return RecordHash(text)


def _decimal(value: object, place: str) -> str:
    text = _text(value, place)
    if not _NUMBER.fullmatch(text):
        _refuse(place, "must be a string of 10 to 100 decimal digits")
    return text


# Sections: each reader gives the normalised form of one element of the section's list


def _channel(value: object, place: str) -> Object:
    fields = _object(value, place)
    settings = fields.get("settings")
    channel = {} if settings is None else {"settings": _free_object(settings, _within(place, "settings"))}
    return channel | {"type": _text(fields.get("type"), _within(place, "type"))}


def _certificate(value: object, place: str) -> Object:
    fields = _object(value, place)
    return {key: _text(fields.get(key), _within(place, key)) for key in ("fingerprint", "key_usage")}


def _service(value: object, place: str) -> Object:
    fields = _object(value, place)
    return {
        "methods": _optional_list(fields.get("methods"), _within(place, "methods"), _method),
        "name": _text(fields.get("name"), _within(place, "name")),
        "permissions": _optional_list(fields.get("permissions"), _within(place, "permissions"), _permission),
    }


def _method(value: object, place: str) -> Object:
    fields = _object(value, place)
    method: Object = {"name": _text(fields.get("name"), _within(place, "name"))}
    if fields.get("parameters") is not None:
        method["parameters"] = _free(fields["parameters"], _within(place, "parameters"))
    method["permissions"] = _optional_list(fields.get("permissions"), _within(place, "permissions"), _permission)
    return method


def _permission(value: object, place: str) -> Object:
    fields = _object(value, place)
    return {
        "group": _text(fields.get("group"), _within(place, "group")),
        "rights": _optional_list(fields.get("rights"), _within(place, "rights"), _right),
    }


def _right(value: object, place: str) -> str:
    if value != "call":
        _refuse(place, f"the only right is 'call', not {str(value)[:40]!r}")
    return "call"


def _setting(value: object, place: str) -> Object:
    fields = _object(value, place)
    item: Object = {
        key: _text(fields.get(key) or "", _within(place, key)) for key in ("environment", "operator", "service")
    }
    return item | {"settings": _free_object(fields.get("settings"), _within(place, "settings"))}


def _group(value: object, place: str) -> str:
    return _text(value, place)


_READERS: dict[str, Callable[[object, str], Any]] = {
    "channels": _channel,
    "certificates": _certificate,
    "services": _service,
    "preferences": _setting,
    "settings": _setting,
    "groups": _group,
}

SECTIONS = tuple(_READERS)
"""The sections that a record can replace."""


def sendable_section(section: str, data: list[Any]) -> list[Any]:
    """A section's content as it is sent along with calls: :func:`eps.core.free_form.sendable` values only.

    Returns:
        ``data`` itself, if it can be sent as it is.
    """
    if section in ("groups", "certificates"):
        return data
    sent = [_sendable_service(item) if section == "services" else _sendable_settings(section, item) for item in data]
    return data if all(new is old for new, old in zip(sent, data, strict=True)) else sent


def _sendable_settings(section: str, item: Object) -> Object:
    settings = item.get("settings")
    sent = sendable(settings)
    if sent is None and section != "channels":
        sent = {}  # mandatory there
    return item if sent is settings else {**item, "settings": sent}


def _sendable_service(item: Object) -> Object:
    methods = [_sendable_method(method) for method in item["methods"]]
    same = all(new is old for new, old in zip(methods, item["methods"], strict=True))
    return item if same else {**item, "methods": methods}


def _sendable_method(method: Object) -> Object:
    parameters = method.get("parameters")
    sent = sendable(parameters)
    return method if sent is parameters else {**method, "parameters": sent}


# Basic forms


def _within(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _refuse(place: str, what: str) -> NoReturn:
    raise BadParams(f"{place or 'record'}: {what}", hint="see PROTOCOL.md section 4 for the form of change records")


def _object(value: object, place: str) -> Object:
    if not isinstance(value, dict):
        _refuse(place, f"must be an object, not {_kind(value)}")
    return value


def _list(value: object, place: str, reader: Callable[[object, str], Any]) -> list[Any]:
    if not isinstance(value, list):
        _refuse(place, f"must be a list, not {_kind(value)}")
    return [reader(element, f"{place}[{index}]") for index, element in enumerate(value)]


def _optional_list(value: object, place: str, reader: Callable[[object, str], Any]) -> list[Any]:
    return [] if value is None else _list(value, place, reader)


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        _refuse(place, f"must be a string, not {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(place, "holds half of a surrogate pair")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null or absent"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def _free_object(value: object, place: str) -> Object:
    copied: Object = _free(_object(value, place), place)
    return copied


def _free(value: object, place: str) -> Any:
    try:
        return copy_value(value)
    except Unfit as unfit:
        _refuse(place + unfit.where, unfit.what)

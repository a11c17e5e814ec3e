"""Change slips: what an operator proposes, as a file that it sends to an administrator of the directory. Pure.

    {"data": {"slip": 1, "operator", "why", "proposed_at", "changes": [{"name", "section", "data", "replaces"}]},
     "code": "1a2b-…", "signature": {…}}

``signature`` is there where the operator has a key to sign with, and as ``eps sd sign`` makes it. ``code`` is of the
content: whoever alters a slip alters it, too, so operator and administrator compare it on another way, by telephone.
``replaces`` is the hash of the record that the section comes from: if that is another one by now, the slip is stale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from eps.core.canonical import canonical_json
from eps.core.certificate import Subject
from eps.core.chain import ADMIN_GROUP
from eps.core.changes import changes
from eps.core.entries import Directory
from eps.core.exact import is_operator
from eps.core.instant import instant_of
from eps.core.names import Object, Operator, RecordHash
from eps.core.record import NO_PARENT, parse_signature
from eps.core.signature import Signer, TrustStore, sign_object, verify
from eps.directory.json_files import FileRecord
from eps.errors import BadParams, RecordError

VERSION = 1

CODE_DIGITS = 20
"""Of the content's SHA-256: 80 bits, which nobody finds a second content for, in five groups to be read aloud."""

MAX_WHY_CHARS = 500
"""A few sentences."""


@dataclass(frozen=True, slots=True)
class Slip:
    """A slip as it was read; nothing of it is to be believed before :func:`judge`.

    Attributes:
        content: what the code and the signature cover.
        changes: as change records without a date, as JSON.
        replaces: for each of them, the record that the section came from when it was proposed; "": none.
    """

    content: Object
    code: str
    signature: object
    operator: Operator
    why: str
    proposed_at: str
    changes: tuple[Object, ...]
    replaces: tuple[RecordHash, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of who proposed a slip.

    Attributes:
        wrong: why it must not be signed; empty if nothing speaks against it.
        doubts: what the administrator has to find out.
        by: who signed it, in words.
    """

    wrong: tuple[str, ...]
    doubts: tuple[str, ...]
    by: str


def code_of(content: Object) -> str:
    """The code that operator and administrator compare."""
    digits = sha256(canonical_json(content)).hexdigest()[:CODE_DIGITS]
    return "-".join(digits[i : i + 4] for i in range(0, CODE_DIGITS, 4))


def source_of(directory: Directory, name: str, section: str) -> RecordHash:
    """The record that a section comes from; "" if it is empty or doesn't exist."""
    entry = directory.entry(name)
    records = entry.records if entry else ()
    return next((one.hash for one in records if one.record.section == section), NO_PARENT)


def make(
    operator: str, why: str, found: Sequence[FileRecord], present: Directory, now: datetime, signer: Signer | None
) -> Object:
    """The slip, as JSON, that proposes ``found``.

    Args:
        signer: the operator's key; None: it has none.

    Raises:
        BadParams: the changes could be shown as a change record that it has signed.
    """
    proposed = [
        {
            "name": item.record.name,
            "section": item.record.section,
            "data": item.record.data,
            "replaces": source_of(present, item.record.name, item.record.section),
        }
        for item in found
    ]
    content: Object = {
        "slip": VERSION,
        "operator": operator,
        "why": why,
        "proposed_at": instant_of(now).text,
        "changes": proposed,
    }
    made = {"data": content, "code": code_of(content)}
    return made | {"signature": sign_object(content, signer)["signature"]} if signer is not None else made


def is_slip(value: object) -> bool:
    """Whether a JSON value means to be one."""
    return isinstance(value, dict) and isinstance(value.get("data"), dict) and "slip" in value["data"]


def parse(value: Any) -> Slip:
    """The slip that a JSON value spells.

    Raises:
        BadParams: it is none, or one of a newer version.
    """
    content = value["data"]
    if content["slip"] != VERSION:
        hint = "use the version of eps that the operator has, or a newer one"
        raise BadParams("is a change slip of a version that this program doesn't know", hint=hint)
    texts = [content.get(key) for key in ("operator", "why", "proposed_at")]
    proposed = content.get("changes")
    named = isinstance(texts[0], str) and is_operator(texts[0])  # it stands in what terminals show
    if not named or not all(isinstance(text, str) for text in texts) or not isinstance(proposed, list) or not proposed:
        raise BadParams("is no whole change slip", hint="make it with eps directory propose")
    if not all(isinstance(one, dict) and isinstance(one.get("replaces"), str) for one in proposed):
        raise BadParams("holds changes that don't say what they replace", hint="make it with eps directory propose")
    operator, why, proposed_at = map(str, texts)
    bare = tuple({key: inner for key, inner in one.items() if key != "replaces"} for one in proposed)
    replaces = tuple(RecordHash(one["replaces"]) for one in proposed)
    code = value.get("code")
    return Slip(
        content,
        code if isinstance(code, str) else "",
        value.get("signature"),
        Operator(operator),
        why[:MAX_WHY_CHARS],
        proposed_at[:40],
        bare,
        replaces,
    )


def judge(slip: Slip, found: Sequence[FileRecord], present: Directory, trust: TrustStore, now: datetime) -> Verdict:
    """Whether a slip is whole, whose it is, and whether the directory still is what it was proposed for.

    Args:
        found: its changes as records.
    """
    wrong, doubts, by, administrator = [], [], "nobody", False
    if not changes(present, present.after(item.record for item in found)):
        wrong.append("the directory says all of it already: it was submitted, or nothing is left of it to do")
    if slip.code != code_of(slip.content):
        wrong.append("it was altered after it was proposed: its code is not that of its content")
    if slip.signature is None:
        doubts.append(f"nobody has signed the slip: ask {slip.operator} by telephone whether its code is {slip.code}")
    else:
        try:
            subject = verify(slip.content, parse_signature(slip.signature), now, trust)
        except (BadParams, RecordError) as error:
            wrong.append(f"its signature does not count: {error.message}")
            by = "nobody whose signature counts"
        else:
            administrator = ADMIN_GROUP in subject.groups
            by = f"{subject}, with certificate {subject.fingerprint[:12]}"
            wrong += _about_signer(subject, slip.operator, present)
            doubts += _unpinned(subject, present)
    others = sorted({item.record.name for item in found} - {slip.operator})
    if others and not administrator:
        wrong.append(f"{slip.operator} proposes to change {', '.join(others)}: only an administrator may for others")
    return Verdict((*wrong, *(() if wrong else _stale(slip, found, present))), tuple(doubts), by)


def _about_signer(subject: Subject, operator: Operator, present: Directory) -> list[str]:
    entry = present.entry(subject.name)
    if subject.name != operator:
        return [f"it is said to be of {operator}, but was signed by {subject}"]
    if entry is not None and entry.signing_pin not in (None, subject.fingerprint):
        return [f"it was signed with certificate {subject.fingerprint[:12]}, which the directory doesn't pin"]
    return []


def _unpinned(subject: Subject, present: Directory) -> list[str]:
    entry = present.entry(subject.name)
    if entry is not None and entry.signing_pin is not None:
        return []
    return [
        f"the directory pins no certificate that {subject} signs with: compare the slip's code with {subject}, or the "
        f"certificate's fingerprint {subject.fingerprint}"
    ]


def _stale(slip: Slip, found: Sequence[FileRecord], present: Directory) -> list[str]:
    moved = [
        f"{item.record.name}: {item.record.section}"
        for item, was in zip(found, slip.replaces, strict=True)
        if source_of(present, item.record.name, item.record.section) != was
    ]
    return [f"the directory has changed since it was proposed ({', '.join(moved)})"] if moved else []

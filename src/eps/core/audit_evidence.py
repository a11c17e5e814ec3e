"""What one side of a call shows the other of its audit log: one line, its key, and the way to a signed head. Pure.

    {"line", "previous", "entry", "key", "then": [digest, …], "head": {"count", "hash", "at", "signature"}, "certified"}

The digests are those of the entries behind the line, up to the head: they lead there, and say nothing of other calls.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eps.core.audit import KEY_BYTES, START, Head, Line, following, key_mark, mac, read_entry
from eps.core.canonical import canonical_json
from eps.core.message import settled
from eps.core.names import Object
from eps.core.told import quoted
from eps.errors import BadParams

FORMAT = 1
"""Of what is shown."""

MAX_THEN = 10_000
"""Lines up to the next head: a second's."""

ANSWERS = ("result", "error")
"""What a call was answered with."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was shown.

    Attributes:
        line: a call's.
        key: the line's; it opens no other.
        head, signature: what covers it; None where no head does yet.
        certified: who signed for the key that signs heads; see ``audit_key``.
    """

    line: Line
    key: bytes
    head: Head
    signature: str
    certified: Object

    @property
    def call(self) -> Object:
        """What the line says."""
        call: Object = self.line.what
        return call

    def confirms(self, kind: str, covered: Object) -> bool:
        """Whether the line's HMAC of that kind, ``params``, ``result`` or ``error``, is of ``covered``."""
        told = self.call.get(kind)
        return isinstance(told, str) and hmac.compare_digest(
            told.encode(), mac(self.key, canonical_json(covered)).encode()
        )


def shown(line: Line, key: bytes, then: Sequence[bytes], head: tuple[Head, str], certified: Object) -> Object:
    """The evidence for one line, as JSON.

    Args:
        then: the digests of the entries between it and the head.
    """
    signed, signature = head
    return {
        "format": FORMAT,
        "previous": line.previous.hex(),
        "entry": line.entry.decode(),
        "key": key.hex(),
        "then": [digest.hex() for digest in then],
        "head": head_json(signed, signature),
        "certified": certified,
    }


def head_json(head: Head, signature: str) -> Object:
    """A signed head, as JSON."""
    return {"log": head.log, "count": head.count, "hash": head.hash, "at": head.at, "signature": signature}


def head_from(value: Any) -> tuple[Head, str]:
    """What :func:`head_json` made, and its signature.

    Raises:
        BadParams: it is none.
    """
    found = value if isinstance(value, Mapping) else {}
    count, words = found.get("count"), [found.get(name) for name in ("log", "hash", "at", "signature")]
    if type(count) is not int or not all(isinstance(word, str) for word in words):
        raise BadParams(
            "this is no signed head: it has no log, count, hash, at and signature", hint="eps audit head prints one"
        )
    log, hash_, at, signature = (str(word) for word in words)
    return Head(log, count, hash_, at), signature


def read_evidence(value: Any) -> Evidence:
    """The evidence in a JSON value; that the line leads to the head is checked here, whose signature it is is not.

    Raises:
        BadParams: it is none, or its line does not lead to its head.
    """
    found = value if isinstance(value, Mapping) else {}
    if found.get("format") != FORMAT:
        raise BadParams("this is no evidence of a call", hint="eps audit reveal prints some")
    entry = found.get("entry")
    previous, key = _bytes(found.get("previous"), len(START)), _bytes(found.get("key"), KEY_BYTES)
    line = read_entry(previous, entry.encode()) if isinstance(entry, str) else None
    if line is None or line.kind != "call" or not isinstance(line.what, dict):
        raise BadParams("the evidence's entry is no call's")
    head, signature = head_from(found.get("head"))
    then = found.get("then")
    if not isinstance(then, list) or len(then) > MAX_THEN:
        raise BadParams("the evidence has no list of the lines up to its head")
    reached = line.hash
    for digest in then:
        reached = following(reached, _bytes(digest, len(START)))
    if line.what.get("key") != key_mark(key):
        raise BadParams("this is not the line's key, so nothing can be said of the call", hint="ask for the right one")
    if reached.hex() != head.hash or line.number + len(then) != head.count or line.log != head.log:
        raise BadParams(
            "the line is not one of those that the signed head covers: it, or something behind it, was altered"
        )
    certified = found.get("certified")
    return Evidence(line, key, head, signature, dict(certified) if isinstance(certified, Mapping) else {})


def described(evidence: Evidence, operator: str) -> list[str]:
    """What a call's line says, for a terminal: whoever shows evidence has chosen its words."""
    call, line = evidence.call, evidence.line
    told = {key: quoted(str(value)) for key, value in call.items()}
    reason = f" ({told['reason']})" if call.get("reason") else ""
    covered = ", ".join(kind for kind in ("params", *ANSWERS) if kind in call)
    return [
        f"{operator}'s audit log, line {line.number}, at {quoted(line.at)}; signed for at {quoted(evidence.head.at)}",
        f"  {told.get('caller')} → {told.get('callee')}.{told.get('method')}: {told.get('outcome')}{reason}",
        f"  id {told.get('id')}, trace {told.get('trace') or 'none'}",
        f"  covered: {covered or 'neither params nor answer'}",
    ]


def asked_covered(params: Any) -> Any:
    """What a line's ``params`` cover, for params that somebody gives."""
    return {"params": params}


def answer_covered(kind: str, value: Any) -> Object:
    """What a line's ``result`` or ``error`` covers, for one that somebody gives as JSON-RPC has it."""
    if kind == "result":
        return {"result": settled(value)}
    error = value if isinstance(value, dict) else {}
    return {"error": {"code": error.get("code"), "message": error.get("message"), "data": settled(error.get("data"))}}


def _bytes(value: Any, size: int) -> bytes:
    try:
        found = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        found = b""
    if len(found) != size:
        raise BadParams("the evidence has something else where a hash has to stand, or a key")
    return found

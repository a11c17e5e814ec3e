"""The audit log's lines: what a call's line says, what it keeps to itself, and how lines hang together.

    {"previous":"<hash>","entry":{"log":"…","line":12,"at":"2026-11-28T21:15:16.123456Z","call":{…}}}

Theory of operation. The hash of a line is SHA-256 of the hash before it and the SHA-256 of its entry's bytes: so a line
that is altered, taken out or moved shows, and that a line leads to a head can be shown by the others' entries' digests
alone, without what they say. A head is a line whose entry has a signature over the hash before it. Of params and answer
a line has HMACs under a key of its own, derived (HKDF, RFC 5869) from the audit secret and a salt that the line tells:
who is given that one key can check what this call was, and no other. Pure.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson

from eps.core.message import CLIENT_KEY, Response, settled
from eps.core.names import Object

FORMAT = 1
"""Of the log; the first line has it."""

START = bytes(32)
"""What stands in the place of a hash before the first line."""

KEY_BYTES = 32
"""Of the audit secret, and of a line's key: as much as SHA-256 has."""

SALT_BYTES = 16
"""Random: nobody can guess what a line says by its digest, which evidence of another line shows."""

HEAD_LINES = 100
"""Behind so many lines the head is signed, and a second after a line at the latest: a signature takes some 50 µs."""

MAX_LINE_CHARS = 4096
"""Names, method, ids: whatever callers choose is shortened to less."""

_INFO = b"eps audit line "
_BEGIN, _MIDDLE, _END = '{"previous":"', '","entry":', "}"
_HEX_AT, _ENTRY_AT = len(_BEGIN), len(_BEGIN) + 64 + len(_MIDDLE)

BEGINS = _BEGIN.encode()
"""What every line begins with."""

_OPTIONS = orjson.OPT_UTC_Z


class LineKeys:
    """Makes the lines' keys. The secret is one, and never shown.

    Args:
        secret: :data:`KEY_BYTES` random bytes.
    """

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(bytes(32), secret, "sha256")  # HKDF's first step, without a salt

    def of(self, salt: bytes) -> bytes:
        """The key of the line with that salt: HKDF's second step."""
        return hmac.digest(self._key, _INFO + salt + b"\x01", "sha256")


def asked(params: Object) -> Object:
    """What the HMAC of a call's params covers; ``_client``, which each server puts there itself, is none of them."""
    if CLIENT_KEY in params:
        params = {key: value for key, value in params.items() if key != CLIENT_KEY}
    return {"params": params}


def answered(response: Response) -> Object:
    """What the HMAC of its answer covers: the values as they travel, so that both ends have the same."""
    error = response.came or response.error
    if error is None:
        return {"result": settled(response.result)}
    return {"error": {"code": error.code, "message": error.message, "data": settled(error.data)}}


def key_mark(key: bytes) -> str:
    """What a line tells of its key: whoever is shown another one notices. It helps nobody to find the key."""
    return hmac.digest(key, b"eps audit key", "sha256").hex()


def mac(key: bytes, covered: bytes) -> str:
    """The HMAC of a canonical text, as a line has it."""
    return hmac.digest(key, covered, "sha256").hex()


# Lines


@dataclass(slots=True)
class Chain:
    """Where a log is: makes the next line.

    Attributes:
        count: lines so far.
        hash: of the last one.
        log: 16 hex digits that no other log has.
    """

    count: int = 0
    hash: bytes = START
    log: str = ""

    def line(self, at: datetime, kind: str, what: Any) -> str:
        """The next line, with its end.

        Args:
            at: when, in UTC.
            kind, what: ``call``, ``begin``, ``head``, ``lost`` or ``torn``, and what the entry says of it.
        """
        entry = orjson.dumps({"log": self.log, "line": self.count + 1, "at": at, kind: what}, option=_OPTIONS)
        text = f"{_BEGIN}{self.hash.hex()}{_MIDDLE}{entry.decode()}{_END}\n"
        self.hash = following(self.hash, sha256(entry).digest())
        self.count += 1
        return text

    def head(self, at: datetime) -> "Head":
        """What is signed of the lines so far."""
        return Head(self.log, self.count, self.hash.hex(), at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def following(before: bytes, digest: bytes) -> bytes:
    """The hash of a line: of the one before it, and of its entry's SHA-256."""
    return sha256(before + digest).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """What a signature over a log says.

    Attributes:
        log: which: an operator may have several.
        count: lines that it covers.
        hash: of the last of them, in hex.
        at: when it was signed, as text.
    """

    log: str
    count: int
    hash: str
    at: str

    def signed_bytes(self) -> bytes:
        """What is signed: nothing else that is signed anywhere begins so."""
        return f"eps audit head\n{self.log}\n{self.count}\n{self.hash}\n{self.at}\n".encode()


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read.

    Attributes:
        previous: the hash that it names.
        entry: its entry's bytes, as they stand there.
        log, number, at: as the entry says.
        kind, what: likewise.
    """

    previous: bytes
    entry: bytes
    log: str
    number: int
    at: str
    kind: str
    what: Any

    @property
    def digest(self) -> bytes:
        """SHA-256 of the entry."""
        return sha256(self.entry).digest()

    @property
    def hash(self) -> bytes:
        """The line's own."""
        return following(self.previous, self.digest)


KINDS = frozenset({"call", "begin", "head", "lost", "torn"})


def read_line(text: bytes) -> Line | None:
    """The line in ``text``, without its end; None if it is none."""
    middle = text[_HEX_AT + 64 : _ENTRY_AT]
    if not text.startswith(BEGINS) or middle != _MIDDLE.encode() or not text.endswith(_END.encode()):
        return None
    try:
        previous = bytes.fromhex(text[_HEX_AT : _HEX_AT + 64].decode("ascii"))
    except ValueError:
        return None
    return read_entry(previous, text[_ENTRY_AT : -len(_END)]) if len(previous) == len(START) else None


def read_entry(previous: bytes, text: bytes) -> Line | None:
    """The line with that entry behind ``previous``; None if it is none."""
    try:
        entry = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(entry, Mapping) or len(entry) != 4:
        return None
    log, number, at, kind = entry.get("log"), entry.get("line"), entry.get("at"), next(iter(KINDS & entry.keys()), None)
    if not isinstance(log, str) or type(number) is not int or not isinstance(at, str) or kind is None:
        return None
    return Line(previous, text, log, number, at, kind, entry[kind])

"""Fuzz targets: lines of audit logs, which others may have written, and what they show as evidence of a call."""

from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any

from core_targets import WORDS, texts
from engine import Target

from eps.core.audit import Chain, Head, key_mark, read_line
from eps.core.audit_evidence import described, read_evidence
from eps.core.audit_key import parts_of
from eps.core.audit_reading import Reading
from eps.errors import BadParams

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
AUDIT_WORDS = (
    *WORDS,
    *("previous", "entry", "line", "at", "call", "head", "begin", "torn", "lost", "signature", "format", "key", "then",
      "count", "hash", "certified", "data", "audit_key", "operator", "since", "00" * 32, "\x1b[2J"),
)  # fmt: skip


def log() -> list[str]:
    chain = Chain()
    return [
        chain.line(AT, "begin", {"format": 1}),
        chain.line(AT, "call", {"caller": "hd-1", "salt": "00" * 16, "key": key_mark(bytes(32)), "params": "00" * 32}),
        chain.line(AT, "head", {"at": "now", "signature": "00"}),
    ]


def run_log(data: bytes) -> Hashable:
    reading = Reading(lambda head, signature: signature == "00", [Head("", 2, "00" * 32, "now")])
    for number, text in enumerate(data.split(b"\n")):
        reading.take(text, f"log:{number}")
    reading.end()
    assert all(text.isprintable() for text in (*reading.findings, *reading.torn))
    return len(reading.findings), reading.lines, reading.calls, bool(reading.torn), reading.head is None


def run_evidence(value: Any) -> Hashable:
    kinds: list[str] = []
    for read in (read_evidence, parts_of):
        try:
            found = read(value)
        except BadParams as error:
            kinds.append(error.message[:30])
            continue
        kinds.append("read")
        if read is read_evidence:
            assert all(text.isprintable() for text in described(found, "hd-1"))
    return tuple(kinds)


def evidence() -> list[Any]:
    line = read_line(log()[1].rstrip("\n").encode())
    assert line is not None
    head = {"log": "", "count": line.number, "hash": line.hash.hex(), "at": "now", "signature": "00"}
    shown = {"format": 1, "previous": line.previous.hex(), "entry": line.entry.decode(), "key": "00" * 32}
    claim = {"audit_key": "00", "operator": "hd-1", "since": "2026-11-22T12:00:00Z"}
    return [{**shown, "then": [], "head": head, "certified": {"data": claim}}, {"data": claim}]


TARGETS = [
    Target("audit_log", run_log, lambda: texts("".join(log())), tokens=texts(*(str(word) for word in AUDIT_WORDS))),
    Target("audit_evidence", run_evidence, evidence, values=True, tokens=AUDIT_WORDS),
]

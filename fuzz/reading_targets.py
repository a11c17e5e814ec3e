"""Fuzz targets: the bytes that signatures cover, whose one reading is compared with brute force; and records' JSON."""

import json
from collections.abc import Hashable, Sequence
from itertools import islice
from typing import Any

from core_targets import JSON_TOKENS, RECORDS, WORDS, http_bodies, mutate_json, texts
from engine import Rnd, Target

from eps.core import record_text
from eps.core.canonical import canonical_json
from eps.core.exact import flaw
from eps.core.layout import is_plain, known_as_read, layout
from eps.core.limits import MAX_EXACT_INTEGER
from eps.core.reading import read, tail_of
from eps.core.record import parse_change_record
from eps.core.second_reading import doubtful_places
from eps.core.structure import TAG, structured_bytes
from eps.core.verdict import judge
from eps.errors import BadParams, BadRequest, RecordError
from support.brute_reading import readings
from support.vectors import load

MAX_READINGS = 20
"""That brute force goes through; there can be thousands."""

MAX_BRUTE_BYTES = 2_000
"""Longer inputs are read, but not compared: brute force calls itself for each element of a list."""

PARSERS_WORDS = (
    "map list 0 1 2 a data name section settings type parameters permissions methods group rights call channels "
    "services groups proxy service operator environment validators grpc_server address h:1 fingerprint key_usage"
)
READING_TOKENS = texts(*PARSERS_WORDS.split(), "string", "stringmap", "stringlist")


def honest() -> list[Any]:
    pairs = [pair[which] for pair in load("ambiguous_records.json") for which in ("first", "second")]
    return [*(record["record"] for record in RECORDS), *pairs]


def signed_bytes() -> list[bytes]:
    return [structured_bytes(parse_change_record(value).to_json()) for value in honest()]


def run_reading(data: bytes) -> Hashable:
    """The reading is the first that brute force finds; there is none where that finds none."""
    found = read(data)
    if found is None:
        tail = tail_of(data)
        return tail is None, tail[1] if tail else ""
    assert tail_of(data) == (found.name, found.section)
    if len(data) <= MAX_BRUTE_BYTES:
        every = list(islice(readings(data), MAX_READINGS))
        inexact = found.section in ("channels", "settings")  # where settings that programs read rule some out
        assert found.bounds == every[0] or (inexact and (found.bounds in every or len(every) == MAX_READINGS))
    return found.section, len(found.bounds), len(found.known)


def mutate_tokens(rnd: Rnd, pool: Sequence[bytes]) -> bytes:
    """A change to the tokens, behind the head, which every reading needs."""
    tokens = pool[int(rnd() * len(pool))].split(TAG)
    other = pool[int(rnd() * len(pool))].split(TAG)
    for _ in range(1 << int(rnd() * 3)):
        at, start = 4 + int(rnd() * len(tokens)), int(rnd() * len(other))
        count = 1 << int(rnd() * 4)
        piece = other[start : start + count] if rnd() < 0.3 else [READING_TOKENS[int(rnd() * len(READING_TOKENS))]]
        tokens[at : at + int(rnd() * count)] = piece if rnd() < 0.8 else []
    return TAG.join(tokens)


def run_verdict(value: Any) -> Hashable:
    """A plain record with exact typed data is its own reading, and is never taken for a changed one."""
    record = parse_change_record(value)
    data = structured_bytes(record.to_json())
    exact = not flaw(record)
    if exact and is_plain(record, data) and known_as_read(record):
        assert read(data) == layout(record)
    return record.section, exact, judge(record, data).use, len(list(doubtful_places(record)))


def as_double(text: str) -> float:
    return int(text) if abs(int(text)) <= MAX_EXACT_INTEGER else float(text)


def run_record_text(body: bytes) -> Hashable:
    """What is read is written again to the same values; ordinary values are those of any JSON library."""
    value = record_text.loads(body, max_bytes=1_000_000)
    text = record_text.dumps(value)
    again = record_text.loads(text, max_bytes=2_000_000)
    assert record_text.dumps(again) == text
    assert structured_bytes(again) == structured_bytes(value)
    if b"-" not in body and body.count(b"[") + body.count(b"{") < 200:
        assert json.loads(body, parse_int=as_double) == value
    return type(value)


def run_canonical(body: bytes) -> Hashable:
    """A value has one canonical text, which says the same: all but the sign of zero, which JSON's canon drops."""
    value = record_text.loads(body, max_bytes=1_000_000)
    text = canonical_json(value)
    again = record_text.loads(text, max_bytes=3_000_000)
    assert canonical_json(again) == text
    if b"-" not in body:
        assert structured_bytes(again) == structured_bytes(value)
    return type(value), text[:1]


TARGETS = [
    Target("canonical_json", run_canonical, http_bodies, (BadRequest,), tokens=JSON_TOKENS, mutate=mutate_json),
    Target("record_reading", run_reading, signed_bytes, (), tokens=READING_TOKENS, mutate=mutate_tokens),
    Target("record_verdict", run_verdict, honest, (BadParams, RecordError), values=True, tokens=WORDS),
    Target("record_text", run_record_text, http_bodies, (BadRequest,), tokens=JSON_TOKENS, mutate=mutate_json),
]

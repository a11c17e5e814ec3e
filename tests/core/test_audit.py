"""The audit log: lines that were altered, taken out or moved are found; a revealed line shows one call and no other."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from eps.core import audit_evidence
from eps.core.audit import (
    HEAD_LINES,
    MAX_LINE_CHARS,
    START,
    Chain,
    Head,
    Line,
    LineKeys,
    answered,
    asked,
    key_mark,
    mac,
    read_entry,
    read_line,
)
from eps.core.audit_evidence import answer_covered, asked_covered, head_from, head_json, read_evidence, shown
from eps.core.audit_key import certified_key, claim, is_signed, parts_of, sign_head
from eps.core.audit_reading import MAX_FINDINGS, Reading, head_in
from eps.core.canonical import canonical_json
from eps.core.message import Error, Response
from eps.core.signature import TrustStore, load_signer, sign_object
from eps.errors import BadParams, RecordError
from eps.pki import Authority

AT = datetime(2026, 11, 28, 21, 15, 16, 123456, UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
KEYS = LineKeys(b"s" * 32)
CALLS = 10_000


def call_line(chain: Chain, number: int) -> str:
    salt = number.to_bytes(16, "big")
    params = mac(KEYS.of(salt), canonical_json(asked({"n": number})))
    result = mac(KEYS.of(salt), canonical_json(answered(Response("", {"m": number}))))
    what = {
        "caller": "hd-1", "callee": "hd-2", "method": "f", "outcome": "ok", "reason": "", "trace": "",
        "id": str(number),
        "salt": salt.hex(), "key": key_mark(KEYS.of(salt)), "params": params, "result": result,
    }  # fmt: skip
    return chain.line(AT, "call", what)


def head_line(chain: Chain) -> str:
    head = chain.head(AT)
    return chain.line(AT, "head", {"at": head.at, "signature": sign_head(KEY, head)})


def make_log(calls: int, *, ends_with_head: bool = True) -> list[bytes]:
    chain = Chain(log="0" * 16)
    lines = [chain.line(AT, "begin", {"format": 1, "operator": "hd-1", "nonce": "0"})]
    for number in range(calls):
        lines.append(call_line(chain, number))
        if (number + 1) % HEAD_LINES == 0:
            lines.append(head_line(chain))
    if ends_with_head:
        lines.append(head_line(chain))
    return [line.removesuffix("\n").encode() for line in lines]


def signed(head: Head, signature: str) -> bool:
    return is_signed(KEY.public_key(), head, signature)


def read(lines: list[bytes], **options: Any) -> Reading:
    reading = Reading(signed, **options)
    for number, line in enumerate(lines, 1):
        reading.take(line, f"log:{number}")
    reading.end()
    return reading


@pytest.fixture(scope="module")
def log() -> list[bytes]:
    return make_log(CALLS)


def test_a_log_of_ten_thousand_calls_is_whole(log: list[bytes]) -> None:
    reading = read(log)
    assert (reading.findings, reading.torn, reading.calls, reading.lost) == ([], [], CALLS, 0)
    assert (reading.first, reading.lines, reading.uncovered) == (1, len(log), 0)
    assert reading.last is not None and reading.last.number == len(log)
    assert reading.head is not None and reading.head[0].count == len(log) - 1
    assert max(map(len, log)) < MAX_LINE_CHARS / 4


def altered(lines: list[bytes]) -> None:
    assert b'"outcome":"ok"' in lines[5_000]
    lines[5_000] = lines[5_000].replace(b'"outcome":"ok"', b'"outcome":"no"')


def removed(lines: list[bytes]) -> None:
    del lines[5_000]


def moved(lines: list[bytes]) -> None:
    lines[5_000], lines[5_001] = lines[5_001], lines[5_000]


def doubled(lines: list[bytes]) -> None:
    lines.insert(5_000, lines[5_000])


def another_number(lines: list[bytes]) -> None:
    lines[5_000] = lines[5_000].replace(b'"line":5001', b'"line":5000')


def without_a_head(lines: list[bytes]) -> None:
    del lines[101]


def no_line(lines: list[bytes]) -> None:
    lines[5_000] = b'{"previous":"'


def first_one(lines: list[bytes]) -> None:
    lines[0] = lines[0].replace(b"hd-1", b"hd-3")


def last_head(lines: list[bytes]) -> None:
    lines[-1] = lines[-1].replace(b'"signature":"30', b'"signature":"31')


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (altered, "log:5002: line 5002 does not follow from what is before it: line 5001 or 5002 was altered"),
        (removed, "log:5001: 1 line is missing (5001) before line 5002"),
        (moved, "log:5001: 1 line is missing (5001) before line 5002"),
        (doubled, "log:5002: line 5001 stands behind line 5001: it was moved, or is there twice"),
        (another_number, "log:5001: line 5000 stands behind line 5000: it was moved, or is there twice"),
        (without_a_head, "log:102: 1 line is missing (102) before line 103"),
        (no_line, "log:5001: can't be read, so it was altered: it is no line of an audit log"),
        (first_one, "log:2: line 2 does not follow from what is before it: line 1 or 2 was altered"),
        (last_head, f"the head at line {CALLS + CALLS // HEAD_LINES + 2} is not signed with the log's key"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_one_change_is_found(log: list[bytes], change: Callable[[list[bytes]], None], found: str) -> None:
    lines = list(log)
    change(lines)
    findings = read(lines).findings
    assert found in findings[0]
    assert len(findings) <= 3


def test_a_moved_line_is_found_at_its_place_too(log: list[bytes]) -> None:
    lines = list(log)
    moved(lines)
    assert any("line 5001 stands behind line 5002: it was moved" in text for text in read(lines).findings)


def test_several_lines_that_were_taken_out_are_told_together() -> None:
    lines = make_log(10)
    del lines[3:6]
    assert "log:4: 3 lines are missing (4 to 6) before line 7" in read(lines).findings[0]


def test_who_writes_the_chain_anew_has_no_key_to_sign_it() -> None:
    chain, other = Chain(), ec.generate_private_key(ec.SECP256R1())
    lines = [chain.line(AT, "begin", {}), call_line(chain, 7)]
    head = chain.head(AT)
    lines.append(chain.line(AT, "head", {"at": head.at, "signature": sign_head(other, head)}))
    lines.append(chain.line(AT, "head", "nothing"))
    lines.append(chain.line(AT, "head", {"at": 1, "signature": "zz"}))
    lines.append(chain.line(AT, "head", {"at": head.at, "signature": "zz"}))
    findings = read([line.rstrip("\n").encode() for line in lines]).findings
    assert [text.partition(": ")[2] for text in findings] == [
        f"the head at line {number} is not signed with the log's key" for number in (3, 4, 5, 6)
    ]


def test_the_end_that_was_taken_away_shows_where_a_head_was_handed_out(log: list[bytes]) -> None:
    whole = read(log)
    assert whole.head is not None
    handed_out = [whole.head[0]]
    assert read(log, known=handed_out).findings == []
    cut = log[: 102 * 40 + 2]
    assert read(cut).findings == []  # nothing but the head says that there was more
    assert "its end is gone" in read(cut, known=handed_out).findings[0]
    assert "its end is gone" in read([], known=handed_out).findings[0]
    other = make_log(CALLS - 1)
    other_head = read(other).head
    assert other_head is not None
    again = read(log, known=[other_head[0]])
    assert "the log is another than when its head was handed out" in again.findings[0]


def test_lines_at_the_end_that_no_head_covers_are_counted() -> None:
    assert read(make_log(HEAD_LINES + 7, ends_with_head=False)).uncovered == 7
    assert read(make_log(7, ends_with_head=False)).uncovered == 8  # with the first
    assert read([]).uncovered == 0
    later = make_log(7, ends_with_head=False)[3:]
    assert (read(later).first, read(later).uncovered) == (4, 5)


def test_a_log_whose_heads_were_taken_out_proves_nothing() -> None:
    """Whoever has no key writes it anew without them."""
    chain = Chain(log="0" * 16)
    forged = [chain.line(AT, "begin", {}), *(call_line(chain, number) for number in range(1_000))]
    findings = read([line.rstrip("\n").encode() for line in forged]).findings
    assert findings == ["no signed head covers the last 1001 lines, which may be forged: heads were taken out"]


def test_a_head_of_what_is_not_given_is_told_and_that_of_another_log_is_not_taken_for_one() -> None:
    lines = make_log(300)
    heads = [head_in(line)[0] for line in map(read_line, lines) if line is not None and line.kind == "head"]  # type: ignore[index]
    assert read(lines[150:], known=heads[:1]).findings == [
        "a head of 101 lines was handed out, and these files begin behind it: name older ones"
    ]
    first = heads[0].count
    assert read(lines[first:], known=heads[:1]).findings == []  # its hash is that before the first line
    other = replace(heads[0], hash="00" * 32)
    assert "the log is another" in read(lines[first:], known=[other]).findings[0]
    assert "the log is another" in read(lines, known=[replace(heads[0], log="1" * 16)]).findings[0]


def test_times_that_go_back_are_counted() -> None:
    chain = Chain()
    lines = [chain.line(AT, "begin", {}), chain.line(AT - timedelta(days=1), "lost", 1), chain.line(AT, "lost", 1)]
    reading = read([line.rstrip("\n").encode() for line in lines])
    assert (reading.back, reading.findings) == (1, [])


def test_a_torn_last_line_is_named_and_is_no_fault() -> None:
    lines = make_log(3, ends_with_head=False)
    reading = Reading(signed)
    for number, line in enumerate(lines[:-1], 1):
        reading.take(line, f"log:{number}")
    reading.take(lines[-1][:70], "log:4", is_whole=False)
    reading.end()
    assert (reading.findings, reading.torn) == ([], ["log:4: the last line is torn, and says nothing"])


def test_a_torn_line_that_the_next_one_tells_is_no_fault_and_no_other_is() -> None:
    chain = Chain()
    lines = [chain.line(AT, "begin", {}), call_line(chain, 1), '{"previous":"00', chain.line(AT, "torn", 15)]
    reading = read([line.rstrip("\n").encode() for line in lines])
    assert (reading.findings, reading.torn) == ([], ["log:3: the line is torn, and the next one says so"])
    del lines[1]
    findings = read([line.rstrip("\n").encode() for line in lines]).findings
    assert findings == [
        "log:2: can't be read, so it was altered: it is no line of an audit log",
        "log:3: 1 line is missing (2) before line 3",
    ]
    assert read([b"x", b"y", make_log(1)[0]]).findings == [
        "log:1: can't be read, so it was altered: it is no line of an audit log"
    ]


def test_another_log_in_the_same_files_is_told() -> None:
    findings = read([*make_log(1), *make_log(1)]).findings
    assert findings[0] == "log:4: another log begins here, which doesn't follow from line 3"


def test_a_log_that_begins_otherwise_was_altered() -> None:
    chain = Chain()
    assert "line 1 is not how a log begins" in read([call_line(chain, 1).rstrip("\n").encode()]).findings[0]


def test_lost_calls_are_counted() -> None:
    chain = Chain()
    lines = [chain.line(AT, "begin", {}), chain.line(AT, "lost", 5), chain.line(AT, "lost", "many")]
    assert read([line.rstrip("\n").encode() for line in lines]).lost == 5


def test_findings_without_end_are_counted() -> None:
    reading = read([b"x"] * (MAX_FINDINGS + 6))
    assert (len(reading.findings), reading.more) == (MAX_FINDINGS, 5)  # the last one may be torn


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"previous":"' + b"0" * 64 + b'","entry":{"log":"","line":1,"at":"x","call":{}}',
        b'{"previous":"' + b"z" * 64 + b'","entry":{"log":"","line":1,"at":"x","call":{}}}',
        b'{"previous":"' + b" " * 64 + b'","entry":{"log":"","line":1,"at":"x","call":{}}}',
        b'{"previous":"' + b"0" * 64 + b'","entry":{"log":"","line":1,"at":"x","call":{}',
        b'{"previous":"' + b"0" * 64 + b'","entry":{"log":"","line":1,"at":"x","call":}}',
        b'{"previous":"' + b"0" * 64 + b'","entry":[1,2,3,4]}',
        b'{"previous":"' + b"0" * 64 + b'","entry":{"log":"","line":1,"at":"x"}}',
        b'{"previous":"' + b"0" * 64 + b'","entry":{"log":"","line":true,"at":"x","call":{}}}',
        b'{"previous":"' + b"0" * 64 + b'","entry":{"log":"","line":1,"at":2,"call":{}}}',
        b'{"previous":"' + b"0" * 64 + b'","entry":{"log":"","line":1,"at":"x","other":{}}}',
    ],
    ids=range(11),
)
def test_what_is_no_line(text: bytes) -> None:
    assert read_line(text) is None


def test_a_lines_key_is_hkdf_of_the_secret() -> None:
    salt = bytes(range(16))
    made = HKDF(SHA256(), 32, None, b"eps audit line " + salt).derive(b"s" * 32)
    assert KEYS.of(salt) == made
    assert KEYS.of(bytes(16)) != made


def test_both_ends_cover_the_same() -> None:
    assert asked({"a": 1, "_client": {"name": "x"}}) == asked({"a": 1}) == asked_covered({"a": 1})
    assert answered(Response("", None)) == answered(Response("", {})) == answer_covered("result", None)
    assert answered(Response("", {"_": {"_": 5}})) == answered(Response("", 5)) == answer_covered("result", 5)
    assert answered(Response("", {"_": None})) == answered(Response("", {}))
    came = Error(403, "no", {})
    assert answered(Response("", error=Error(403, "hd-2 reports: no", {"side": "peer"}), came=came)) == answered(
        Response("", error=came)
    )
    error = {"code": 7, "message": "no", "data": [1]}
    assert answered(Response("", error=Error(7, "no", [1]))) == answer_covered("error", error)
    assert answer_covered("error", "x") == {"error": {"code": None, "message": None, "data": {}}}


# Evidence


def evidence(lines: list[bytes], number: int) -> Any:
    found, then, head = lines[number], [], None
    for line in map(read_line, lines[number + 1 :]):
        assert line is not None
        head = head_in(line)
        if head is not None:
            break
        then.append(line.digest)
    line = read_line(found)
    assert line is not None and head is not None
    salt = bytes.fromhex(line.what["salt"])
    return json.loads(json.dumps(shown(line, KEYS.of(salt), then, head, {"signed": True})))


def test_a_revealed_line_shows_its_call_and_leads_to_a_head() -> None:
    told = evidence(make_log(20), 5)
    read_back = read_evidence(told)
    assert signed(read_back.head, read_back.signature)
    assert read_back.certified == {"signed": True}
    assert read_back.call["id"] == "4"
    assert read_back.confirms("params", asked_covered({"n": 4.0}))
    assert not read_back.confirms("params", asked_covered({"n": 5}))
    assert read_back.confirms("result", answer_covered("result", {"m": 4}))
    assert not read_back.confirms("error", answer_covered("error", {}))
    assert not any(f'"id":"{number}"' in json.dumps(told) for number in range(5, 20))  # nothing of other calls


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", 2, "no evidence"),
        ("entry", None, "no call's"),
        ("entry", "{}", "no call's"),
        ("entry", '{"log":"","line":6,"at":"x","call":1}', "no call's"),
        ("entry", '{"log":"","line":6,"at":"x","call":{}}', "not the line's key"),
        ("key", "00" * 32, "not the line's key"),
        ("previous", "00", "where a hash has to stand"),
        ("previous", 5, "where a hash has to stand"),
        ("key", "xx", "where a hash has to stand"),
        ("head", {}, "no signed head"),
        ("head", None, "no signed head"),
        ("then", None, "no list"),
        ("then", [], "not one of those that the signed head covers"),
        ("then", ["00"], "where a hash has to stand"),
    ],
    ids=range(14),
)
def test_other_evidence_is_refused(key: str, value: Any, said: str) -> None:
    told = evidence(make_log(20), 5)
    with pytest.raises(BadParams, match=said):
        read_evidence({**told, key: value})


def test_what_is_said_of_a_call_moves_no_cursor() -> None:
    told = evidence(make_log(3), 1)
    line = read_evidence(told)
    said = audit_evidence.described(line, "hd-1")
    assert said[1:] == ["  hd-1 → hd-2.f: ok", "  id 0, trace none", "  covered: params, result"]
    hostile = replace(line, line=replace(line.line, at="\x1b[2J", what={"caller": "\r\n", "reason": "\x07", "id": [1]}))
    assert all(text.isprintable() for text in audit_evidence.described(hostile, "hd-1"))
    assert audit_evidence.described(hostile, "hd-1")[3] == "  covered: neither params nor answer"


def test_evidence_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told = evidence(make_log(20), 5)
    monkeypatch.setattr(audit_evidence, "MAX_THEN", 3)
    with pytest.raises(BadParams, match="no list"):
        read_evidence(told)
    with pytest.raises(BadParams, match="no evidence"):
        read_evidence([])


def test_nobody_certified_is_seen() -> None:
    assert read_evidence({**evidence(make_log(3), 1), "certified": 5}).certified == {}


def test_a_head_as_json() -> None:
    head = Head("0", 5, "00", "now")
    assert head_from(head_json(head, "sig")) == (head, "sig")
    assert head_in(Line(START, b"", "", 5, "", "call", {})) is None
    assert read_entry(START, b"[") is None


# The key


@pytest.fixture(scope="module")
def signer() -> tuple[Any, TrustStore]:
    authority = Authority.create(fast=True)
    pair = authority.issue_signing("hd-1", [])
    trust = TrustStore([authority.root], [authority.intermediate])
    return load_signer(pair.cert_pem, pair.key_pem), trust


def test_an_administrator_says_whose_key_it_is(signer: tuple[Any, TrustStore]) -> None:
    by, trust = signer
    told = sign_object(claim(KEY.public_key(), "hd-1", datetime.now(UTC).isoformat()), by)
    operator, key = certified_key(told, trust)
    assert (operator, key.public_numbers()) == ("hd-1", KEY.public_key().public_numbers())
    told["data"]["operator"] = "hd-2"
    with pytest.raises(RecordError):
        certified_key(told, trust)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audit_key": "zz"}, "no public key"),
        ({"audit_key": "00"}, "no public key"),
        ({"operator": 5}, "does not say whose"),
        ({"since": "yesterday"}, "since: is not a date"),
        (
            {
                "audit_key": ed25519.Ed25519PrivateKey.generate()
                .public_key()
                .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                .hex()
            },
            "no key for ECDSA",
        ),
    ],
    ids=["no hex", "no key", "no name", "no day", "another kind"],
)
def test_what_says_no_key(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadParams, match=said):
        parts_of({"data": claim(KEY.public_key(), "hd-1", "2026-11-28T00:00:00Z") | change})


def test_what_is_no_claim_at_all() -> None:
    for value in (5, {}, {"data": 5}):
        with pytest.raises(BadParams, match="does not say whose"):
            parts_of(value)

"""Whether a slip is whole, whose it is, and whether it still fits: without commands and files."""

from datetime import timedelta
from typing import Any

import pytest

from eps.core.chain import Chain
from eps.core.names import Object
from eps.core.signature import Signer
from eps.directory.json_files import FileRecord, records_of
from eps.errors import BadParams
from eps.programs.directory.slip import Slip, Verdict, code_of, judge, make, parse
from support.record_tools import ADMIN, NOW, STRANGER, group_record, sign_chain, signer, signing_pin_record, trust

ACME = signer("acme", ())

PRESENT = Chain.empty(trust()).extend(
    sign_chain(
        [signing_pin_record(ADMIN), signing_pin_record(ACME), group_record("acme", "g"), group_record("x", "g")]
    ),
    NOW,
)


def found_in(value: Any) -> list[FileRecord]:
    return records_of({"records": value}, "slip.json")


def slip_of(*records: Object, operator: str = "acme", by: Signer | None = ACME) -> Object:
    return make(operator, "why", found_in(list(records)), PRESENT.directory, NOW, by)


def judged(value: Object, present: Chain = PRESENT) -> Verdict:
    slip: Slip = parse(value)
    return judge(slip, found_in(list(slip.changes)), present.directory, trust(), NOW)


MORE = group_record("acme", "g", "more")


def test_a_good_one() -> None:
    made = slip_of(MORE)
    verdict = judged(made)
    assert (verdict.wrong, verdict.doubts) == ((), ())
    assert verdict.by == f"acme, with certificate {ACME.subject.fingerprint[:12]}"
    assert made["code"] == code_of(made["data"]) and len(made["code"].split("-")) == 5
    slip = parse(made)
    assert (slip.operator, slip.why, slip.proposed_at) == ("acme", "why", "2026-11-22T12:00:00Z")


def test_the_code_is_of_all_that_it_says() -> None:
    made = slip_of(MORE)
    for key, value in (("why", "other"), ("operator", "x"), ("changes", []), ("proposed_at", "")):
        assert code_of(made["data"] | {key: value}) != made["code"]


@pytest.mark.parametrize("key", ["code", "signature"])
def test_without_its_code_or_with_anothers_signature(key: str) -> None:
    (wrong,) = judged(slip_of(MORE) | {key: {"code": "", "signature": {}}[key]}).wrong
    assert wrong.startswith({"code": "it was altered", "signature": "its signature does not count: "}[key])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("operator", "acme\x1b[2J"),
        ("operator", ""),
        ("operator", 7),
        ("why", None),
        ("proposed_at", []),
        ("changes", {}),
        ("changes", []),
        ("changes", ["x"]),
        ("changes", [{"name": "acme", "replaces": 7}]),
        ("slip", 2),
        ("slip", None),
    ],
    ids=lambda value: repr(value)[:30].encode("unicode_escape").decode(),
)
def test_what_is_no_slip(key: str, value: object) -> None:
    made = slip_of(MORE)
    with pytest.raises(BadParams) as refused:
        parse(made | {"data": made["data"] | {key: value}})
    assert refused.value.message.isprintable() and refused.value.hint


def test_one_as_deep_as_files_may_be_is_told_and_ends_nothing() -> None:
    """Python's own calls would end with a RecursionError."""
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    made = slip_of(MORE)
    with pytest.raises(BadParams, match="of a version that this program doesn't know"):
        parse(made | {"data": made["data"] | {"slip": deep}})
    assert judged(made | {"data": made["data"] | {"more": deep}}).wrong[0].startswith("it was altered")


def test_a_stranger_signs_nothing() -> None:
    verdict = judged(slip_of(MORE, by=signer("acme", (), STRANGER)))
    assert "known root" in verdict.wrong[0] and verdict.by == "nobody whose signature counts"


def test_it_was_signed_by_somebody_else_than_it_says() -> None:
    for by in (signer("x", ()), ADMIN):
        (wrong,) = judged(slip_of(MORE, by=by)).wrong
        assert wrong == f"it is said to be of acme, but was signed by {by.subject}"


def test_for_others_only_an_administrator_proposes() -> None:
    others = group_record("x", "h")
    (wrong,) = judged(slip_of(MORE, others)).wrong
    assert wrong == "acme proposes to change x: only an administrator may for others"
    (wrong,) = judged(slip_of(others, by=None)).wrong
    assert wrong.startswith("acme proposes to change x")
    assert judged(slip_of(MORE, others, operator="admin", by=ADMIN)).wrong == ()


def test_the_directory_has_moved_on() -> None:
    at = NOW + timedelta(seconds=1)
    made = slip_of(MORE)
    moved = PRESENT.extend(sign_chain([group_record("acme", "h", at=at)], PRESENT.tip), at)
    assert judged(made, moved).wrong == ("the directory has changed since it was proposed (acme: groups)",)
    same = PRESENT.extend(sign_chain([group_record("acme", "g", at=at)], PRESENT.tip), at)
    assert judged(made, same).wrong, "taken away and put back is a change, too"
    done = PRESENT.extend(sign_chain([group_record("acme", "g", "more", at=at)], PRESENT.tip), at)
    (wrong,) = judged(made, done).wrong
    assert wrong.startswith("the directory says all of it already")
    other = PRESENT.extend(sign_chain([group_record("x", "h", at=at)], PRESENT.tip), at)
    assert judged(made, other).wrong == ()


def test_who_is_new_is_asked() -> None:
    new = slip_of(group_record("new", "g"), operator="new", by=signer("new", ()))
    (doubt,) = judged(new).doubts
    assert doubt.startswith("the directory pins no certificate that new signs with: compare the slip's code")
    (doubt,) = judged(slip_of(group_record("new", "g"), operator="new", by=None)).doubts
    assert doubt.startswith("nobody has signed the slip: ask new by telephone whether its code is ")

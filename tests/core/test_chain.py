"""The chain: what is believed, what is refused and why, and what it costs."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eps.core.certificate import fingerprint_of
from eps.core.chain import VERIFIED_AT_ONCE, Chain, dated_ahead, in_order, pick_newest_root
from eps.core.instant import instant_of
from eps.core.new_root import TrustedRoot
from eps.core.record import (
    NO_PARENT,
    SignedRecord,
    parse_change_record,
    parse_signed_record,
    signed_payload,
)
from eps.core.signature import TrustStore
from eps.core.structure import structured_bytes
from eps.errors import BadParams, RecordError, StaleRecord
from eps.reasons import Reason
from support import certs
from support.certs import HD_1, HD_1_ALT, HD_2, INTERMEDIATE, NOW, START, Made, authority, minutes, signing, trust
from support.record_tools import without_canonical
from support.vectors import load, pem

VECTOR_NOW = datetime(2026, 11, 22, 11, tzinfo=UTC)
EMPTY = Chain.empty(trust())


def vector_trust() -> TrustStore:
    return TrustStore.from_pem({"root.crt": pem("root.crt")}, {"intermediate.crt": pem("intermediate.crt")})


def link(
    parent: SignedRecord | None,
    name: str = "hd-1",
    section: str = "groups",
    data: Any = (),
    *,
    by: Made = HD_1,
    at: datetime = NOW,
) -> SignedRecord:
    """A record behind ``parent``, properly signed."""
    value = {"name": name, "section": section, "data": list(data), "created_at": instant_of(at).text}
    record = parse_change_record(value)
    parent_hash = parent.hash if parent else NO_PARENT
    signature = by.signer.sign(signed_payload(record.hash(), parent_hash, record))
    return SignedRecord(record.hash(), parent_hash, record, signature)


def line(count: int, behind: SignedRecord | None = None, *, mark: str = "op", at: datetime = NOW) -> list[SignedRecord]:
    """Records of so many operators, each behind the one before."""
    records: list[SignedRecord] = []
    for number in range(count):
        records.append(link(records[-1] if records else behind, f"{mark}-{number}", data=[mark], at=at))
    return records


def pins(*made: Made, usage: str = "signing") -> list[dict[str, str]]:
    return [{"fingerprint": fingerprint_of(one.certificate), "key_usage": usage} for one in made]


def last(steps: Iterator[Chain], present: Chain) -> Chain:
    """The chain after the last step; ``present`` if there is none."""
    return [present, *steps][-1]


def submit(chain: Chain, records: Sequence[SignedRecord]) -> Chain:
    return last(chain.submitting(records, NOW), chain)


def accept(chain: Chain, records: Sequence[SignedRecord]) -> Chain:
    return last(chain.accepting(records, NOW), chain)


def refused(chain: Chain, records: Sequence[SignedRecord], reason: str, index: int = 0, now: datetime = NOW) -> None:
    with pytest.raises(RecordError, match=reason) as caught:
        chain.extend(records, now)
    assert caught.value.index == index
    assert caught.value.message.startswith(f"record {index} (")
    assert caught.value.code == -32603
    assert caught.value.hint


# Vectors


def test_vector_chain() -> None:
    records = [parse_signed_record(value) for value in load("records.json")]
    chain = Chain.empty(vector_trust()).extend(records, VECTOR_NOW)
    assert list(chain.records) == records
    assert chain.tip == records[-1].hash == chain.directory.version
    assert chain.root == records[0]
    assert chain.root.record.created_at == "2026-11-22T10:44:19.931477456Z"
    entry = chain.directory.entry("hd-1")
    assert entry is not None
    assert entry.signing_pin == "85b32b30f3af66e8b55ff582be34cf2f414954eff4799e3f96acdbd50ae34598"
    sections = [record.record.section for record in entry.records]
    assert sections == ["channels", "groups", "settings", "services", "certificates"]


@pytest.mark.parametrize("case", load("record_verification.json")["cases"], ids=lambda case: case["name"])
def test_vector_verification(case: Any) -> None:
    before = [parse_signed_record(value) for value in load("records.json")[: case["prior_records"]]]
    chain = Chain.empty(vector_trust()).extend(before, VECTOR_NOW)
    if case["name"] == "other root":
        chain = dataclasses.replace(chain, trust=trust())
    try:
        longer = chain.extend([parse_signed_record(case["record"])], VECTOR_NOW)
    except (RecordError, BadParams):
        assert not case["valid"]
    else:
        assert case["valid"]
        assert len(longer.records) == len(before) + 1


# Extending


def test_an_empty_chain() -> None:
    assert (EMPTY.tip, EMPTY.root, len(EMPTY.records)) == ("", None, 0)
    assert EMPTY.extend([], NOW).tip == ""
    assert list(EMPTY.extending([], NOW)) == []


def test_whole_or_not_at_all() -> None:
    chain = EMPTY.extend(line(3), NOW)
    more = line(2, chain.records[-1], mark="more")
    refused(chain, [*more, link(None, "stray")], "it is a root, but not the first record", 2)
    assert len(chain.records) == 3
    assert chain.directory.entry("more-0") is None
    assert len(chain.extend(more, NOW).records) == 5
    assert len(chain.records) == 3


def test_the_index_counts_from_where_the_slice_begins() -> None:
    with pytest.raises(RecordError, match=r"^record 7 \(hd-1, groups, [0-9a-f]{12}\) is refused: ") as caught:
        EMPTY.extend([link(None, by=HD_2)], NOW, first=7)
    assert caught.value.index == 7


def test_links() -> None:
    chain = EMPTY.extend(line(2), NOW)
    refused(chain, [link(chain.records[0])], r"it is stale: it follows record \w{12}, but the last one is \w{12}")
    refused(chain, [link(None)], "it is a root")
    refused(EMPTY, [chain.records[1]], "does not begin with a root")
    first = link(chain.records[-1], "x")
    refused(chain, [first, link(chain.records[-1], "y")], "it is stale", 1)


def test_content() -> None:
    record = link(None, data=["a"])
    other = link(None, data=["b"])
    refused(EMPTY, [dataclasses.replace(record, record=other.record)], "its hash is not that of its content")
    swapped = dataclasses.replace(record, record=other.record, hash=other.hash)
    refused(EMPTY, [swapped], "the signature is not one that hd-1 made")
    chain = EMPTY.extend([other], NOW)
    moved = dataclasses.replace(record, parent_hash=other.hash)
    refused(chain, [moved], "the signature is not one that hd-1 made")


def test_what_is_signed_but_says_something_else_is_refused() -> None:
    """An untrusted service directory moves a section's data into the record's name: hash and signature stay."""
    honest = link(None, "hd-2", "certificates", pins(HD_2, usage="encryption"))
    moved = structured_bytes(honest.record.to_json()).split(b"created_at", 1)[1].partition(b"stringname")[0]
    value = honest.record.to_json() | {"name": moved.removeprefix(b"string").decode(), "data": []}
    forged = dataclasses.replace(honest, record=parse_change_record(value))
    assert forged.record.hash() == honest.hash
    refused(EMPTY, [forged], "the canonical signature is not one that hd-1 made over this content")
    refused(EMPTY, without_canonical([forged]), "what was signed says something else than this record: name: must be")
    assert EMPTY.extend(without_canonical([honest]), NOW).directory.pins("hd-2")


def test_a_record_that_is_of_no_use_stops_nothing() -> None:
    deep: Any = 1
    for _ in range(1001):
        deep = [deep]
    one, two = {"settings": {"v": 1}}, {"settings": {"v": deep}}
    records = [link(None, "hd-2", "certificates", pins(HD_2, usage="encryption"))]
    for name, section, data in [
        ("hd-2", "settings", [one]),
        ("", "groups", ["sd-admin"]),
        ("hd-2", "settings", [two]),
        ("hd-2", "certificates", [{"fingerprint": "A" * 64, "key_usage": "encryption"}]),
        ("hd-3", "groups", ["g"]),
    ]:
        records.append(link(records[-1], name, section, data))
    chain = EMPTY.extend(records, NOW)
    assert (len(chain.records), chain.tip) == (6, records[-1].hash)
    assert set(chain.directory.entries) == {"hd-2", "hd-3"}
    entry = chain.directory.entry("hd-2")
    assert entry is not None
    assert entry.pins == frozenset()  # never its former state
    assert entry.settings[0].settings == {"v": 1}  # the last that could be used
    shown = [(mark["section"], mark["record"], mark["state"]) for mark in entry.to_json()["marks"]]
    assert shown == [("settings", records[3].hash, "kept"), ("certificates", records[4].hash, "emptied")]
    assert [signed.record.section for signed in entry.records] == ["settings"]
    assert chain.directory.marked == 2
    again = link(records[-1], "hd-2", "certificates", pins(HD_2, usage="encryption"))
    mended = chain.extend([again, link(again, "hd-2", "settings", [one])], NOW).directory
    assert mended.marked == 0 and mended.pins("hd-2")
    entry = mended.entry("hd-2")
    assert entry is not None and "marks" not in entry.to_json()


def test_what_is_of_no_use_does_not_enter() -> None:
    for record, reason in [
        (link(None, "", data=["a"]), "name: must be an operator's name"),
        (link(None, "a b", data=["a"]), "name: must be an operator's name"),
        (link(None, "a", data=["a", ""]), r"data\[1\]: must be"),
    ]:
        assert EMPTY.extend([record], NOW).tip == record.hash
        with pytest.raises(RecordError, match=f"^record 0 .* is refused: {reason}"):
            submit(EMPTY, [record])
    assert submit(EMPTY, [link(None, "a", data=["a"])]).directory.entry("a")


def test_only_roots_in_a_chain_must_not_be_dated_ahead() -> None:
    root = link(None)
    ahead = link(root, at=NOW + minutes(6))
    chain = EMPTY.extend([root, ahead], NOW)
    assert chain.tip == ahead.hash
    assert dated_ahead(chain.records, NOW) == [ahead]
    with pytest.raises(RecordError, match="more than 5 minutes in the future"):
        submit(EMPTY.extend([root], NOW), [ahead])


def test_dates_lie_at_most_five_minutes_ahead() -> None:
    assert EMPTY.extend([link(None, at=NOW + minutes(5))], NOW)
    refused(EMPTY, [link(None, at=NOW + minutes(5) + timedelta(microseconds=1))], "more than 5 minutes in the future")


def test_certificates_are_judged_at_the_date_of_the_record() -> None:
    late = certs.END + timedelta(days=1000)
    assert EMPTY.extend([link(None, at=NOW)], late)
    refused(EMPTY, [link(None, at=late)], "is not valid at", now=late)
    refused(EMPTY, [link(None, at=START - minutes(6))], "is not valid at")


def test_signers_are_administrators_with_a_name() -> None:
    refused(EMPTY, [link(None, by=HD_2)], "its signer hd-2 may not .* does not name the group sd-admin")
    extensions = [
        (certs.x509.SubjectAlternativeName([certs.x509.UniformResourceIdentifier("iris-group://sd-admin")]), False),
        (certs.usage(digital_signature=True), False),
    ]
    nameless = certs.make("someone", INTERMEDIATE, extensions=extensions)
    refused(EMPTY, [link(None, by=nameless)], "its signer someone may not .* does not name an operator")
    refused(EMPTY, [link(None, by=signing("hd-1", authority("elsewhere")))], "does not lead through")


def test_pins_hold_from_the_record_that_sets_them() -> None:
    root = link(None, "hd-1", "certificates", pins(HD_1), by=HD_1_ALT)
    assert EMPTY.extend([root, link(root, by=HD_1)], NOW)
    refused(EMPTY, [root, link(root, by=HD_1_ALT)], r"its signer hd-1 used certificate \w{12}, but .* pins \w{12}", 1)
    chain = EMPTY.extend([root], NOW)
    refused(chain, [link(root, by=HD_1_ALT)], "its signer hd-1 used certificate")
    other = signing("hd-3", INTERMEDIATE)
    assert chain.extend([link(root, by=other)], NOW)


def test_the_last_signing_pin_counts() -> None:
    root = link(None, "hd-1", "certificates", [*pins(HD_1, HD_1_ALT), *pins(HD_1, usage="encryption")])
    chain = EMPTY.extend([root], NOW)
    assert chain.extend([link(root, by=HD_1_ALT)], NOW)
    refused(chain, [link(root, by=HD_1)], "pins")
    moved = link(root, "hd-1", "certificates", pins(HD_1), by=HD_1_ALT)
    assert chain.extend([moved, link(moved, by=HD_1)], NOW)
    encryption_only = link(root, "hd-1", "certificates", pins(HD_1, usage="encryption"), by=HD_1_ALT)
    assert chain.extend([encryption_only, link(encryption_only, by=HD_1)], NOW)


def test_chains_that_grow_from_one_do_not_disturb_each_other() -> None:
    base = EMPTY.extend(line(3), NOW)
    first = base.extend(line(2, base.records[-1], mark="a"), NOW)
    second = base.extend(line(3, base.records[-1], mark="b"), NOW)
    third = first.extend(line(1, first.records[-1], mark="c"), NOW)
    names = [[signed.record.name for signed in chain.records] for chain in (base, first, second, third)]
    assert names[0] == ["op-0", "op-1", "op-2"]
    assert names[1] == [*names[0], "a-0", "a-1"]
    assert names[2] == [*names[0], "b-0", "b-1", "b-2"]
    assert names[3] == [*names[1], "c-0"]
    assert second.records.position(first.tip) is None
    assert base.records.position(first.tip) is None
    assert first.records.position(first.tip) == 4


def test_records_are_a_sequence() -> None:
    chain = EMPTY.extend(line(5), NOW)
    chain.extend(line(2, chain.records[-1], mark="more"), NOW)
    records = chain.records
    assert records[-1].record.name == "op-4"
    assert [signed.record.name for signed in records[1:3]] == ["op-1", "op-2"]
    assert list(records[::-1]) == list(reversed(records))
    with pytest.raises(IndexError):
        records[5]


def test_steps() -> None:
    records = line(2 * VERIFIED_AT_ONCE + 10)
    steps = list(EMPTY.extending(records, NOW))
    assert [len(chain.records) for chain in steps] == [
        VERIFIED_AT_ONCE,
        2 * VERIFIED_AT_ONCE,
        2 * VERIFIED_AT_ONCE + 10,
    ]
    assert steps[-1].tip == EMPTY.extend(records, NOW).tip
    broken = [*records[: VERIFIED_AT_ONCE + 3], link(None, "x")]
    with pytest.raises(RecordError) as caught:
        list(EMPTY.extending(broken, NOW))
    assert caught.value.index == VERIFIED_AT_ONCE + 3


# Only pinned signers

PINNED_ONLY = Chain.empty(dataclasses.replace(trust(), pinned_only=True))
OTHER = signing("other", INTERMEDIATE)


def test_until_a_pinned_signer_has_signed_the_root_s_signer_counts() -> None:
    root = link(None)
    unpinned = "which the directory does not pin, and require_pinned_signers is set"
    for record in (link(root, by=OTHER), link(root, by=HD_1_ALT)):
        assert EMPTY.extend([root, record], NOW), "without the setting, any certificate of an administrator will do"
        refused(PINNED_ONLY, [root, record], unpinned, 1)
        refused(PINNED_ONLY.extend([root], NOW), [record], unpinned)
    others = link(root, "other", "certificates", pins(OTHER))
    own = link(others, "hd-1", "certificates", pins(HD_1))
    chain = PINNED_ONLY.extend([root, others, own], NOW)
    assert not chain.pinned
    assert chain.extend([link(own), link(link(own), by=OTHER)], NOW).pinned
    refused(chain, [link(own, by=HD_1_ALT)], "pins")
    refused(chain, [link(own, by=signing("third", INTERMEDIATE))], unpinned)


def test_once_a_pinned_signer_has_signed_only_those_count() -> None:
    root = link(None)
    others = link(root, "other", "certificates", pins(OTHER))
    theirs = link(others, by=OTHER)
    chain = PINNED_ONLY.extend([root, others, theirs], NOW)
    refused(chain, [link(theirs)], "does not pin")
    assert EMPTY.extend([root, others, theirs, link(theirs)], NOW)


@pytest.mark.parametrize("take", [submit, accept])
def test_a_directory_without_pins_that_had_some_stays_with_whom_it_had(take: Any) -> None:
    root = link(None, "hd-1", "certificates", pins(HD_1))
    given_up = link(root, "hd-1", "certificates")
    new = link(None, by=OTHER, at=NOW + minutes(1))
    chain = PINNED_ONLY.extend([root, given_up], NOW)
    refused(chain, [link(given_up)], "does not pin")
    with pytest.raises(RecordError, match="pins no certificate to sign with"):
        take(chain, [new])
    assert take(EMPTY.extend([root, given_up], NOW), [new]).tip == new.hash
    assert take(PINNED_ONLY.extend([link(None)], NOW), [new]).tip == new.hash


# Submitting


def test_submitting_extends_or_starts_anew() -> None:
    chain = submit(EMPTY, line(2))
    longer = submit(chain, [link(chain.records[-1], "x")])
    assert len(longer.records) == 3
    assert submit(chain, []) is chain
    anew = submit(longer, line(2, mark="new", at=NOW + minutes(1)))
    assert [signed.record.name for signed in anew.records] == ["new-0", "new-1"]
    assert list(anew.directory.entries) == ["new-0", "new-1"]
    assert list(chain.replacing_root([], NOW)) == []


@pytest.mark.parametrize("later", [0, -1])
def test_a_new_root_is_strictly_newer(later: int) -> None:
    chain = submit(EMPTY, line(2))
    with pytest.raises(
        RecordError, match=r"^record 0 \(new-0, .* must be dated after the present one \(2026-06"
    ) as caught:
        submit(chain, line(1, mark="new", at=NOW + timedelta(microseconds=later)))
    assert caught.value.index == 0


def test_a_new_root_satisfies_the_present_pins() -> None:
    chain = submit(EMPTY, [link(None, "hd-1", "certificates", pins(HD_1))])
    later = NOW + minutes(1)
    with pytest.raises(RecordError, match="but the present directory pins") as caught:
        submit(chain, [link(None, by=HD_1_ALT, at=later)])
    assert "sign with the pinned certificate" in caught.value.hint
    with pytest.raises(RecordError, match="hd-2 may not change the directory"):
        submit(chain, [link(None, by=HD_2, at=later)])
    root = link(None, at=later)
    assert len(submit(chain, [root, link(root, by=HD_1_ALT)]).records) == 2


def test_what_follows_a_new_root_is_checked_too() -> None:
    chain = submit(EMPTY, line(1))
    root = link(None, at=NOW + minutes(1))
    with pytest.raises(RecordError, match="hd-2") as caught:
        submit(chain, [root, link(root, by=HD_2)])
    assert caught.value.index == 1


def test_a_record_is_submitted_once() -> None:
    chain = submit(EMPTY, line(2))
    with pytest.raises(RecordError, match=r"^record 1 \(op-0, groups\) has the same content and date as") as caught:
        submit(chain, [link(chain.records[-1], "x"), link(chain.records[-1], "op-0", data=["op"])])
    assert caught.value.index == 1
    with pytest.raises(RecordError, match="has the same content and date as an earlier one"):
        submit(EMPTY, [link(None), link(link(None))])


def test_what_follows_another_record_than_the_tip_is_stale() -> None:
    chain = submit(EMPTY, line(2))
    with pytest.raises(StaleRecord, match=r"^record 0 \(x, groups\) is stale: it follows record \w{12}, but") as caught:
        submit(chain, [link(chain.records[0], "x")])
    assert caught.value.index == 0
    with pytest.raises(StaleRecord, match="the last one is none: the chain is empty"):
        submit(EMPTY, [chain.records[1]])


# Following


def test_following_from_nothing_and_on() -> None:
    records = line(4)
    chain = accept(EMPTY, records[:2])
    assert len(chain.records) == 2
    assert accept(chain, []) is chain
    chain = accept(chain, records[2:])
    assert chain.tip == records[-1].hash


def test_a_whole_list_with_our_root_continues_our_chain() -> None:
    records = line(4)
    chain = accept(EMPTY, records[:2])
    assert len(accept(chain, records).records) == 4
    assert accept(chain, records[:2]) is chain
    assert list(chain.accepting(records[:2], NOW)) == []


def test_another_history_from_the_same_root_is_refused() -> None:
    records = line(3)
    chain = accept(EMPTY, records)
    other = [records[0], *line(3, records[0], mark="other")]
    spliced = [records[0], link(records[0], "x"), dataclasses.replace(records[2])]
    for answer in (other, spliced):
        with pytest.raises(RecordError, match="another history from the same root") as caught:
            accept(chain, answer)
        assert caught.value.index is None


def test_a_service_directory_that_was_set_back_is_named_as_that() -> None:
    records = line(3)
    chain = accept(EMPTY, records)
    for count in (1, 2):
        with pytest.raises(RecordError, match=f"was set back: it lacks {3 - count} record") as caught:
            accept(chain, records[:count])
        assert caught.value.reason is Reason.DIRECTORY_SET_BACK
        assert records[-1].hash[:12] in caught.value.message
        assert "sd store import" in caught.value.hint


def test_a_newer_root_replaces_and_an_older_one_does_not() -> None:
    chain = accept(EMPTY, line(2))
    newer = line(2, mark="new", at=NOW + minutes(1))
    replaced = accept(chain, newer)
    assert replaced.tip == newer[-1].hash
    assert list(replaced.directory.entries) == ["new-0", "new-1"]
    for at in (NOW, NOW - minutes(1)):
        with pytest.raises(RecordError, match="must be dated after the present one"):
            accept(chain, line(2, mark="old", at=at))


def pinned_chain() -> Chain:
    """A chain that pins hd-1's signing certificate, and was changed a minute after its root."""
    root = link(None, "hd-1", "certificates", pins(HD_1))
    return EMPTY.extend([root, link(root, "op", at=NOW + minutes(1))], NOW)


@pytest.mark.parametrize("take", [submit, accept])
def test_a_new_root_is_one_that_the_present_chain_vouches_for(take: Any) -> None:
    chain, later = pinned_chain(), NOW + minutes(2)
    with pytest.raises(RecordError, match=r"but the present directory pins \w{12} as the one that hd-1") as caught:
        take(chain, [link(None, by=HD_1_ALT, at=later)])
    assert caught.value.index == 0
    with pytest.raises(RecordError, match="for whom the present directory pins no certificate to sign with"):
        take(chain, [link(None, by=signing("other", INTERMEDIATE), at=later)])
    with pytest.raises(RecordError, match="not after the present last record"):
        take(chain, [link(None, "x", at=NOW + minutes(1))])
    assert take(chain, [link(None, at=later)]).tip != chain.tip


@pytest.mark.parametrize("take", [submit, accept])
def test_a_key_that_was_rotated_out_starts_no_new_chain(take: Any) -> None:
    """The certificate was valid when the root says that it was signed: dating it back must not help."""
    old = signing("hd-1", INTERMEDIATE, end=NOW - timedelta(days=1))
    before = NOW - timedelta(days=2)
    root = link(None, "hd-1", "certificates", pins(old), by=old, at=before)
    expired = EMPTY.extend([root], NOW)
    back = link(None, "x", by=old, at=before + minutes(1))
    with pytest.raises(RecordError, match="which is not valid any more"):
        take(expired, [back])
    rotated = expired.extend([link(root, "hd-1", "certificates", pins(old, HD_1), by=old, at=before)], NOW)
    with pytest.raises(RecordError, match="pins"):
        take(rotated, [back])
    assert take(rotated, [link(None)]).tip != rotated.tip


@pytest.mark.parametrize("take", [submit, accept])
def test_a_chain_that_pins_no_signer_is_replaced_by_any_newer_root(take: Any) -> None:
    chain = EMPTY.extend([link(None, "hd-1", "certificates", pins(HD_1, usage="encryption"))], NOW)
    assert take(chain, [link(None, by=signing("other", INTERMEDIATE), at=NOW + minutes(1))]).root != chain.root


def test_a_root_is_accepted_by_hand_for_its_signer_only() -> None:
    chain, later = pinned_chain(), NOW + minutes(2)
    root, forged = link(None, by=HD_1_ALT, at=later), link(None, by=signing("hd-1", INTERMEDIATE), at=later)
    assert root.hash == forged.hash
    trusted = [TrustedRoot(root.hash, fingerprint_of(HD_1_ALT.certificate))]
    assert last(chain.accepting([root], NOW, trusted), chain).tip == root.hash
    with pytest.raises(RecordError, match="pins") as caught:
        last(chain.accepting([forged], NOW, trusted), chain)
    assert f"eps sd trust-root {root.hash}" in caught.value.hint
    older = link(None, by=HD_1_ALT, at=NOW - minutes(1))
    with pytest.raises(RecordError, match="must be dated after the present one"):
        last(chain.accepting([older], NOW, [TrustedRoot(older.hash, trusted[0].signer)]), chain)


def test_a_newer_chain_that_does_not_verify_changes_nothing() -> None:
    chain = accept(EMPTY, line(2))
    root = link(None, at=NOW + minutes(1))
    with pytest.raises(RecordError) as caught:
        accept(chain, [root, link(root, by=HD_2)])
    assert caught.value.index == 1
    assert len(chain.records) == 2


def test_the_links_say_the_order() -> None:
    old, new = line(3), line(3, mark="new", at=NOW + minutes(1))
    assert in_order([old[2], new[0], old[1], new[2], old[0], new[1]]) == [*new, *old]
    assert in_order([]) == []


def test_what_the_links_leave_open_has_no_order() -> None:
    old, new = line(3), line(3, mark="new", at=NOW + minutes(1))
    assert in_order([old[0], old[2]]) is None
    assert in_order([*old, *new[1:]]) is None
    assert in_order([*old, link(old[0], "other")]) is None


def test_of_several_chains_in_a_list_the_newest_counts() -> None:
    old, new = line(3), line(3, mark="new", at=NOW + minutes(1))
    oldest = line(2, mark="oldest", at=NOW - minutes(1))
    mixed = [old[0], new[0], old[1], oldest[0], new[1], oldest[1], old[2], new[2]]
    assert pick_newest_root(mixed) == new
    assert pick_newest_root(list(reversed([*old, *new]))[-6:][::-1]) == new
    assert pick_newest_root([*old, *new, *oldest]) == new
    assert pick_newest_root([*new, *old]) == new
    assert accept(EMPTY, mixed).tip == new[-1].hash
    same_age = line(1, mark="same")
    assert pick_newest_root([*old, *same_age]) == old
    assert pick_newest_root([]) == []


def test_a_record_without_its_parent_is_not_passed_over() -> None:
    records = line(4)
    with_hole = [records[0], records[1], records[3]]
    assert pick_newest_root(with_hole) == with_hole
    with pytest.raises(RecordError, match="stale") as caught:
        accept(EMPTY, with_hole)
    assert caught.value.index == 2
    with pytest.raises(RecordError, match="does not begin with a root"):
        accept(EMPTY, records[1:])


def test_a_tail_that_runs_into_a_new_root_is_followed() -> None:
    chain = accept(EMPTY, line(2))
    tail = line(2, chain.records[-1], mark="more")
    newer = line(2, mark="new", at=NOW + minutes(1))
    assert accept(chain, [*tail, *newer]).tip == newer[-1].hash
    assert pick_newest_root([*line(1, chain.records[-1], at=NOW + minutes(2)), *newer]) == newer
    with pytest.raises(RecordError, match="stale"):
        accept(chain, line(2, tail[0]))


# Cost


def cpu(chain: Chain, records: Sequence[SignedRecord]) -> float:
    """The least CPU time of some attempts, in seconds."""
    times = []
    for _ in range(3):
        began = time.process_time()
        chain.extend(records, NOW)
        times.append(time.process_time() - began)
    return min(times)


def test_the_cost_is_that_of_the_new_records() -> None:
    records = line(4500)
    short, long = cpu(EMPTY, records[:500]), cpu(EMPTY.extend(records[:4000], NOW), records[4000:])
    assert short < 0.5, "1,000 records must be verified in well under a second"
    assert long < 2 * short + 0.05


def test_a_step_is_short() -> None:
    records = line(VERIFIED_AT_ONCE)
    assert cpu(EMPTY, records) < 0.05

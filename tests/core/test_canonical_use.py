"""Canonical signatures in a chain: verified where they are, demanded from a date on, told where they stop."""

import dataclasses
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from eps.core.canonical import canonical_json
from eps.core.canonical_use import Lapse
from eps.core.certificate import CLOCK_TOLERANCE
from eps.core.chain import Chain
from eps.core.instant import instant_of
from eps.core.record import Ecdsa, SignedRecord, parse_change_record, parse_signed_record, signed_payload
from eps.core.signature import TrustStore
from eps.errors import BadParams, RecordError
from support.record_tools import (
    ADMIN,
    NOW,
    chain_of,
    group_record,
    sign_chain,
    signer,
    signing_pin_record,
    trust,
    without_canonical,
)

DAY = timedelta(days=1)
LATER = NOW + 10 * DAY
OTHER = signer("other")

ONE = {"p": {"a": "1"}, "q": "z"}
TWO = {"q": {"a": "1", "z": "p"}}
"""Free-form values with the same bytes."""


def demanding(since: datetime = NOW) -> Chain:
    store = trust()
    return Chain.empty(TrustStore(store.roots, store.intermediates, canonical_from=instant_of(since)))


def behind(chain: Chain, name: str, *, at: datetime = NOW, drop: bool = False, by: object = ADMIN) -> SignedRecord:
    (made,) = sign_chain([group_record(name, "g", at=at)], chain.tip, by)  # type: ignore[arg-type]
    return without_canonical([made])[0] if drop else made


def extended(chain: Chain, *records: SignedRecord) -> Chain:
    return chain.extend(records, LATER)


def setting(value: object) -> SignedRecord:
    item = {"service": "x", "settings": value}
    record = {"name": "op", "section": "settings", "data": [item], "created_at": NOW.isoformat()}
    return sign_chain([record])[0]


def test_who_hands_a_record_on_can_show_no_second_reading_of_it() -> None:
    honest = setting(ONE)
    forged = dataclasses.replace(honest, record=parse_change_record(setting(TWO).record.to_json()))
    assert forged.record.hash() == honest.hash
    with pytest.raises(RecordError, match="the canonical signature is not one that admin made over this content"):
        extended(demanding(), forged)
    with pytest.raises(RecordError, match="bears no canonical signature"):
        extended(demanding(), *without_canonical([forged]))
    assert extended(demanding(), honest).directory.service_settings("op", "x", "any") == ONE
    # Why it is demanded: where it isn't, nobody can tell.
    assert extended(Chain.empty(trust()), *without_canonical([forged])).tip == honest.hash


def test_it_is_one_over_the_place_in_the_chain_too() -> None:
    first = chain_of(1)[0]
    here, elsewhere = (sign_chain([group_record("moved")], parent)[0] for parent in (first.hash, ""))
    assert here.hash == elsewhere.hash
    mixed = dataclasses.replace(here.signature, canonical=elsewhere.signature.canonical)
    with pytest.raises(RecordError, match="the canonical signature is not one that admin made"):
        extended(Chain.empty(trust()), first, dataclasses.replace(here, signature=mixed))
    assert extended(Chain.empty(trust()), first, here).tip == here.hash


def test_any_program_can_verify_it(tmp_path: Path) -> None:
    """It is ECDSA with SHA-256 over the text, as OpenSSL does it."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    (made,) = chain_of(1)
    assert made.signature.canonical is not None
    numbers = encode_dss_signature(int(made.signature.canonical.r), int(made.signature.canonical.s))
    text = canonical_json(signed_payload(made.hash, made.parent_hash, made.record))
    assert text.startswith(b'{"hash":"' + made.hash.encode() + b'","parent_hash":"","record":{"created_at":')
    for name, content in (
        ("key", ADMIN.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        ("sig", numbers),
        ("text", text),
    ):
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "sig", "text"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, b"Verified OK\n")


def test_numbers_and_depth_that_libraries_refuse() -> None:
    deep: object = 1637000000000000001
    for _ in range(998):
        deep = [deep]
    record = setting({"v": deep, "z": [-0.0, 1e300]})
    again = parse_signed_record(record.to_json())
    assert extended(demanding(), again).directory.marked == 0
    changed = dataclasses.replace(again.signature, canonical=Ecdsa("1" * 20, "1" * 20))
    with pytest.raises(RecordError, match="canonical signature"):
        extended(demanding(), dataclasses.replace(again, signature=changed))


# Demanded


def test_from_a_date_on_none_goes_without() -> None:
    before = sign_chain([group_record("a", "g", at=NOW - DAY)])
    chain = extended(demanding(), *without_canonical(before))
    assert not chain.canonical.demanded
    with pytest.raises(RecordError) as caught:
        extended(chain, behind(chain, "b", at=NOW, drop=True))
    assert caught.value.message.endswith(
        ") is refused: it is of 2026-11-22T12:00:00Z, by admin, and bears no canonical signature, which "
        "require_canonical_signatures demands, from 2026-11-22T12:00:00Z on"
    )
    assert "or set a date after this record" in caught.value.hint
    assert extended(chain, behind(chain, "b", at=NOW)).canonical.demanded
    assert extended(chain, behind(chain, "b", at=NOW - timedelta(microseconds=1), drop=True))


def test_an_earlier_date_behind_such_a_record_is_no_way_out() -> None:
    chain = extended(demanding(), behind(demanding(), "a", at=NOW + DAY))
    for earlier in (NOW - DAY, NOW - timedelta(hours=1)):
        with pytest.raises(RecordError, match="bears no canonical signature"):
            extended(chain, behind(chain, "b", at=earlier, drop=True))
        extended(chain, behind(chain, "b", at=earlier))


def test_nor_is_a_new_chain() -> None:
    chain = extended(demanding(NOW + DAY), behind(demanding(), "a", at=NOW - DAY))
    chain = extended(chain, behind(chain, "b", at=NOW + DAY))
    root = sign_chain([group_record("new", "g", at=NOW)])
    with pytest.raises(RecordError, match="bears no canonical signature"):
        list(chain.accepting(without_canonical(root), LATER))
    *_, replaced = chain.accepting(root, LATER)
    assert list(replaced.directory.entries) == ["new"]
    assert replaced.canonical.demanded


def test_one_batch_or_record_by_record_is_the_same() -> None:
    records = chain_of(3, at=NOW - timedelta(microseconds=1))
    mixed = [*without_canonical(records[:1]), records[1], *without_canonical(records[2:])]
    with pytest.raises(RecordError, match=r"^record 2 "):
        demanding().extend(mixed, LATER)
    chain = demanding()
    for record in mixed[:2]:
        chain = extended(chain, record)
    with pytest.raises(RecordError, match="bears no canonical signature"):
        extended(chain, mixed[2])


# Told


def test_who_stops_signing_canonically_is_known_until_he_does_again() -> None:
    chain = extended(Chain.empty(trust()), behind(Chain.empty(trust()), "a", drop=True))
    assert (chain.canonical.signers, chain.canonical.lapses) == (frozenset(), frozenset())
    chain = extended(chain, behind(chain, "b"))
    chain = extended(chain, behind(chain, "c", drop=True, by=OTHER))
    assert (chain.canonical.signers, chain.canonical.lapses) == ({"admin"}, frozenset())
    first = behind(chain, "d", drop=True)
    chain = extended(chain, first)
    chain = extended(chain, behind(chain, "e", drop=True))
    assert (chain.canonical.signers, chain.canonical.lapses) == (frozenset(), {Lapse(ADMIN.subject.name, first.hash)})
    chain = extended(chain, behind(chain, "f"))
    assert (chain.canonical.signers, chain.canonical.lapses) == ({"admin"}, frozenset())


def test_a_new_chain_begins_with_what_was_known() -> None:
    chain = extended(Chain.empty(trust()), *sign_chain([signing_pin_record(ADMIN)]))
    *_, replaced = chain.accepting(without_canonical(chain_of(1, at=NOW + DAY)), LATER)
    ((who, record),) = replaced.canonical.lapses
    assert (who, record) == ("admin", replaced.tip)


# The form


def test_it_is_kept_where_it_is_and_absent_where_it_is_not() -> None:
    (made,) = chain_of(1)
    value = made.to_json()
    assert list(value["signature"]) == ["r", "s", "c", "canonical"]
    assert list(value["signature"]["canonical"]) == ["r", "s"]
    assert parse_signed_record(value).to_json() == value
    for none in (None, "absent"):
        signature = {**value["signature"], "canonical": none}
        if none:
            del signature["canonical"]
        assert parse_signed_record({**value, "signature": signature}) == without_canonical([made])[0]


@pytest.mark.parametrize(
    ("canonical", "where"),
    [
        ("x", r"signature\.canonical: must be an object"),
        ({"r": "1" * 20}, r"signature\.canonical\.s: must be a string"),
    ],
    ids=["text", "half"],
)
def test_what_is_none_is_refused(canonical: object, where: str) -> None:
    value = chain_of(1)[0].to_json()
    with pytest.raises(BadParams, match=where):
        parse_signed_record({**value, "signature": {**value["signature"], "canonical": canonical}})


def test_the_clock_plays_no_part() -> None:
    """A date is one in records: nothing is demanded because a day has come, and no chain fails because of it."""
    chain = extended(demanding(NOW + DAY), *without_canonical(chain_of(2)))
    far = NOW + 300 * DAY + CLOCK_TOLERANCE
    assert chain.extend(without_canonical([behind(chain, "late")]), far)

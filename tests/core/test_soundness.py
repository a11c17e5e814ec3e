"""What of a record depends on it alone, and that nothing else is taken on trust with it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from eps.core.chain import SOUND_AT_ONCE, VERIFIED_AT_ONCE, Chain
from eps.core.record import SignedRecord
from eps.core.signature import Signer
from eps.core.soundness import Sound, is_sound
from eps.errors import RecordError
from support.record_tools import (
    ADMIN,
    NOW,
    STRANGER,
    chain_of,
    group_record,
    sign_chain,
    signer,
    signing_pin_record,
    trust,
    without_canonical,
)

EMPTY = Chain.empty(trust())


def forged(records: list[SignedRecord]) -> SignedRecord:
    """The last one with the signature of the one before."""
    return replace(records[-1], signature=records[-2].signature)


def odd() -> list[SignedRecord]:
    """A chain whose last record empties its section: one of its groups is no name."""
    return sign_chain([group_record("a", "g"), group_record("a", "", at=NOW + timedelta(seconds=1))])


@pytest.mark.parametrize(
    ("make", "sound"),
    [
        (lambda: chain_of(1)[0], True),
        (lambda: without_canonical(chain_of(1))[0], True),
        (lambda: replace(chain_of(1)[0], hash=chain_of(2)[1].hash), False),
        (lambda: forged(chain_of(2)), False),
        (lambda: replace(chain_of(2)[1], parent_hash=""), False),
        (lambda: chain_of(1, by=signer(authority=STRANGER))[0], False),
        (lambda: chain_of(1, at=NOW + timedelta(days=9_000))[0], False),
        (lambda: odd()[1], False),
    ],
    ids=["honest", "without a second signature", "another hash", "another's signature", "moved", "a stranger's",
         "after the certificate", "it empties its section"],
)  # fmt: skip
def test_which_are_sound(make: Callable[[], SignedRecord], sound: bool) -> None:
    assert is_sound(make(), trust()) is sound


def test_these_objects_are_meant_and_no_others_like_them() -> None:
    records = chain_of(2)
    sound = Sound(records)
    assert len(sound) == 2 and all(one in sound for one in records)
    assert replace(records[0]) not in sound


def test_what_is_not_among_the_sound_ones_is_verified() -> None:
    """Though it has the hash of one that is."""
    records = chain_of(3)
    trusting, looking = (EMPTY.extend(records, NOW, sound=sound) for sound in (Sound(records), Sound()))
    assert (trusting.directory, trusting.odd) == (looking.directory, looking.odd)
    with pytest.raises(RecordError, match="is not one that"):
        EMPTY.extend([*records[:2], forged(records)], NOW, sound=Sound(records))


def behind_a_pin(by: Signer) -> list[SignedRecord]:
    pin = sign_chain([signing_pin_record(ADMIN)])
    return pin + chain_of(1, parent=pin[0].hash, by=by)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: [chain_of(3)[0], chain_of(3)[2]], "is stale"),
        (lambda: chain_of(2)[1:], "does not begin with a root"),
        (lambda: chain_of(1, at=NOW + timedelta(hours=1)), "dated .* ahead|ahead of the clock"),
        (lambda: chain_of(1, by=signer("x", groups=("other",))), "may not change the directory"),
        (lambda: behind_a_pin(by=signer()), "the directory pins"),
    ],
    ids=["a gap", "no root", "a root ahead of time", "no administrator", "not the pinned certificate"],
)  # fmt: skip
def test_what_the_chain_says_is_looked_at_all_the_same(make: Callable[[], list[SignedRecord]], why: str) -> None:
    records = make()
    with pytest.raises(RecordError, match=why):
        EMPTY.extend(records, NOW, sound=Sound(records))


def test_who_submits_vouches_for_nothing() -> None:
    records = chain_of(2)
    records[1] = forged(records)
    assert EMPTY.extend(records, NOW, sound=Sound(records)).tip, "as a follower"
    with pytest.raises(RecordError, match="is not one that"):
        EMPTY.extend(records, NOW, admit=lambda *_: "", sound=Sound(records))


def test_odd_ones_are_remembered_by_where_they_are() -> None:
    chain = EMPTY.extend(odd(), NOW)
    assert chain.odd == (1,)
    more = sign_chain([group_record("b", "", at=NOW + timedelta(seconds=2))], parent=chain.tip)
    assert chain.extend(more, NOW).odd == (1, 2)
    assert EMPTY.extend(chain_of(2), NOW).odd == ()


def test_steps_are_longer_while_all_is_sound() -> None:
    count = 2 * SOUND_AT_ONCE + 10
    records = chain_of(1) * count  # only counted
    steps: list[int] = []

    class Counting(Chain):
        def extend(self, records, now, **_):  # type: ignore[no-untyped-def]
            steps.append(len(records))
            return self

    list(Counting(trust()).extending(records, NOW, sound=Sound(records[:1])))
    assert steps == [SOUND_AT_ONCE, SOUND_AT_ONCE, 10]
    steps.clear()
    list(Counting(trust()).extending(records[: 2 * VERIFIED_AT_ONCE], NOW))
    assert steps == [VERIFIED_AT_ONCE, VERIFIED_AT_ONCE]

"""Nothing is signed onto a service directory that lacks what this operator has verified."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from eps.core.chain import Chain
from eps.core.names import RecordHash
from eps.core.new_root import TrustedRoot
from eps.core.record import SignedRecord
from eps.errors import RecordError
from eps.programs.admin.set_back import check_not_set_back
from support.record_tools import NOW, STRANGER, as_json, chain_of, sign_chain, signer, signing_pin_record, trust

LATER = NOW + timedelta(seconds=1)
RECORDS = chain_of(4)
VERIFIED = Chain.empty(trust()).extend(RECORDS[:3], NOW)


class Shown:
    """A service directory that shows these records; ``forgets``: it answers [] to hashes of older chains."""

    def __init__(self, records: Sequence[SignedRecord], *, forgets: bool = False) -> None:
        self.records = records
        self.forgets = forgets

    async def ask(self, after: str) -> Sequence[object]:
        hashes = [record.hash for record in self.records]
        if after in hashes:
            return as_json(self.records[hashes.index(RecordHash(after)) + 1 :])
        return [] if after and self.forgets else as_json(self.records)

    async def check(self, tip: str | None = None) -> Chain:
        tip = self.records[-1].hash if tip is None else tip
        return await check_not_set_back(VERIFIED, RecordHash(tip), self.ask, LATER)

    async def refusal(self, tip: str | None = None) -> str:
        with pytest.raises(RecordError) as caught:
            await self.check(tip)
        assert "docs/howto-recover-directory.md" in caught.value.hint
        return caught.value.message


async def test_what_is_the_same_or_goes_on_is_good() -> None:
    assert await Shown(RECORDS[:3]).check() is VERIFIED
    assert (await Shown(RECORDS).check()).tip == RECORDS[3].hash


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_new_root_is_followed(forgets: bool) -> None:
    newer = chain_of(1, name="new", at=LATER)
    assert (await Shown(newer, forgets=forgets).check()).tip == newer[0].hash


async def test_a_root_counts_that_was_accepted_by_hand() -> None:
    """The administrator has lost the key, and accepted the new one for the own server before it was started again."""
    old, new = signer(), signer("other")
    verified = Chain.empty(trust()).extend(sign_chain([signing_pin_record(old)], by=old), NOW)
    shown = Shown(chain_of(2, name="new", at=LATER, by=new))
    tip = shown.records[-1].hash
    with pytest.raises(
        RecordError, match=r"a new root by other, .* for whom the present directory pins no certificate"
    ):
        await check_not_set_back(verified, tip, shown.ask, LATER)
    trusted = [TrustedRoot(shown.records[0].hash, new.subject.fingerprint)]
    assert (await check_not_set_back(verified, tip, shown.ask, LATER, trusted)).tip == tip


async def test_an_empty_or_older_one_is_refused() -> None:
    last = f"{RECORDS[2].hash[:12]} of {RECORDS[2].record.created_at}"
    message = await Shown([]).refusal("")
    assert message == f"the service directory is empty, but this operator has verified 3 records of it, up to {last}"
    message = await Shown(RECORDS[:1]).refusal()
    assert "was set back: of what this operator has verified, it has only 1 of the 3 records" in message
    assert message.endswith(f"what is missing ends with {last}")


async def test_a_fork_and_what_is_not_verified_are_refused() -> None:
    fork = [*RECORDS[:2], *chain_of(2, parent=RECORDS[1].hash, name="fork")]
    assert "now shows another history from the same root" in await Shown(fork).refusal()
    assert "must be dated after the present one" in await Shown(chain_of(1, name="x")).refusal()
    foreign = [*RECORDS[:3], *chain_of(1, parent=RECORDS[2].hash, name="foreign", by=signer(authority=STRANGER))]
    assert "is not believed: record 0" in await Shown(foreign).refusal()
    assert "but does not show it" in await Shown(RECORDS[:3]).refusal("f" * 64)

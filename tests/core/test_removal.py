"""An operator that is taken out of the directory, and what an empty section would leave open."""

from datetime import timedelta

import pytest

from eps.core.chain import Chain
from eps.core.entries import Directory, Entry
from eps.core.names import Object, Operator
from eps.core.record import parse_change_record
from eps.core.removal import NOBODYS_PIN, is_removed, removal
from eps.errors import RecordError
from support.record_tools import ADMIN, NOW, group_record, sign_chain, signer, signing_pin_record, trust

GONE = signer("gone")
"""An administrator, until she is removed."""

LATER = NOW + timedelta(seconds=1)


def dated(records: list[Object]) -> list[Object]:
    return [record | {"created_at": LATER.isoformat()} for record in records]


@pytest.fixture
def chain() -> Chain:
    """Both administrators are pinned, and both sign."""
    pins = [signing_pin_record(ADMIN), signing_pin_record(GONE), group_record("gone", "g")]
    chain = Chain.empty(trust()).extend(sign_chain(pins), NOW)
    return chain.extend(sign_chain([group_record("x", "by gone")], chain.tip, GONE), NOW)


def entry_of(chain: Chain, name: str) -> Entry:
    return chain.directory.entries[Operator(name)]


def test_an_empty_section_unpins_and_her_old_certificate_signs_again(chain: Chain) -> None:
    emptied = dated([{"name": "gone", "section": "certificates", "data": []}])
    chain = chain.extend(sign_chain(emptied, chain.tip), LATER)
    assert entry_of(chain, "gone").signing_pin is None
    chain = chain.extend(sign_chain([group_record("x", "taken over", at=LATER)], chain.tip, GONE), LATER)
    assert entry_of(chain, "x").groups == ("taken over",)


def test_a_pin_that_nobody_can_meet_ends_it(chain: Chain) -> None:
    chain = chain.extend(sign_chain(dated(removal(entry_of(chain, "gone"))), chain.tip), LATER)
    assert is_removed(entry_of(chain, "gone")) and entry_of(chain, "gone").signing_pin == NOBODYS_PIN
    assert entry_of(chain, "x").groups == ("by gone",), "what she signed before stays"
    for other in (GONE, signer("gone")):  # another certificate of the same name is none either
        with pytest.raises(RecordError, match=r"gone used certificate .* but the directory pins 000000000000"):
            chain.extend(sign_chain([group_record("x", "taken over", at=LATER)], chain.tip, other), LATER)
    root = sign_chain([group_record("x", "taken over", at=LATER + timedelta(seconds=1))], "", GONE)
    with pytest.raises(RecordError, match="the present directory pins 000000000000 as the one that gone signs with"):
        list(chain.accepting(root, LATER + timedelta(seconds=1)))


def test_who_removes_can_take_somebody_in_again(chain: Chain) -> None:
    chain = chain.extend(sign_chain(dated(removal(entry_of(chain, "gone"))), chain.tip), LATER)
    chain = chain.extend(sign_chain([signing_pin_record(GONE, LATER + timedelta(seconds=1))], chain.tip), LATER)
    chain = chain.extend(sign_chain([group_record("x", "again", at=LATER)], chain.tip, GONE), LATER)
    assert entry_of(chain, "x").groups == ("again",)


def test_every_section_is_emptied_the_pins_first() -> None:
    sections: dict[str, list[object]] = {
        "groups": ["g"],
        "channels": [{"type": "grpc_client"}],
        "services": [{"name": "s"}],
        "settings": [{"settings": {}}],
        "preferences": [{"settings": {}}],
        "certificates": [{"fingerprint": "a" * 64, "key_usage": "encryption"}],
    }
    values = [
        {"name": "a", "section": key, "data": data, "created_at": NOW.isoformat()} for key, data in sections.items()
    ]
    entry = Directory.from_records(map(parse_change_record, values)).entries[Operator("a")]
    records = removal(entry)
    assert records[0]["section"] == "certificates" and {one["section"] for one in records} == set(sections)
    after = Directory.from_records(map(parse_change_record, [*values, *dated(records)])).entries[Operator("a")]
    assert is_removed(after) and not is_removed(entry) and removal(after) == []
    assert after.pins == frozenset() and not after.channels
    assert not is_removed(Entry(Operator("a"))) and len(removal(Entry(Operator("a")))) == 1

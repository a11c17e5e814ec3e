"""How far a directory had come, and whether what is there now is less."""

from datetime import timedelta

import pytest

from eps.core.chain import Chain
from eps.core.high_water import HighWater
from eps.core.names import Object
from support.record_tools import NOW, chain_of, trust

EMPTY = Chain.empty(trust())
RECORDS = chain_of(4)
WHOLE = EMPTY.extend(RECORDS, NOW + timedelta(seconds=9))
MARK = HighWater.of(EMPTY.extend(RECORDS[:3], NOW))
assert MARK is not None


def test_a_mark_is_of_the_last_record_and_an_empty_chain_has_none() -> None:
    assert HighWater.of(EMPTY) is None
    assert (MARK.root, MARK.tip, MARK.records) == (RECORDS[0].hash, RECORDS[2].hash, 3)
    assert MARK.date == RECORDS[2].record.created_at
    assert HighWater.from_json(MARK.to_json()) == MARK


@pytest.mark.parametrize(
    "wrong", [{}, {"root": 1}, {"tip": None}, {"date": 3}, {"records": 0}, {"records": True}, {"records": "3"}]
)
def test_what_is_no_mark_counts_as_none(wrong: Object) -> None:
    assert HighWater.from_json(MARK.to_json() | wrong if wrong else {}) is None


def test_the_same_and_what_goes_on_are_not_less() -> None:
    assert MARK.lost(RECORDS[:3]) == ""
    assert MARK.lost(WHOLE.records) == ""


def test_what_is_less_says_in_which_way() -> None:
    had = f"it had 3 records up to {MARK.tip[:12]} of {MARK.date}"
    assert MARK.lost(EMPTY.records) == f"it is empty, and {had}"
    first = RECORDS[0]
    shorter = f"it has 1 record up to {first.hash[:12]} of {first.record.created_at}, and {had}"
    assert MARK.lost(RECORDS[:1]) == f"it is shorter than it was: {shorter}"
    fork = chain_of(2, parent=RECORDS[1].hash, name="fork", at=NOW + timedelta(seconds=1))
    forked = EMPTY.extend([*RECORDS[:2], *fork], NOW + timedelta(seconds=9))
    assert MARK.lost(forked.records).startswith("it has another history than it had: it has 4 records up to ")
    other = EMPTY.extend(chain_of(5, name="other"), NOW)
    assert MARK.lost(other.records).startswith("it holds another directory, begun with ")

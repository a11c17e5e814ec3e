"""A store rebuilt from a verified copy: what is added, what would be lost, what is refused."""

from collections.abc import Sequence
from datetime import timedelta

from eps.core.chain import Chain
from eps.core.record import SignedRecord
from eps.programs.admin.recovery import Plan, plan_import
from support.record_tools import NOW, chain_of, trust

RECORDS = chain_of(4)
FORK = chain_of(2, parent=RECORDS[1].hash, name="fork")


def chain(records: Sequence[SignedRecord]) -> Chain:
    return Chain.empty(trust()).extend(records, NOW + timedelta(seconds=1))


def test_what_is_missing_is_added() -> None:
    assert plan_import(chain(RECORDS[:2]), chain(RECORDS)) == Plan(RECORDS[2:])
    assert plan_import(chain(RECORDS), chain(RECORDS)) == Plan([])


def test_into_an_empty_store_all_of_it_goes() -> None:
    assert plan_import(chain([]), chain(RECORDS)) == Plan(None)


def test_what_would_be_lost_is_named() -> None:
    assert plan_import(chain([*RECORDS[:2], *FORK]), chain(RECORDS)) == Plan(None, FORK)
    assert plan_import(chain(RECORDS), chain(RECORDS[:3])) == Plan(None, RECORDS[3:])
    other = chain_of(2, name="other")
    assert plan_import(chain(other), chain(RECORDS)) == Plan(None, other)

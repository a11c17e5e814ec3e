"""Working through many records in slices."""

import asyncio
import gc

import pytest

from eps.core.chain import Chain
from eps.directory.slices import MANY, SLICE, last_chain, many_objects, read_records
from eps.errors import BadParams, RecordError
from support.promptness import A_TURN, shortest_longest_turn
from support.record_tools import NOW, as_json, chain_of, sign_chain, trust


async def test_others_get_their_turn() -> None:
    turns, chain = 0, chain_of(3 * SLICE)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    records = await read_records(as_json(chain))
    assert turns >= 3
    turns = 0
    empty = Chain.empty(trust())
    done = await last_chain(empty.extending(records, NOW), empty)
    assert turns >= 3
    assert done.tip == chain[-1].hash
    task.cancel()


async def test_large_records_hold_nobody_up() -> None:
    """Neither while they are read, which whoever answers or submits can cause, nor while they are verified."""
    settings = {"a": {f"k{number}": number for number in range(100_000)}}
    data = [{"environment": "", "operator": "", "service": "x", "settings": settings}]
    values = as_json(
        sign_chain([{"name": "large", "section": "settings", "data": data, "created_at": NOW.isoformat()}])
    )
    empty = Chain.empty(trust())

    async def read(_: int) -> None:
        records = await read_records(values)
        done = await last_chain(empty.extending(records, NOW), empty, records)
        assert done.tip == values[0]["hash"]

    assert await shortest_longest_turn(read) < A_TURN


async def test_nothing_to_do_leaves_the_chain_itself() -> None:
    empty = Chain.empty(trust())
    assert await last_chain(empty.extending([], NOW), empty) is empty
    assert await read_records([]) == []


async def test_the_index_counts_from_the_beginning() -> None:
    chain, empty = chain_of(2 * SLICE), Chain.empty(trust())
    with pytest.raises(RecordError) as caught:
        await last_chain(empty.extending(chain[:-2] + chain[-1:], NOW), empty)
    assert caught.value.index == 2 * SLICE - 2
    values = as_json(chain)
    values[-1]["hash"] = ""
    with pytest.raises(BadParams, match=rf"records\[{2 * SLICE - 1}\]\.hash: .* \(operator 'op-"):
        await read_records(values)
    with pytest.raises(BadParams, match=r"records\[0\]: must be an object, not a number \(see"):
        await read_records([3])


def rest_and_fail() -> None:
    with many_objects(MANY):
        assert not gc.isenabled()
        with many_objects(MANY):
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ZeroDivisionError


def test_the_collector_rests_for_many_records_only() -> None:
    assert gc.isenabled()
    with many_objects(MANY - 1):
        assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        rest_and_fail()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_records_that_came_one_by_one_are_spared_too() -> None:
    with many_objects(MANY):
        pass
    gc.unfreeze()
    for _ in range(MANY - 1):
        with many_objects(1):
            pass
    assert gc.get_freeze_count() == 0
    refused = pytest.raises(ZeroDivisionError)
    with refused, many_objects(1):
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0, "what was refused is not kept"
    with many_objects(1):
        pass
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_a_collector_that_somebody_switched_off_stays_off() -> None:
    gc.disable()
    try:
        with many_objects(MANY):
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()

"""When Python's cycle collector looks at what."""

import asyncio
import gc

import pytest

from eps.programs.running.collector import (
    FEW,
    FULL_AFTER,
    FULL_PER_SECOND,
    MANY,
    MOST,
    MOST_LARGE,
    PATIENCE_SECONDS,
    Pace,
    collect_at_leisure,
)

LONG_AGO = float("-inf")


@pytest.mark.parametrize(
    ("young", "large_at", "generation"),
    [
        pytest.param(FEW - 1, LONG_AGO, None, id="nothing-to-do"),
        pytest.param(FEW, LONG_AGO, 1, id="some"),
        pytest.param(MANY, 100.0, 1, id="some-beside-a-large-call"),
        pytest.param(MANY + 1, 100.0, None, id="a-large-call"),
        pytest.param(MANY + 1, 101.0 - PATIENCE_SECONDS, None, id="a-large-call-a-while-ago"),
        pytest.param(MANY + 1, 100.0 - PATIENCE_SECONDS, 1, id="a-large-call-long-ago"),
        pytest.param(MANY + 1, LONG_AGO, 1, id="many-without-a-large-call"),
        pytest.param(MOST, 100.0, None, id="as-many-as-may-wait"),
        pytest.param(MOST + 1, 100.0, 2, id="more"),
    ],
)
def test_what_is_looked_at(young: int, large_at: float, generation: int | None) -> None:
    assert Pace().generation(young, 100.0, large_at) == generation


def test_objects_of_large_values_may_be_there_besides() -> None:
    assert Pace().generation(MOST + 1, 100.0, 100.0, large=1) is None
    assert Pace().generation(3 * MOST, 100.0, 100.0, large=2 * MOST) is None
    assert Pace().generation(3 * MOST + 1, 100.0, 100.0, large=2 * MOST) == 2


@pytest.mark.parametrize(("young", "large_at"), [(MOST + MOST_LARGE + 1, 100.0), (MANY + 1, LONG_AGO)])
def test_nothing_is_left_behind_for_ever_since_it_is_large(young: int, large_at: float) -> None:
    """It may lie in a cycle, which only the collector ends."""
    assert Pace().generation(young, 100.0, large_at, large=2 * MOST_LARGE) is not None


def test_all_are_looked_at_now_and_then() -> None:
    pace = Pace()
    seen = [pace.generation(FULL_AFTER // 4, 0.0, LONG_AGO) for _ in range(8)]
    assert seen == [1, 1, 1, 2, 1, 1, 1, 2]


def test_values_of_a_large_call_that_come_few_by_few_have_not_all_looked_at() -> None:
    pace = Pace()
    seen = [pace.generation(MANY, 100.0, 100.0) for _ in range(MOST // MANY + 1)]
    assert seen == [1] * (MOST // MANY) + [2]


def test_the_longer_it_takes_the_seldomer_all_are_looked_at() -> None:
    pace = Pace()
    pace.took(2, 0.1)
    pace.took(1, 5.0)
    seen = [pace.generation(MANY, 0.0, LONG_AGO) for _ in range(18)]
    assert seen.index(2) == int(0.1 * FULL_PER_SECOND) // MANY
    pace.took(2, 0.0)
    assert pace.generation(FULL_AFTER, 0.0, LONG_AGO) == 2


async def test_cycles_end_and_the_collector_is_as_before_afterwards() -> None:
    class Part:
        ended = 0
        whole: "Part"

        def __del__(self) -> None:
            Part.ended += 1

    collecting = asyncio.create_task(collect_at_leisure())
    await asyncio.sleep(0)
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 0
    for _ in range(FEW):
        part = Part()
        part.whole = part
    del part
    async with asyncio.timeout(10):
        while Part.ended < FEW:
            await asyncio.sleep(0.01)
    collecting.cancel()
    await asyncio.wait([collecting])
    assert gc.isenabled()

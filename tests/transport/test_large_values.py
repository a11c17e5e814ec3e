"""Large values are forgotten beside the loop, piece by piece, when nobody has them any more."""

import asyncio
import gc
import sys
import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from eps.core.taking_apart import STEP_VALUES, Forgotten
from eps.transport import large_values
from eps.transport.aside import aside
from eps.transport.large_values import (
    COUNTED_SECONDS,
    LARGE_VALUES,
    LOOK_SECONDS,
    WATCHED_SECONDS,
    LargeValues,
)

MANY = 200_000
A_STEP = 6 * STEP_VALUES
"""Blocks of memory that may come free in one step: an object with its table, its key and its value, and what it was
in."""


@pytest.fixture(autouse=True)
def freed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The blocks of memory that come free in each step in which something is forgotten; the cycle collector rests."""
    each = list[int]()

    def exhausted(steps: Generator[None, None, Forgotten]) -> Forgotten:
        while True:
            before = sys.getallocatedblocks()
            try:
                next(steps)
            except StopIteration as end:
                forgotten: Forgotten = end.value
                return forgotten
            finally:
                each.append(before - sys.getallocatedblocks())

    monkeypatch.setattr(large_values, "exhaust", exhausted)
    gc.disable()
    yield each
    gc.enable()


def lists(count: int = MANY) -> dict[str, Any]:
    return {"a": [[] for _ in range(count)]}


async def until_forgotten(values: LargeValues) -> None:
    async with asyncio.timeout(60):
        while len(values):
            await asyncio.sleep(0.005)


async def decoded(values: LargeValues, count: int = MANY) -> dict[str, Any]:
    return await values.decoded(3 * count, lambda: lists(count), lambda value: value)


async def test_who_forgets_a_value_frees_nothing(freed: list[int]) -> None:
    values = LargeValues()
    value = await decoded(values)
    before = sys.getallocatedblocks()
    del value
    assert before - sys.getallocatedblocks() < 1_000
    await until_forgotten(values)
    assert sum(freed) > MANY * 0.9
    assert max(freed) < A_STEP


async def test_as_long_as_somebody_has_it_it_stays() -> None:
    values = LargeValues()
    value = await decoded(values)
    await asyncio.sleep(0.1)
    assert len(value["a"]) == MANY
    assert len(values) == 1
    del value
    await until_forgotten(values)


async def test_what_was_taken_out_of_it_stays_and_is_forgotten_likewise(freed: list[int]) -> None:
    values = LargeValues()
    part = (await decoded(values))["a"]
    await asyncio.sleep(0.1)
    assert len(part) == MANY
    assert len(values) == 1
    del part
    await until_forgotten(values)
    assert sum(freed) > MANY * 0.9
    assert max(freed) < A_STEP


async def test_its_objects_are_known_while_it_comes_and_while_it_is_there() -> None:
    values, gate = LargeValues(), threading.Event()
    holding = asyncio.ensure_future(aside(gate.wait))
    coming = asyncio.ensure_future(decoded(values))
    await asyncio.sleep(0)
    assert values.objects == 3 * MANY // 2
    gate.set()
    await holding
    value = await coming
    assert MANY * 0.9 < values.objects < MANY * 1.5
    del value, coming
    await until_forgotten(values)
    assert values.objects == 0


async def test_of_what_somebody_keeps_only_the_rest_counts() -> None:
    values = LargeValues()

    def two() -> dict[str, Any]:
        return {"part": [[] for _ in range(MANY // 10)], "more": [[] for _ in range(MANY)]}

    part = (await values.decoded(3 * MANY, two, lambda value: value))["part"]
    async with asyncio.timeout(60):
        while values.objects > MANY // 2:
            await asyncio.sleep(0.005)
    assert values.objects > MANY // 20 and len(part) == MANY // 10


async def test_what_somebody_keeps_for_good_is_looked_at_seldom_and_then_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, looks = 0.0, 0

    class Counted(LargeValues):
        def _look(self, loop: asyncio.AbstractEventLoop) -> None:
            nonlocal looks
            looks += 1
            super()._look(loop)

    values = Counted(lambda: now)
    value = await decoded(values)
    await asyncio.sleep(0.1)
    assert values.objects
    now = COUNTED_SECONDS + 1
    assert values.objects == 0
    await asyncio.sleep(2 * LOOK_SECONDS)  # the last of the frequent ones
    before = looks
    await asyncio.sleep(10 * LOOK_SECONDS)
    assert looks <= before + 1 and len(values) == 1
    monkeypatch.setattr(large_values, "SLOW_LOOK_SECONDS", LOOK_SECONDS)
    now = WATCHED_SECONDS + 1
    await until_forgotten(values)
    assert len(value["a"]) == MANY


async def test_few_values_are_not_watched() -> None:
    values = LargeValues()
    await decoded(values, 10)
    await until_forgotten(values)


async def test_what_fails_leaves_nothing() -> None:
    values = LargeValues()
    with pytest.raises(ZeroDivisionError):
        await values.decoded(10, lambda: 1 // 0, lambda value: value)
    await until_forgotten(values)


async def test_who_is_cancelled_before_its_turn_leaves_nothing_either() -> None:
    values, gate = LargeValues(), threading.Event()
    holding = asyncio.ensure_future(aside(gate.wait))
    coming = asyncio.ensure_future(decoded(values))
    await asyncio.sleep(0)
    coming.cancel()
    await asyncio.wait([coming])
    gate.set()
    await holding
    await until_forgotten(values)


async def test_what_comes_for_nobody_is_forgotten_in_pieces_too(freed: list[int]) -> None:
    values, begun, gate = LargeValues(), threading.Event(), threading.Event()

    def slow() -> dict[str, Any]:
        value = lists()
        begun.set()
        gate.wait()
        return value

    coming = asyncio.ensure_future(values.decoded(3 * MANY, slow, lambda value: value))
    async with asyncio.timeout(60):
        while not begun.is_set():
            await asyncio.sleep(0.001)
    coming.cancel()
    await asyncio.wait([coming])
    gate.set()
    await until_forgotten(values)
    assert sum(freed) > MANY * 0.9
    assert max(freed) < A_STEP


def test_another_loop_goes_on_where_one_has_ended() -> None:
    values = LargeValues()

    async def leave() -> None:
        await decoded(values)

    asyncio.run(leave())
    assert len(values) == 1
    asyncio.run(leave())

    async def wait() -> None:
        await decoded(values)
        await until_forgotten(values)

    asyncio.run(wait())


async def test_there_is_one_for_all() -> None:
    before = len(LARGE_VALUES)  # of other tests, perhaps, whose event loops are gone
    value = await decoded(LARGE_VALUES)
    assert len(value["a"]) == MANY and len(LARGE_VALUES) > 0
    del value
    async with asyncio.timeout(60):
        while len(LARGE_VALUES) > before:
            await asyncio.sleep(0.005)

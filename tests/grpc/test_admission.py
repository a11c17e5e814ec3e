"""Budgets of bytes: in order, never above the limit, and nothing is lost on the way."""

import asyncio

import pytest

from eps.grpc.admission import Budget


async def waiting(budget: Budget, *sizes: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(budget.take(size)) for size in sizes]
    await asyncio.sleep(0)
    return tasks


async def test_what_fits_passes_and_the_rest_waits_in_order() -> None:
    budget = Budget(10)
    await budget.take(6)
    long, short = await waiting(budget, 8, 1)
    assert (long.done(), short.done(), budget.taken) == (False, False, 6)  # the short one does not overtake
    budget.add(-6)
    await asyncio.gather(long, short)
    assert budget.taken == 9


async def test_one_piece_above_the_limit_passes_alone() -> None:
    budget = Budget(10)
    await budget.take(50)
    (other,) = await waiting(budget, 1)
    assert not other.done()
    budget.add(-50)
    await other


async def test_who_gives_up_leaves_its_place() -> None:
    budget = Budget(10)
    await budget.take(10)
    first, second = await waiting(budget, 10, 4)
    first.cancel()
    await asyncio.wait([first])
    budget.add(-10)
    await second
    assert budget.taken == 4


async def test_who_gives_up_when_its_turn_has_come_returns_the_bytes() -> None:
    budget = Budget(10)
    await budget.take(10)
    first, second = await waiting(budget, 10, 10)
    budget.add(-10)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert budget.taken == 10


async def test_who_gives_up_at_the_head_lets_the_next_one_pass() -> None:
    budget = Budget(10)
    await budget.take(5)
    first, second = await waiting(budget, 10, 5)
    first.cancel()
    await asyncio.wait([first])
    await second
    assert budget.taken == 10


async def test_when_it_is_over_nobody_waits() -> None:
    budget = Budget(10)
    await budget.take(10)
    (waits,) = await waiting(budget, 10)
    budget.end()
    await waits
    await budget.take(100)

"""Long computations beside the loop: in one thread, in order, and only what is large goes there."""

import asyncio
import threading
from typing import Any

import pytest

from eps.transport.aside import FEW_VALUES, aside, has_few


async def test_it_runs_in_one_other_thread_and_in_order() -> None:
    seen: list[tuple[int, int]] = []
    await asyncio.gather(*(aside(lambda i=i: seen.append((i, threading.get_ident()))) for i in range(20)))
    assert [number for number, _ in seen] == list(range(20))
    assert len({thread for _, thread in seen}) == 1
    assert threading.get_ident() not in {thread for _, thread in seen}


async def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0)
    assert await aside(divmod, 7, 2) == (3, 1)


async def test_who_is_cancelled_before_its_turn_costs_nothing() -> None:
    gate, done = threading.Event(), list[str]()
    first = asyncio.ensure_future(aside(gate.wait))
    second = asyncio.ensure_future(aside(lambda: done.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    gate.set()
    assert await first
    await aside(lambda: done.append("third"))
    assert done == ["third"]


@pytest.mark.parametrize(
    ("value", "few"),
    [
        (7, True),
        ("x" * 1_000_000, True),
        ([None] * (FEW_VALUES - 1), True),
        ([None] * FEW_VALUES, False),
        ({str(number): number for number in range(FEW_VALUES)}, False),
        ([[{}] * 1_000] * 4, True),
        ([({},) * 1_000] * 5, False),
    ],
    ids=["number", "text", "few", "many", "keys", "few inside", "many inside"],
)
def test_what_has_few_values(value: Any, few: bool) -> None:
    assert has_few(value) is few

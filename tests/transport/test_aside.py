"""Long computations beside the loop: in one thread, in order, and only what is large goes there."""

import asyncio
import threading

import pytest

from eps.core.json_pieces import PIECE_VALUES
from eps.transport.aside import aside, written


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


async def test_what_holds_much_is_written_there_in_pieces() -> None:
    where: list[tuple[bool, bool]] = []

    def render(*, in_pieces: bool) -> bytes:
        where.append((in_pieces, threading.current_thread() is threading.main_thread()))
        return b"{}"

    assert await written(render, [0] * (PIECE_VALUES - 1)) == b"{}"
    assert await written(render, [0] * PIECE_VALUES) == b"{}"
    assert where == [(False, True), (True, False)]

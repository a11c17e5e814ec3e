"""channels/turns: places at the application: taken, waited for, refused; and given back, however a call ends."""

import asyncio
import math
import time
from types import SimpleNamespace

import pytest

from eps.channels import turns as turns_module
from eps.channels.turns import Turns
from eps.core.latency import Begun
from eps.core.overload import Fixed
from eps.errors import Busy, Outcome, Side


async def full(places: int = 2) -> tuple[Turns, list[Begun]]:
    turns = Turns(Fixed(places), "the application of hd-2")
    return turns, [await turns.begin("m") for _ in range(places)]


async def test_what_finds_no_place_in_time_is_refused_with_a_hint() -> None:
    turns, _ = await full()
    began = asyncio.get_running_loop().time()
    with pytest.raises(Busy, match="the application of hd-2 is busy with 2 calls") as refused:
        await turns.begin("m")
    assert asyncio.get_running_loop().time() - began < 0.5
    error = refused.value
    assert error.outcome is Outcome.NOT_SENT and error.side is Side.OURS
    assert error.data() == {
        "stage": "call",
        "side": "ours",
        "outcome": "not_sent",
        "hint": "try again in 1 s, and where it is busy then, too, wait twice as long each time",
        "reason": "busy",
        "retry_after": 1,
    }
    assert turns.running == 2


async def test_a_place_that_becomes_free_is_taken_in_order() -> None:
    turns, running = await full()
    order: list[int] = []

    async def call(number: int) -> None:
        begun = await turns.begin("m")
        order.append(number)
        turns.end(begun, 0.0)

    calls = [asyncio.create_task(call(number)) for number in range(5)]
    await asyncio.sleep(0)
    turns.end(running[0], 1.0)
    await asyncio.gather(*calls)
    assert order == [0, 1, 2, 3, 4]
    assert turns.running == 1


async def test_while_calls_are_refused_few_wait() -> None:
    limit = Fixed(2)
    for number in range(200):
        limit.ended(Begun("m", 2, 0.0), number * 0.035, 0.07)
    turns = Turns(limit, "the application of hd-2")
    for _ in range(2):
        await turns.begin("m")
    waiting = [asyncio.create_task(turns.begin("m")) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(task.done() for task in waiting) == 3, "two wait: the third would wait for more than 0.08 s"
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, Busy) for result in results)
    later = [asyncio.create_task(turns.begin("m")) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(task.done() for task in later) == 3
    await asyncio.gather(*later, return_exceptions=True)


class Watched(Fixed):
    """Notes what is said of calls."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.took: list[float | None] = []
        self.lag = 0.0

    def begun(self, method: str, running: int, now: float, lag: float = 0.0) -> Begun:
        self.lag = lag
        return super().begun(method, running, now)

    def ended(self, call: Begun, now: float, took: float | None) -> None:
        self.took.append(took)


async def test_what_our_own_loop_is_late_by_is_not_the_application_s() -> None:
    limit = Watched(8)
    turns = Turns(limit, "the application of hd-2")
    begun = await turns.begin("m")
    time.sleep(0.03)  # as many other calls take on a loop that has much to do
    await asyncio.sleep(0)
    turns.end(begun, 0.05)
    turns.end(await turns.begin("m"), None)
    turns.end(await turns.begin("m"), math.inf)
    assert limit.took == [0.0, None, math.inf]
    assert limit.lag >= 0.06


async def test_a_loop_that_has_time_again_is_known_to(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(turns_module, "time", SimpleNamespace(monotonic=lambda: now))
    limit = Watched(8)
    turns = Turns(limit, "the application of hd-2")
    begun = await turns.begin("m")
    now = 0.5
    await asyncio.sleep(0)
    turns.end(begun, 0.6)
    for _ in range(100):
        begun = await turns.begin("m")
        await asyncio.sleep(0)
        turns.end(begun, 1.0)
    first, *others = [took for took in limit.took if took is not None]
    assert (first, others[0]) == (0.0, pytest.approx(0.1))
    assert others == sorted(others)
    assert others[-1] > 0.99


async def test_a_call_that_is_given_up_while_it_waits_never_begins() -> None:
    turns, running = await full(1)
    waiting = asyncio.create_task(turns.begin("m"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    turns.end(running[0], None)
    assert turns.running == 0


async def test_a_place_that_comes_as_its_caller_goes_is_not_lost() -> None:
    turns, running = await full(1)
    waiting = asyncio.create_task(turns.begin("m"))
    await asyncio.sleep(0)
    turns.end(running[0], math.inf)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert turns.running == 0


async def test_a_place_that_comes_behind_a_caller_that_goes_is_the_next_one_s() -> None:
    turns, running = await full(1)
    going, staying = asyncio.create_task(turns.begin("m")), asyncio.create_task(turns.begin("m"))
    await asyncio.sleep(0)
    going.cancel()
    turns.end(running[0], None)
    assert (await staying).running == 1
    assert (await asyncio.gather(going, return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_callers_are_told_to_stay_away_for_as_long_as_calls_take() -> None:
    turns, running = await full(1)
    for _ in range(100):
        turns.end(running.pop(), 7.0)
        running.append(await turns.begin("m"))
    with pytest.raises(Busy) as refused:
        await turns.begin("m")
    assert refused.value.retry_after == 7

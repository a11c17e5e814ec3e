"""More calls than an application, or a server, can do: those beyond are refused at once and never run, the others are
answered as soon as ever."""

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from eps.core.message import Response
from support.application import METHOD, Application
from support.machine import Machine


@dataclass
class Tally:
    """What became of calls.

    Attributes:
        taken: seconds until each accepted one was answered.
        refused: seconds until each refused one was.
        others: errors that are neither.
    """

    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)

    def add(self, name: str, answer: Response, seconds: float) -> None:
        if answer.error is None:
            self.taken.append(seconds)
            self.names.append(name)
        elif answer.error.data.get("reason") == "busy":
            assert answer.error.data["outcome"] == "not_sent" and answer.error.data["side"] == "peer", answer
            assert 1 <= answer.error.data["retry_after"] <= 30
            self.refused.append(seconds)
        else:
            self.others[answer.error.message] += 1


class Caller:
    """Calls the application behind hd-2 through hd-1."""

    def __init__(self, machine: Machine) -> None:
        self.client = machine.application("hd-1")
        self._number = 0

    async def call(self, tally: Tally) -> None:
        self._number += 1
        name = str(self._number)
        began = time.monotonic()
        answer = await self.client.call(f"hd-2.{METHOD}", {"call": name}, request_id=name)
        tally.add(name, answer, time.monotonic() - began)

    async def calls(self, rate: float, seconds: float) -> Tally:
        """So many a second, whatever becomes of them; returns when all are answered."""
        tally = Tally()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(began + number / rate - time.monotonic(), 0))
                group.create_task(self.call(tally))
        return tally


async def test_calls_beyond_the_limit_are_refused_and_never_run(machine: Machine) -> None:
    async with Application(seconds=1.0) as application:
        application.serve(machine, max_concurrent=8)
        await machine.ready()
        assert (await machine.ping()).error is None
        caller, tally = Caller(machine), Tally()
        await asyncio.gather(*(caller.call(tally) for _ in range(60)))
        await caller.client.close()
    assert not tally.others
    assert len(tally.taken) == 8 and len(tally.refused) == 52
    assert sorted(application.ran) == sorted(tally.names)
    line = await machine.processes["hd-2"].wait_for(kind="call", outcome="not_sent")
    assert "the application of hd-2 is busy with 8 calls" in line["detail"], line


@pytest.mark.chaos
async def test_three_times_the_capacity(machine: Machine) -> None:
    """Eight workers, 200 ms each: 40 calls a second."""
    async with Application(seconds=0.2, workers=8) as application:
        application.serve(machine)
        await machine.ready()
        caller = Caller(machine)
        ease = await caller.calls(32, 10)
        assert not ease.refused and not ease.others
        await caller.calls(120, 12)  # some hundred calls, until it is known how many are good for it
        amid = await caller.calls(120, 20)
        await asyncio.sleep(1)
        after = await caller.calls(32, 10)
        await caller.client.close()
    assert not amid.others and not after.others
    assert statistics.median(amid.taken) < 2 * statistics.median(ease.taken)
    # Twice is promised, and seen where the machine has time for all programs; without a limit it is nine times.
    assert sorted(amid.taken)[len(amid.taken) * 9 // 10] < 3 * sorted(ease.taken)[len(ease.taken) * 9 // 10]
    assert statistics.median(amid.refused) < 0.1
    assert len(amid.taken) > 0.8 * 20 * 40
    assert len(after.refused) <= 10
    assert statistics.median(after.taken) < 1.3 * statistics.median(ease.taken)
    assert set(application.ran.values()) == {1}

"""Any of the programs is killed or frozen at any of the six steps, under load: every call is accounted for, and
soon all are answered again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.application import Application
from support.load import Book, load
from support.machine import Machine

CALLERS = 4
ONCE = 3.0
"""Seconds for which a program is frozen: less than what makes others take it for dead."""

LONG = 20.0
"""Seconds for which a program is frozen until all have given it up."""

WHOLE = 10.0
"""Seconds, after a program has come back, from which all calls are answered; the project promises 1 for programs that
were killed, on a machine that has time for it."""

CALM = 1.0
"""Seconds without a failed call that show that all is well."""

LONGEST = 35.0
"""Seconds: the deadline that calls have (30), and a loaded machine."""

STEPS = {1: "hd-1", 2: "hd-1", 3: "public-proxy-1", 4: "hd-2", 5: "hd-1", 6: "hd-1"}
"""Who says in its log that a step was done."""

VICTIMS = ("hd-2", "public-proxy-1", "public-proxy-eps-1")


@asynccontextmanager
async def accounted(machine: Machine) -> AsyncIterator[Book]:
    """The programs run, and hd-1 calls hd-2 all the time; at the end the books must balance."""
    async with Application(seconds=0.01) as application:
        application.serve(machine)
        await machine.ready()
        async with load(machine, CALLERS) as book:
            await book.more(20)
            yield book
    book.balance(application)
    assert book.longest < LONGEST


async def strike(machine: Machine, victim: str, blow: signal.Signals, seconds: float) -> None:
    """Kill and restart it, or freeze it for so long."""
    if blow is signal.SIGKILL:
        await machine.restart(victim)
        return
    os.kill(machine.processes[victim].pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(machine.processes[victim].pid, signal.SIGCONT)


async def all_well(book: Book) -> None:
    """Wait until, for a second, calls were answered and none failed."""
    loop = asyncio.get_running_loop()
    end = loop.time() + WHOLE
    failed, answered, since = len(book.failed), len(book.answered), loop.time()
    while loop.time() < since + CALM or len(book.answered) == answered:
        assert loop.time() < end + CALM, list(book.failed.items())[-5:]
        await asyncio.sleep(0.05)
        if len(book.failed) != failed:
            failed, answered, since = len(book.failed), len(book.answered), loop.time()


async def struck_at(machine: Machine, step: int, victim: str, blow: signal.Signals, seconds: float) -> None:
    """Make hd-1 ask for a new tunnel, and strike when that step was done."""
    for process in machine.processes.values():
        process.lines.clear()
    await machine.restart("public-proxy-1")  # ends the tunnel; the next calls ask for another
    await machine.processes[STEPS[step]].wait_for(kind="step", step=step)
    await strike(machine, victim, blow, seconds)


@pytest.mark.parametrize(
    ("blow", "victim"),
    [
        pytest.param(blow, victim, id=f"{word}-{victim}", marks=pytest.mark.chaos if number else ())
        for blow, word in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "frozen"))
        for number, victim in enumerate([*VICTIMS, "sd-1"])
    ],
)
async def test_a_program_is_struck_under_load(machine: Machine, victim: str, blow: signal.Signals) -> None:
    """The service directory and the proxy's EPS server cost no call once a tunnel stands."""
    async with accounted(machine) as book:
        await strike(machine, victim, blow, ONCE)
        await all_well(book)
    if victim in ("sd-1", "public-proxy-eps-1"):
        assert book.failed == {}


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_a_program_is_struck_at_each_step(machine: Machine, victim: str, blow: signal.Signals) -> None:
    async with accounted(machine) as book:
        for step in STEPS:
            await struck_at(machine, step, victim, blow, ONCE)
            await all_well(book)


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", [*VICTIMS, "sd-1"])
async def test_a_program_is_frozen_until_it_is_given_up(machine: Machine, victim: str) -> None:
    async with accounted(machine) as book:
        await strike(machine, victim, signal.SIGSTOP, LONG)
        await all_well(book)
    if victim == "sd-1":
        assert book.failed == {}

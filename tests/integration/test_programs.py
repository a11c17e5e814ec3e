"""The seven commands of the main job, as real processes: in any order, with any of them dying."""

import asyncio
import os
import random
import signal

import pytest

from support.machine import SERVERS, Machine

RECOVERY = float(os.environ.get("EPS_RECOVERY_SECONDS", "30"))
"""Seconds from the last piece being up to the first answer. The project promises 5, on a machine that has time for it;
``make soak`` asks for that. Here other tests run beside these, so the bound only tells «recovers» from «does not»."""

SETUP = "make sd-setup"


@pytest.mark.parametrize("seed", range(10))
async def test_any_order_of_starting(machine: Machine, seed: int) -> None:
    chance = random.Random(seed)
    order = [*SERVERS, SETUP]
    chance.shuffle(order)
    setup: asyncio.Task[object] | None = None
    for what in order:
        if what == SETUP:
            setup = asyncio.create_task(machine.setup_directory())
        else:
            await machine.launch(what)
        await asyncio.sleep(chance.choice([0.0, 0.0, 0.2, 0.5]))  # people type
    assert setup is not None
    await asyncio.gather(setup, *(machine.processes[role].up() for role in SERVERS))
    took = await machine.until_ping(RECOVERY)
    print(f"\n{' · '.join(order)}: {took:.2f} s")


@pytest.mark.parametrize("last", ["sd-1", "public-proxy-1", "public-proxy-eps-1"])
async def test_a_piece_that_comes_last(machine: Machine, last: str) -> None:
    """The others have been waiting for it, at whatever pace they wait by then."""
    await machine.start(*(role for role in SERVERS if role != last))
    if last == "sd-1":
        for role in ("hd-1", "hd-2"):
            await machine.processes[role].wait_for(kind="directory_failed")
    else:
        await machine.setup_directory()
        failed = await machine.ping()
        assert failed.error is not None
        assert failed.error.data["outcome"] == "not_sent"
    await machine.start(last)
    if last == "sd-1":
        await machine.setup_directory()
    print(f"\n{last}: {await machine.until_ping(RECOVERY):.2f} s")


async def test_servers_killed_and_restarted(machine: Machine) -> None:
    """Each alone, then all at once: what was submitted is on disk, so nobody needs to submit it again."""
    await machine.ready()
    for role in SERVERS:
        await machine.until_ping(RECOVERY)
        await machine.restart(role)
        print(f"\n{role}: {await machine.until_ping(RECOVERY):.2f} s")
    await asyncio.gather(*(machine.stop(role, signal.SIGKILL) for role in SERVERS))
    await machine.start(*SERVERS)
    print(f"\nall: {await machine.until_ping(RECOVERY):.2f} s")


async def test_the_directory_while_all_run(machine: Machine) -> None:
    """It may be submitted anew, or be away: calls go on, and a restarted server goes by what it last verified."""
    await machine.ready()
    assert (await machine.ping()).error is None
    await machine.setup_directory()
    for _ in range(20):
        assert (await machine.ping()).error is None
    await machine.stop("sd-1")
    assert (await machine.ping()).error is None
    for role in ("hd-1", "hd-2", "public-proxy-eps-1"):
        await machine.restart(role)
    await machine.until_ping(RECOVERY)

"""One program after another is restarted, as on the day of an update, and no call fails."""

import asyncio

import pytest

from support.application import Application
from support.load import load
from support.machine import Machine

CALLERS = 8

PROXY = "public-proxy-1.ga"

PATIENCE = 20.0
"""Seconds; the default is longer than a restart takes, but not where ten programs start at once on two cores."""


async def restarted(machine: Machine, role: str) -> None:
    """As a service manager does it: SIGTERM, and when it has ended, started again."""
    assert await machine.stop(role) == 0
    await machine.start(role)


@pytest.mark.chaos
@pytest.mark.parametrize("role", ["sd-1", "public-proxy-1", "public-proxy-eps-1", "hd-2"])
async def test_a_program_is_restarted_under_load(machine: Machine, role: str) -> None:
    """Calls through a tunnel, and where B is restarted those over the stream that it holds to the proxy's operator."""
    async with Application(seconds=0.01) as application:
        application.serve(machine, everybody=True)
        for caller in ("hd-1", "public-proxy-eps-1"):
            (machine.dev / "roles" / caller / "003_patience.yml").write_text(f"patience: {PATIENCE}\n")
        await machine.ready()
        over_stream = load(machine, CALLERS if role == "hd-2" else 0, operator=PROXY, prefix="held-")
        async with load(machine, CALLERS) as book, over_stream as held:
            await asyncio.sleep(0.5)
            await restarted(machine, role)
            await asyncio.sleep(1.0)
    book.add(held)
    book.balance(application)
    assert book.failed == {}
    assert max(book.longest, held.longest) < PATIENCE


async def test_all_are_restarted_one_after_another_under_load(machine: Machine) -> None:
    async with Application(seconds=0.01) as application:
        application.serve(machine)
        (machine.dev / "roles" / "hd-1" / "003_patience.yml").write_text(f"patience: {PATIENCE}\n")
        await machine.ready()
        async with load(machine, CALLERS) as book:
            for role in ("sd-1", "public-proxy-1", "public-proxy-eps-1", "hd-2"):
                await restarted(machine, role)
                await asyncio.sleep(0.5)
    book.balance(application)
    assert book.failed == {}
    assert book.made > 100

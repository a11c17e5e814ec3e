"""Several of everything on one Redis: whatever is killed, restarted or away, calls go on."""

import random
import time
from collections import Counter

import pytest

from eps.programs.dev.scaled import COMMANDS
from support.application import Application
from support.machine import Machine
from support.redis_server import needs_redis
from support.scaled import Calls, Scaled, calling, scaled_network, until

pytestmark = [needs_redis, pytest.mark.chaos, pytest.mark.timeout(900)]

KILLS = 50
REDIS = "redis"
WHOLE_SECONDS = 60.0
"""On a machine that does nothing else it takes what a program needs to start, some 2 s; a busy one needs its time."""

ALONE = ("hd-1",)
"""Of which there is one, and to which callers have connections: another process takes its place (``--take-over``)."""


async def goes_on(calls: Calls) -> None:
    """A call that is made from now on is answered."""
    began = time.monotonic()
    await until(lambda: calls.latest > began)


async def killed(network: Scaled, name: str, calls: Calls) -> float:
    """Kill it, start it again, and wait until all is whole; when it had ended."""
    if name == REDIS:
        await network.redis.kill()
        ended = time.monotonic()
        await network.redis.start()
    else:
        await network.kill(name)
        ended = time.monotonic()
        await network.whole(await network.launch(name), name)
    await goes_on(calls)
    return ended


async def test_any_one_of_them_may_be_killed(machine: Machine) -> None:
    """What was in flight is unknown, nothing that was called later fails, and all is whole again within 5 s."""
    chance, took, lost = random.Random(13), dict[str, list[float]](), Counter[str]()
    async with (
        Application(seconds=0.01) as application,
        scaled_network(machine, application) as network,
        calling(network) as calls,
    ):
        await goes_on(calls)
        for _ in range(KILLS):
            name = chance.choice([*COMMANDS, REDIS])
            began, before = time.monotonic(), set(calls.book.failed)
            ended = await killed(network, name, calls)
            took.setdefault(name, []).append(time.monotonic() - began)
            await until(lambda: calls.oldest > ended)  # noqa: B023 - it is waited for
            new = calls.book.failed.keys() - before
            lost[name] += len(new)
            late = {call: calls.book.failed[call] for call in new if calls.began[call] > ended}
            assert late == {}, name
    calls.book.balance(application)
    told = {name: (len(seconds), lost[name], f"{max(seconds):.1f} s") for name, seconds in took.items()}
    print(f"{calls.book.made} calls; killed, calls lost, longest until whole: {told}")
    assert {outcome for outcome, _ in calls.book.failed.values()} <= {"unknown"}
    assert max(max(seconds) for seconds in took.values()) < WHOLE_SECONDS


async def test_all_are_restarted_one_after_another_and_no_call_fails(machine: Machine) -> None:
    async with (
        Application(seconds=0.01) as application,
        scaled_network(machine, application) as network,
        calling(network) as calls,
    ):
        await goes_on(calls)
        for name in COMMANDS:
            restarted = network.take_over if name in ALONE else network.restart
            await network.whole(await restarted(name), name)
            await goes_on(calls)
    calls.book.balance(application)
    assert calls.book.failed == {}

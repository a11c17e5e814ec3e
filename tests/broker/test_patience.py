"""Calls that were not sent are held: which, how long, how many, and never one that may have run."""

import asyncio
import time

import pytest

from eps.broker.patience import Patience
from eps.core.names import Operator
from eps.errors import (
    DeliveryError,
    EpsError,
    NotPermitted,
    NoWay,
    OutcomeUnknown,
    TunnelFailed,
    TunnelRefused,
    UnknownOperator,
    Unreachable,
)

B, C = Operator("hd-2"), Operator("hd-3")


class Peer:
    """Fails as often and as it is told, then answers."""

    def __init__(self, *failures: EpsError) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answered"


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


async def test_a_call_that_was_not_sent_is_tried_again() -> None:
    peer = Peer(Unreachable("down"), TunnelFailed("the proxy is stopping"), Unreachable("down"))
    assert await Patience(3.0).call(B, peer, soon()) == "answered"
    assert peer.asked == 4


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknown("?"), DeliveryError("failed there"), NotPermitted("no"), UnknownOperator("who?"), NoWay("no"),
     TunnelRefused("no")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_what_may_have_run_and_what_is_final_is_not(error: EpsError) -> None:
    peer = Peer(error)
    with pytest.raises(type(error)):
        await Patience(3.0).call(B, peer, soon())
    assert peer.asked == 1
    later = Peer(Unreachable("down"), error)
    with pytest.raises(type(error)):
        await Patience(3.0).call(B, later, soon())
    assert later.asked == 2


@pytest.mark.parametrize(("patience", "deadline"), [(0.2, 5.0), (5.0, 0.2)], ids=["patience", "deadline"])
async def test_it_ends_with_the_last_error(patience: float, deadline: float) -> None:
    peer = Peer(*(Unreachable(f"down {number}") for number in range(100)))
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"down [2-9]"):
        await Patience(patience).call(B, peer, soon(deadline))
    assert 0.15 < time.monotonic() - began < 2.0


async def test_without_patience_a_call_fails_at_once() -> None:
    peer = Peer(Unreachable("down"))
    with pytest.raises(Unreachable):
        await Patience(0.0).call(B, peer, soon())
    assert peer.asked == 1


async def test_only_so_many_wait() -> None:
    patience = Patience(60.0, max_waiting=3, max_waiting_for_one=2)

    async def down() -> str:
        raise Unreachable("down")

    held = [asyncio.create_task(patience.call(B, down, soon(60.0))) for _ in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(Unreachable):
        await patience.call(B, down, soon(60.0))
    held.append(asyncio.create_task(patience.call(C, down, soon(60.0))))
    await asyncio.sleep(0.01)
    assert patience.waiting == 3
    with pytest.raises(Unreachable):
        await patience.call(Operator("hd-4"), down, soon(60.0))
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert patience.waiting == 0

"""Several addresses of one name: the first connection counts, and nothing of the others is left."""

import asyncio
import errno
import socket
from contextlib import suppress

import pytest

from eps.transport.race import again, race

BOTH_LOOPS = True

pytestmark = pytest.mark.usefixtures("no_leaks")

NEVER = 3600.0


class Attempts:
    """Stands in for the network: an address connects, fails, or hangs, as the test says."""

    def __init__(self, **outcomes: str) -> None:
        self.outcomes = outcomes
        self.begun: list[str] = []

    async def __call__(self, address: str) -> socket.socket:
        self.begun.append(address)
        match self.outcomes[address]:
            case "hangs":
                await asyncio.Event().wait()
            case "fails":
                raise OSError(errno.EHOSTUNREACH, f"{address} is unreachable")
            case "stubborn":  # connects just as it is cancelled
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
        return socket.socket()


async def test_a_silent_address_does_not_hold_up_the_next() -> None:
    attempts = Attempts(a="stubborn", b="connects", c="hangs")
    with await race("abc", attempts, delay=0.01):
        assert attempts.begun == ["a", "b"]


async def test_a_failing_address_is_followed_at_once() -> None:
    attempts = Attempts(a="fails", b="connects")
    (await asyncio.wait_for(race("ab", attempts, delay=NEVER), 5)).close()


async def test_the_first_address_says_why_none_worked() -> None:
    with pytest.raises(OSError, match="a is unreachable"):
        await race("ab", Attempts(a="fails", b="fails"))


async def test_a_winner_is_closed_if_nobody_waits_for_it_any_more() -> None:
    """The race is over, a loser is slow to end, and then the whole is cancelled."""
    ending, won = asyncio.Event(), socket.socket()

    async def attempt(address: str) -> socket.socket:
        if address == "b":
            return won
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        return socket.socket()  # even so late

    racing = asyncio.create_task(race("ab", attempt, delay=0.01))
    await ending.wait()
    racing.cancel()
    await asyncio.wait([racing])
    assert racing.cancelled()
    assert won.fileno() == -1
    await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name() == "dial"] or [racing])


async def test_an_attempt_that_hears_nothing_is_made_anew_beside_itself() -> None:
    begun: list[float] = []

    async def attempt() -> socket.socket:
        begun.append(asyncio.get_running_loop().time())
        if len(begun) < 3:
            await asyncio.Event().wait()
        return socket.socket()

    with await again(attempt, delay=0.01):
        assert len(begun) == 3


async def test_an_attempt_that_fails_is_not_made_anew() -> None:
    begun: list[int] = []

    async def attempt() -> socket.socket:
        begun.append(1)
        if len(begun) < 2:
            await asyncio.Event().wait()
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        await again(attempt, delay=0.01)
    assert len(begun) == 2

"""Several addresses of one name: which of them is connected to first (RFC 8305, section 5).

    an attempt each, the next one a moment after the last, or at once when one fails → the first socket; the others end

What an attempt is, the caller says: nothing here knows an address.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the ones still connecting (RFC 8305, section 5)."""

C = TypeVar("C")


async def race(
    candidates: Sequence[C],
    attempt: Callable[[C], Coroutine[Any, Any, socket.socket]],
    *,
    delay: float = ATTEMPT_DELAY,
) -> socket.socket:
    """The first connection that comes up; the others are ended. Raises the first attempt's error if none does.

    Args:
        candidates: at least one, in the order of preference.
        attempt: connects to a candidate; raises OSError if it can't.
        delay: seconds before the next attempt begins beside those that go on.
    """
    if len(candidates) == 1:
        return await attempt(candidates[0])
    running: list[asyncio.Task[socket.socket]] = []
    winner: socket.socket | None = None
    try:
        waiting = list(candidates)
        while winner is None and (waiting or any(not task.done() for task in running)):
            if waiting:
                running.append(asyncio.create_task(attempt(waiting.pop(0)), name="dial"))
            pending = [task for task in running if not task.done()]
            timeout = delay if waiting else None
            done, _ = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task.result() for task in done if task.exception() is None), None)
    finally:
        await _end_attempts(running, winner)
    if winner is not None:
        return winner
    failure = running[0].exception()
    assert failure is not None  # it has ended, and not with a socket
    raise failure


async def again(attempt: Callable[[], Coroutine[Any, Any, socket.socket]], *, delay: float) -> socket.socket:
    """The same attempt anew, beside those that go on, every ``delay`` seconds: for packets that are lost. The first
    that ends, ends all; whoever calls bounds the time.

    Raises:
        OSError: that one failed.
    """
    running: list[asyncio.Task[socket.socket]] = []
    winner: socket.socket | None = None
    try:
        done: set[asyncio.Task[socket.socket]] = set()
        while not done:
            running.append(asyncio.create_task(attempt(), name="dial"))
            done, _ = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        winner = next((task.result() for task in done if task.exception() is None), None)
    finally:
        await _end_attempts(running, winner)
    return winner if winner is not None else done.pop().result()


async def _end_attempts(running: Sequence["asyncio.Task[socket.socket]"], winner: socket.socket | None) -> None:
    def close_late(task: "asyncio.Task[socket.socket]") -> None:
        if not task.cancelled() and task.exception() is None and task.result() is not winner:
            task.result().close()

    for task in running:
        task.cancel()
        if task.done():
            close_late(task)
        else:
            task.add_done_callback(close_late)
    try:
        await asyncio.wait(running)
    except BaseException:  # cancelled meanwhile: nobody else knows the winner
        if winner is not None:
            winner.close()
        raise

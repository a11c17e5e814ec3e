"""Bounds of time that hold on a machine that does much else: `make soak` measures, tests only notice.

A thousand records take some 0.3 s. If each cost as much as all before it, they would take minutes.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from eps.programs.running.collector import collect_at_leisure

A_THOUSAND_RECORDS = 60.0
A_TURN = 0.1  # some 10 ms; the promise is 50 ms


async def shortest_longest_turn(attempt: Callable[[int], Awaitable[object]], attempts: int = 4) -> float:
    """The longest turn of the event loop, in this thread's CPU seconds, in the best of the attempts; with the cycle
    collector as our servers have it.

    The best, since a virtual machine that stands still is charged to whichever thread ran. Ends with the first attempt
    that is quick enough.
    """
    collecting = asyncio.create_task(collect_at_leisure())
    best = float("inf")
    for number in range(attempts):
        work = asyncio.ensure_future(attempt(number))
        longest, last = 0.0, time.thread_time()
        while not work.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()
        await work
        best = min(best, longest)
        if best < A_TURN:
            break
    collecting.cancel()
    await asyncio.wait([collecting])
    return best


@contextmanager
def looks() -> Iterator[list[tuple[int, int]]]:
    """What Python's cycle collector does meanwhile: (generation, new objects before it) of each time that it looks."""
    seen = list[tuple[int, int]]()

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append((info["generation"], gc.get_count()[0]))

    gc.callbacks.append(look)
    try:
        yield seen
    finally:
        gc.callbacks.remove(look)

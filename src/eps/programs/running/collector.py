"""Python's cycle collector, at moments of our choosing instead of its own.

By itself it looks at all objects whenever there are a quarter more than before: with a call of 600,000 values in hand
100 to 250 ms, in which nothing else runs, whichever thread it is in. But values of calls hold no cycles; they go when
nobody has them any more, and looking at them finds nothing. So it rests, and ten times a second it is decided whether
the youngest objects, or all, are few enough to be looked at: a few ms. What a start has made is for good, and is never
looked at again. Cycles, which broken connections and errors leave behind, wait a moment longer for their end.
"""

import asyncio
import gc
import time
from dataclasses import dataclass

from eps.transport.large_values import LARGE_VALUES
from eps.transport.memory import large_values_came

TICK_SECONDS = 0.1

FEW = 700
"""New objects that are not worth a look: Python's own number."""

MANY = 60_000
"""New objects that take some 6 ms. More are those of a large call, if there was one lately, and can wait."""

MOST = 2_000_000
"""New objects, some 200 MiB, besides those of large values, that wait no longer, whatever they are."""

MOST_LARGE = 8_000_000
"""Objects of large values that may be there besides: as four calls of 4 MiB can have. More have been left behind."""

PATIENCE_SECONDS = 60.0
"""After large values came: as long as a call may take that has them in hand."""

FULL_AFTER = 100_000
"""New objects after which all are looked at: those of 1,300 gRPC connections, 20 MiB when they are garbage."""

FULL_PER_SECOND = 2_500_000
"""New objects for each second that the last look at all took: one of 40 ms is worth it for 100,000, one of 400 ms, as a
great directory makes it, for a million."""


@dataclass(slots=True)
class Pace:
    """What to look at now. Pure; time is passed in.

    Attributes:
        since_full: new objects since all were looked at.
        full_after: how many of them it takes until that is done again.
    """

    since_full: int = 0
    full_after: int = FULL_AFTER

    def generation(self, young: int, now: float, large_at: float, large: int = 0) -> int | None:
        """The generation to collect, 1 or 2; None: not now.

        Args:
            young: new objects since the last time.
            now, large_at: the moment, and that when large values came last.
            large: objects in large values that somebody has.
        """
        has_large = now - large_at < PATIENCE_SECONDS
        large = min(large, MOST_LARGE)
        if young < FEW or (has_large and MANY < young <= MOST + large):
            return None
        self.since_full += young
        if self.since_full < self.full_after or (has_large and self.since_full <= MOST + large):
            return 1
        self.since_full = 0
        return 2

    def took(self, generation: int, seconds: float) -> None:
        """What the last look has cost."""
        if generation == 2:
            self.full_after = max(FULL_AFTER, int(seconds * FULL_PER_SECOND))


async def collect_at_leisure() -> None:
    """Have the collector rest, and look now and then, until cancelled; then it works by itself again.

    Who starts this has all looked at before (``transport.memory.give_back_memory``): what is there then stays unseen.
    """
    pace = Pace()
    gc.freeze()
    gc.disable()
    try:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            large = LARGE_VALUES.objects
            generation = pace.generation(gc.get_count()[0], time.monotonic(), large_values_came(), large)
            if generation is not None:
                began = time.thread_time()
                gc.collect(generation)
                pace.took(generation, time.thread_time() - began)
    finally:
        gc.enable()
        gc.unfreeze()

"""Memory goes back when a program has worked and has nothing more to do: what a start read of libraries to connect, and
what much work left free. It comes back where it is used, some tenths of a millisecond for all of it.
"""

import asyncio
import time
from dataclasses import dataclass

from eps.transport.memory import give_back_libraries, resident_bytes, trim_memory

LOOK_SECONDS = 3.0
"""Between two looks: whoever had nothing to do for so long may well have nothing more. It is some 30 ms of a core."""

QUIET_SHARE = 0.02
"""Of a core, of which less is quiet: timers, pings, and questions to the service directory take a tenth of that."""

MUCH_SECONDS = 0.5
"""Of work, after which there is something to give back; some hundred calls."""


MOST_BYTES = 96 * 1024 * 1024
"""That a process may hold for its free memory to go back here: whoever needs some meanwhile waits for up to 50 ms."""


@dataclass(slots=True)
class Quiet:
    """Whether it is time to give back. Pure; times are passed in, in seconds.

    Attributes:
        looked_at, worked: the last look, and what the process had worked until then.
        given_at: how much it had worked when memory was given back last; None: it wasn't yet.
    """

    looked_at: float
    worked: float
    given_at: float | None = None

    def is_due(self, now: float, worked: float) -> bool:
        """Whether little was done since the last look, and much since memory was given back.

        Args:
            worked: the process's time on all cores.
        """
        little = worked - self.worked < QUIET_SHARE * (now - self.looked_at)
        self.looked_at, self.worked = now, worked
        if not little or (self.given_at is not None and worked - self.given_at < MUCH_SECONDS):
            return False
        self.given_at = worked
        return True


async def give_back_when_quiet() -> None:
    """Look now and then, until cancelled."""
    quiet = Quiet(time.monotonic(), time.process_time())
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if quiet.is_due(time.monotonic(), time.process_time()):
            await asyncio.to_thread(_give_back)


def _give_back() -> None:
    """What makes nobody wait for long: cycles are the collector's (``running.collector``), and what a large process has
    free goes back when connections have ended (``transport.memory.GiveBack``)."""
    if resident_bytes() <= MOST_BYTES:
        trim_memory()
    give_back_libraries()

"""Connections that have not yet shown what they want: each has a deadline, and all together a limit.

Beyond the limit the oldest one is ended for the newest: so silent connections, however many, can't keep honest ones
out, which show what they want within a round trip.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MAX_ARRIVING = 1024
"""A few KiB each, and open sockets."""


class Arrivals:
    """Those of one listener."""

    def __init__(self, most: int = MAX_ARRIVING) -> None:
        self._most = most
        self._deadlines: dict[asyncio.Timeout, None] = {}

    def __len__(self) -> int:
        return len(self._deadlines)

    @asynccontextmanager
    async def deadline(self, seconds: float) -> AsyncIterator[None]:
        """Bound what is done inside; raises TimeoutError when the time is up, or when the place is needed."""
        async with asyncio.timeout(seconds) as deadline:
            self._make_room()
            self._deadlines[deadline] = None
            try:
                yield
            finally:
                self._deadlines.pop(deadline, None)

    def _make_room(self) -> None:
        if len(self._deadlines) >= self._most:
            oldest = next(iter(self._deadlines))
            del self._deadlines[oldest]
            if not oldest.expired():
                oldest.reschedule(0)  # a moment long past: it ends as if its time were up

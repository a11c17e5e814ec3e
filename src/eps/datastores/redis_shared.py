"""The store ``redis``, for service directories that continue one list together.

    changed    what somebody stores is published in a channel of the list's name; whoever hears it, looks
               not heard (not allowed, the connection is down)? every POLL_SECONDS, then

Servers in use don't publish what they append, and neither does ``redis-cli``: so it is looked now and then in any case.
A message in a channel needs no setting of the server and no key besides the list's, as keyspace notifications and
streams would. That the list has become another is told by whoever follows it: what counts is which records it holds.
"""

import asyncio
from contextlib import suppress

from eps.core.event import Emit
from eps.datastores import DataEntry
from eps.datastores.redis import RedisDatastore
from eps.datastores.redis_link import PATIENCE_SECONDS, RedisPlace
from eps.datastores.redis_state import Change, State

POLL_SECONDS = 0.4
"""Between two looks without a message: what one service directory accepts, all are to serve within a second."""

LISTEN_AGAIN_SECONDS = 1.0
"""Until it is listened again after the connection for that has broken. Meanwhile looks come all the same."""


class SharedRedisDatastore(RedisDatastore):
    """See :class:`eps.datastores.SharedDatastore`. Made by :meth:`open`, as its like."""

    def __init__(self, place: RedisPlace, key: str, *, shared: bool, emit: Emit) -> None:
        super().__init__(place, key, shared=shared, emit=emit)
        self._news = asyncio.Event()
        self._tasks.start(self._listen(), f"news of {self.location}")

    async def read_after(self, count: int, last: bytes | None) -> list[DataEntry] | None:
        self._check_open()
        state = await self._observed(PATIENCE_SECONDS)
        if state.length < count:
            return None
        present = self._decoded(state.last, state.length).id if state.length else None
        if state.length == count:
            return [] if present == last else None
        state, entries = await self._read_from(max(count - 1, 0))
        if not count:
            return entries
        return entries[1:] if entries and entries[0].id == last else None

    async def changed(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._news.wait()
        self._news.clear()

    def _tell(self, change: Change, state: State) -> None:
        """Nothing: who follows the list says what is missing of it."""

    async def _listen(self) -> None:
        while True:
            await self.link.listen(self._key, self._news.set)
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

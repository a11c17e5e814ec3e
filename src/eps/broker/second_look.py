"""What our directory contradicts may be newer than it: ask for news before refusing.

A learns from the directory that B is behind proxy P, asks P, and P asks B for a connection, all within milliseconds. B
asks the service directory every few seconds only: its directory may still say that it has no proxy, or another one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from eps.core.entries import Directory
from eps.core.names import Operator
from eps.core.recent import Recent
from eps.directory import DirectorySource

AGAIN_AFTER = 5.0
"""Seconds between two looks that the requests of one operator cause: as often as the directory is asked anyway. However
many operators ask, the source asks for news at most once a second (``directory.pace``)."""

SECOND_TRY_AFTER = 1.0
"""Seconds: the source may have asked just before the request came, and then does not ask again at once."""

MAX_OPERATORS = 1_000
"""Of which the last look is remembered; some 100 bytes each."""


@dataclass(frozen=True, slots=True)
class _Look:
    begun_at: float
    over: asyncio.Event = field(default_factory=asyncio.Event)


class SecondLook:
    """Asks for news of the directory because of what operators ask; all requests of one operator share a look."""

    def __init__(self, source: DirectorySource) -> None:
        self._source = source
        self._looks: Recent[Operator, _Look] = Recent(MAX_OPERATORS)

    async def __call__(self, sender: Operator, is_contradicted: Callable[[Directory], bool], now: float) -> Directory:
        """The directory after a look, or at once if the last one for ``sender`` was just now.

        Args:
            is_contradicted: whether a directory speaks against the request.
            now: seconds; does not run backwards.
        """
        look = self._looks.get(sender)
        if look is None or now - look.begun_at >= AGAIN_AFTER:
            look = _Look(now)
            self._looks.put(sender, look)
            try:
                await self._ask(is_contradicted)
            finally:
                look.over.set()
        await look.over.wait()
        return self._source.current

    async def _ask(self, is_contradicted: Callable[[Directory], bool]) -> None:
        await self._source.refresh()
        if is_contradicted(self._source.current):
            await asyncio.sleep(SECOND_TRY_AFTER)
            await self._source.refresh()

"""A store that is gone with its process: for tests, and where nothing needs to be kept."""

from collections.abc import Sequence

from eps.datastores import DataEntry


class MemoryDatastore:
    """Keeps entries in a list; see :class:`eps.datastores.Datastore`."""

    def __init__(self, entries: Sequence[DataEntry] = (), location: str = "memory") -> None:
        self.location = location
        self._entries = list(entries)

    async def append(self, entries: Sequence[DataEntry]) -> None:
        self._entries.extend(entries)

    async def replace(self, entries: Sequence[DataEntry]) -> None:
        self._entries = list(entries)

    async def read_all(self) -> list[DataEntry]:
        return list(self._entries)

    async def last_id(self) -> bytes | None:
        return self._entries[-1].id if self._entries else None

    async def append_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        if await self.last_id() != last:
            return False
        await self.append(entries)
        return True

    async def replace_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        if await self.last_id() != last:
            return False
        await self.replace(entries)
        return True

    async def close(self) -> None:
        """Nothing to give back."""

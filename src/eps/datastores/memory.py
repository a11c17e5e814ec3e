"""A store that is gone with its process: for tests, and where nothing needs to be kept."""

from collections.abc import Sequence

from eps.datastores import DataEntry


class MemoryDatastore:
    """Keeps entries in a list; see :class:`eps.datastores.Datastore`."""

    location = "memory"

    def __init__(self, entries: Sequence[DataEntry] = ()) -> None:
        self._entries = list(entries)

    async def append(self, entries: Sequence[DataEntry]) -> None:
        self._entries.extend(entries)

    async def replace(self, entries: Sequence[DataEntry]) -> None:
        self._entries = list(entries)

    async def read_all(self) -> list[DataEntry]:
        return list(self._entries)

    async def close(self) -> None:
        """Nothing to give back."""

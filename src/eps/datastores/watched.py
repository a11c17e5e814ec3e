"""A store whose failures are reported: how often one can't be used is a number to alert on, whoever wanted it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from eps.core.event import Emit, StoreError
from eps.datastores import DataEntry, Datastore, SharedDatastore
from eps.errors import InternalError

READ, WRITE = "read", "write"
"""What ``core.event.StoreError`` calls them."""


class Watched(Datastore):
    """``store``, which it owns; ``emit`` is told of each failure."""

    def __init__(self, store: Datastore, emit: Emit) -> None:
        self._store = store
        self._emit = emit

    @property
    def location(self) -> str:
        return self._store.location

    @contextmanager
    def _watching(self, operation: str) -> Iterator[None]:
        try:
            yield
        except InternalError:
            self._emit(StoreError(operation=operation))
            raise

    async def append(self, entries: Sequence[DataEntry]) -> None:
        with self._watching(WRITE):
            await self._store.append(entries)

    async def replace(self, entries: Sequence[DataEntry]) -> None:
        with self._watching(WRITE):
            await self._store.replace(entries)

    async def read_all(self) -> list[DataEntry]:
        with self._watching(READ):
            return await self._store.read_all()

    async def last_id(self) -> bytes | None:
        with self._watching(READ):
            return await self._store.last_id()

    async def append_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        with self._watching(WRITE):
            return await self._store.append_if(last, entries)

    async def replace_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        with self._watching(WRITE):
            return await self._store.replace_if(last, entries)

    async def close(self) -> None:
        await self._store.close()


class WatchedShared(Watched, SharedDatastore):
    """As :class:`Watched`, of one that others continue, too."""

    def __init__(self, store: SharedDatastore, emit: Emit) -> None:
        super().__init__(store, emit)
        self._shared = store

    async def read_after(self, count: int, last: bytes | None) -> list[DataEntry] | None:
        with self._watching(READ):
            return await self._shared.read_after(count, last)

    async def changed(self) -> None:
        await self._shared.changed()


def watched(store: Datastore, emit: Emit) -> Datastore:
    """``store``, with its failures reported."""
    return WatchedShared(store, emit) if isinstance(store, SharedDatastore) else Watched(store, emit)

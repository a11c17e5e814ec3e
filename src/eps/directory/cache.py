"""The verified records on our own disk, so that a server starts while the service directory is down.

A cache must never keep a server from starting or running: whatever goes wrong with it is told once, and the server
goes on without. What is read from it is verified again.
"""

import asyncio
from collections.abc import Sequence

from eps.core import record_text
from eps.core.event import Emit, Level, Notice
from eps.core.record import SignedRecord
from eps.datastores import RECORD, DataEntry, Datastore, new_id
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.slices import SLICE
from eps.errors import BadRequest, EpsError


class RecordCache:
    """Keeps the records of one chain in a store of their own.

    Args:
        path: the store's file; None keeps nothing.
        emit: told once if the cache can't be used.
    """

    def __init__(self, path: str | None, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._store: Datastore | None = None

    async def load(self) -> list[object]:
        """Open the cache and give the records in it as JSON values; none if there is no usable cache."""
        if self._path is None:
            return []
        values: list[object] = []
        try:
            self._store = await SqliteDatastore.open(self._path)
            entries = await self._store.read_all()
            for number, entry in enumerate(entries, 1):
                values.append(record_text.loads(entry.data, max_bytes=len(entry.data)))
                if number % SLICE == 0:
                    await asyncio.sleep(0)
        except BadRequest as error:
            # The store itself works: it stays open, and gets new content when the service directory answers.
            self._complain(
                f"the directory cache {self._path} can't be read: record {len(values) + 1} is not JSON: {error}"
            )
            return []
        except EpsError as error:
            await self.close()
            self._complain(f"the directory cache can't be used: {error}")
            return []
        return values

    async def append(self, records: Sequence[SignedRecord]) -> None:
        """Add verified records behind those that are there."""
        await self._write(records, whole=False)

    async def replace(self, records: Sequence[SignedRecord]) -> None:
        """Keep these verified records only."""
        await self._write(records, whole=True)

    async def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def _write(self, records: Sequence[SignedRecord], *, whole: bool) -> None:
        if self._store is None:
            return
        entries: list[DataEntry] = []
        for record in records:
            entries.append(DataEntry(RECORD, new_id(), record_text.dumps(record.to_json())))
            if len(entries) % (10 * SLICE) == 0:
                await asyncio.sleep(0)
        try:
            await (self._store.replace(entries) if whole else self._store.append(entries))
        except EpsError as error:
            await self.close()  # what is in it may lack records now; at the next start it is completed
            self._complain(f"the directory cache can't be written: {error}")

    def _complain(self, text: str) -> None:
        self._emit(Notice(text=f"{text}; going on without it", level=Level.WARN))

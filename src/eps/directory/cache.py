"""The verified chain on our own disk, so that a server starts while the service directory is down.

A cache must never keep a server from starting or running: whatever goes wrong with it is told once, and the server
goes on without. What is read from it is verified again.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from eps.core import record_text
from eps.core.chain import Chain, pick_newest_root
from eps.core.event import Emit, Level, Notice
from eps.core.record import SignedRecord
from eps.datastores import RECORD, DataEntry, Datastore, new_id
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.slices import SLICE, last_chain, many_objects, read_records
from eps.errors import BadParams, BadRequest, EpsError, RecordError

KEEP_SECONDS = 5.0
"""How long closing waits for the cache to be written."""


class ChainCache:
    """Keeps the records of one chain in a store of their own.

    Args:
        path: the store's file; None keeps nothing.
        emit: told once if the cache can't be used.
    """

    def __init__(self, path: str | None, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._store: Datastore | None = None
        self._kept: Chain | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def load(self, empty: Chain, now: datetime) -> Chain:
        """Open the cache and verify what it holds; call once, first of all.

        Returns:
            The chain in the cache. If it doesn't verify, or there is none, ``empty``: it is overwritten by what is
            kept next.
        """
        values = await self._read()
        if not values:
            return empty
        try:
            with many_objects(len(values)):
                records = pick_newest_root(await read_records(values))
                self._kept = await last_chain(empty.extending(records, now), empty)
        except (BadParams, RecordError) as error:
            text = f"the directory cache is not used, it does not verify: {error.message}"
            self._emit(Notice(text=text, hint="it is replaced when the service directory answers", level=Level.WARN))
            return empty
        return self._kept

    async def keep(self, chain: Chain) -> None:
        """Write a verified chain. It is written to its end if the caller is cancelled: it shall be there next time."""
        self._keeping = asyncio.create_task(self._keep(chain), name="directory cache")
        await asyncio.shield(self._keeping)

    async def close(self) -> None:
        """Wait a little for a write that is under way, then give the store back."""
        if self._keeping is not None and not self._keeping.done():
            await asyncio.wait([self._keeping], timeout=KEEP_SECONDS)
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._close_store()

    async def _keep(self, chain: Chain) -> None:
        known, self._kept = self._kept, chain
        root = known.root if known is not None else None
        if known is not None and root is not None and chain.root is not None and root.hash == chain.root.hash:
            await self._write(chain.records[len(known.records) :], whole=False)
        else:
            await self._write(chain.records, whole=True)

    async def _read(self) -> list[object]:
        """The records in the cache as JSON values; none if there is no usable cache."""
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
            await self._close_store()
            self._complain(f"the directory cache can't be used: {error}")
            return []
        return values

    async def _close_store(self) -> None:
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
            await self._close_store()  # what is in it may lack records now; at the next start it is completed
            self._complain(f"the directory cache can't be written: {error}")

    def _complain(self, text: str) -> None:
        self._emit(Notice(text=f"{text}; going on without it", level=Level.WARN))

"""The verified chain on our own disk, so that a server starts while the service directory is down.

A cache must never keep a server from starting or running: whatever goes wrong with it is told once, and the server
goes on without. What is read from it is verified again.

    keep ─▶ written, behind what is there ─▶ up to date
              └ can't be ─▶ behind: closed; every 10 s opened and written whole, until that succeeds

A cache that stayed behind would be a danger: the next start begins with it, and so with certificates revoked since.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from eps.core import record_text
from eps.core.chain import Chain, pick_newest_root
from eps.core.event import Emit, Level, Notice, StoreError
from eps.core.record import SignedRecord
from eps.datastores import RECORD, DataEntry, Datastore, new_id
from eps.datastores.sqlite import SqliteDatastore, read_entries
from eps.directory.slices import SLICE, last_chain, many_objects, read_records
from eps.errors import BadParams, BadRequest, EpsError, RecordError, Side

KEEP_SECONDS = 5.0
"""How long closing waits for the cache to be written."""

AGAIN_SECONDS = 10.0
"""Between two attempts to write a cache that can't be written. An administrator who has made room sees it soon after,
and one attempt is an open file and a failed transaction: too little to be felt beside six a minute."""

REPLACED = "it is replaced when the service directory answers"


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
        self._newest: Chain | None = None
        self._complained = False
        self._one_writer = asyncio.Lock()
        self._keeping: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None

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
            self._kept = await verified(values, empty, now)
        except (BadParams, RecordError) as error:
            text = f"the directory cache is not used, it does not verify: {error.message}"
            self._emit(Notice(text=text, hint=REPLACED, level=Level.WARN))
            return empty
        return self._kept

    async def keep(self, chain: Chain) -> None:
        """Write a verified chain. It is written to its end if the caller is cancelled: it shall be there next time.

        If it can't be, that is tried again for as long as this is open; nobody waits for that.
        """
        self._newest = chain
        self._keeping = asyncio.create_task(self._keep(), name="directory cache")
        await asyncio.shield(self._keeping)

    async def close(self) -> None:
        """Wait a little for a write that is under way, then give the store back."""
        if self._keeping is not None and not self._keeping.done():
            await asyncio.wait([self._keeping], timeout=KEEP_SECONDS)
        tasks = [task for task in (self._keeping, self._trying) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close_store()

    async def _keep(self) -> None:
        """Bring the store up to the newest chain, or see to it that this is tried again."""
        if self._path is None:
            return
        async with self._one_writer:
            chain, known = self._newest, self._kept
            assert chain is not None, "there is nothing to keep before the first keep"
            try:
                await self._write(chain, known)
            except EpsError as error:
                self._kept = None  # whatever is in it now: the next time all of it is replaced
                await self._close_store()
                self._complain(f"the directory cache can't be written: {error}", error)
                if self._trying is None:
                    self._trying = asyncio.create_task(self._try_again(), name="directory cache, again")
                return
            self._kept = chain
            self._tell_written()

    async def _try_again(self) -> None:
        while self._kept is not self._newest:
            await asyncio.sleep(AGAIN_SECONDS)
            await self._keep()
        self._trying = None

    async def _read(self) -> list[object]:
        """The records in the cache as JSON values; none if there is no usable cache."""
        if self._path is None:
            return []
        try:
            self._store = await SqliteDatastore.open(self._path)
            return await _values(await self._store.read_all())
        except BadRequest as error:
            # The store itself works: it stays open, and gets new content when the service directory answers.
            text = f"the directory cache {self._path} can't be read: {error}"
            self._emit(Notice(text=text, hint=REPLACED, level=Level.WARN))
        except EpsError as error:
            await self._close_store()
            self._complain(f"the directory cache can't be used: {error}", error)
        return []

    async def _close_store(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def _write(self, chain: Chain, known: Chain | None) -> None:
        """Write what ``known`` lacks; all of ``chain``, if that is of another root, or None.

        Raises:
            EpsError: nothing was written, or nobody knows what.
        """
        if self._store is None:
            assert self._path is not None, "without a path nothing is written"
            self._store, known = await SqliteDatastore.open(self._path), None
        if known is None or known.root is None or chain.root is None or known.root.hash != chain.root.hash:
            await self._store.replace(await entries_of(chain.records))
        else:
            await self._store.append(await entries_of(chain.records[len(known.records) :]))

    def _complain(self, text: str, error: EpsError) -> None:
        self._emit(StoreError(operation="write"))
        if self._complained:
            return
        self._complained = True
        hint = f"going on without it, and trying again every {AGAIN_SECONDS:.0f} s: until then, a restart begins with "
        hint += "the directory as it was"
        reason, side = error.reason.value, Side.OURS.value
        self._emit(Notice(text=text, hint=hint, level=Level.WARN, reason=reason, side=side))

    def _tell_written(self) -> None:
        if self._complained:
            self._complained = False
            self._emit(Notice(text=f"the directory cache {self._path} is written again, whole"))


async def entries_of(records: Sequence[SignedRecord]) -> list[DataEntry]:
    """``records`` as stores keep them."""
    entries: list[DataEntry] = []
    for record in records:
        entries.append(DataEntry(RECORD, new_id(), record_text.dumps(record.to_json())))
        if len(entries) % (10 * SLICE) == 0:
            await asyncio.sleep(0)
    return entries


async def _values(entries: Sequence[DataEntry]) -> list[object]:
    values: list[object] = []
    for number, entry in enumerate(entries, 1):
        try:
            values.append(record_text.loads(entry.data, max_bytes=len(entry.data)))
        except BadRequest as error:
            raise BadRequest(f"record {number} is not JSON: {error}") from error
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return values


async def verified(values: Sequence[object], empty: Chain, now: datetime) -> Chain:
    """The newest chain among records as JSON values, verified from its root on.

    Raises:
        BadParams: one of them is no record.
        RecordError: one of them is not to be believed.
    """
    with many_objects(len(values)):
        records = pick_newest_root(await read_records(values))
        return await last_chain(empty.extending(records, now), empty, records)


async def read_cache(path: str, empty: Chain, now: datetime) -> Chain:
    """What a server's cache holds, verified, also while the server runs; ``empty`` if it holds nothing.

    Raises:
        EpsError: it is missing, can't be read, or doesn't verify.
    """
    return await chain_in(await asyncio.to_thread(read_entries, path), empty, now)


async def chain_in(entries: Sequence[DataEntry], empty: Chain, now: datetime) -> Chain:
    """The newest chain among a store's entries, verified; ``empty`` if there is none.

    Raises:
        EpsError: one of them can't be read or is not to be believed.
    """
    return await verified(await _values(entries), empty, now)

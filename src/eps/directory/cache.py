"""The verified chain on our own disk, so that a server starts while the service directory is down.

A cache must never keep a server from starting or running: whatever goes wrong with it is told once, and the server
goes on without. What is read from it is verified again, but for what a seal of ours vouches for (``sealing``).

    keep ─▶ written, behind what is there ─▶ up to date
              └ can't be ─▶ behind: closed; every 10 s opened and written whole, until that succeeds

A cache that stayed behind would be a danger: the next start begins with it, and so with certificates revoked since.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from eps.core import record_text
from eps.core.chain import Chain, pick_newest_root
from eps.core.event import Emit, Level, Notice, StoreError
from eps.core.record import SignedRecord
from eps.core.soundness import Sound
from eps.datastores import RECORD, DataEntry, Datastore, new_id
from eps.datastores.sqlite import SqliteDatastore, read_entries
from eps.directory.inspection import sound_among
from eps.directory.sealing import Sealing
from eps.directory.slices import SLICE, last_chain, many_objects, read_records
from eps.errors import BadParams, BadRequest, EpsError, RecordError, Side

KEEP_SECONDS = 5.0
"""How long closing waits for the cache to be written."""

AGAIN_SECONDS = 10.0
"""Between two attempts to write a cache that can't be written. An administrator who has made room sees it soon after,
and one attempt is an open file and a failed transaction: too little to be felt beside six a minute."""

REPLACED = "it is replaced when the service directory answers"

SEAL_FILE = "directory-seal.json"
"""Beside the cache."""


class ChainCache:
    """Keeps the records of one chain in a store of their own.

    Args:
        path: the store's file; None keeps nothing.
        emit: told once if the cache can't be used.
        seal_key: of the seal beside it (``core.cache_seal``); empty: all is verified at each start.
    """

    def __init__(self, path: str | None, emit: Emit, seal_key: bytes = b"") -> None:
        self._path = path
        self._seal = Sealing(None if path is None else Path(path).with_name(SEAL_FILE), seal_key)
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
        texts = [entry.data for entry in await self._read()]
        if not texts:
            return empty
        sealed = await asyncio.to_thread(self._seal.known, texts, empty.trust)
        try:
            self._kept = await _verified_texts(texts, empty, now, sealed)
        except (BadParams, RecordError) as error:
            self._tell_unusable(f"is not used, it does not verify: {error.message}")
            return empty
        except BadRequest as error:
            self._tell_unusable(f"{self._path} can't be read: {error}")
            return empty
        await asyncio.to_thread(self._seal.write, self._kept)
        return self._kept

    def _tell_unusable(self, why: str) -> None:
        self._emit(Notice(text=f"the directory cache {why}", hint=REPLACED, level=Level.WARN))

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

    async def _read(self) -> Sequence[DataEntry]:
        """What is in the cache; nothing if it can't be used."""
        if self._path is None:
            return []
        try:
            self._store = await SqliteDatastore.open(self._path)
            return await self._store.read_all()
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
        is_new = True
        if known is None or known.root is None or chain.root is None or known.root.hash != chain.root.hash:
            entries = await entries_of(chain.records)
            await self._store.replace(entries)
        else:
            entries, is_new = await entries_of(chain.records[len(known.records) :]), False
            await self._store.append(entries)
        await asyncio.to_thread(self._seal.add, [entry.data for entry in entries], anew=is_new)
        await asyncio.to_thread(self._seal.write, chain)

    def _complain(self, text: str, error: EpsError) -> None:
        self._emit(StoreError(operation="write"))
        if self._complained:
            return
        self._complained = True
        hint = "if the file is damaged, move it away: it is made anew. Until then the server goes on without it, tries "
        hint += f"again every {AGAIN_SECONDS:.0f} s, and would begin with the directory as it was"
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


async def verified(
    values: Iterable[object], count: int, empty: Chain, now: datetime, sealed: Collection[int] = frozenset()
) -> Chain:
    """The newest chain among records as JSON values, verified from its root on.

    Args:
        values: each is let go when it has been read.
        count: about how many.
        sealed: the indices of those that are known to be sound.

    Raises:
        BadParams: one of them is no record.
        RecordError: one of them is not to be believed.
    """
    with many_objects(count):
        records = await read_records(values)
        unknown = [signed for index, signed in enumerate(records) if index not in sealed]
        found = await sound_among(unknown, empty.trust)
        steps = await asyncio.to_thread(_growing, empty, records, sealed, found, now)
        return await last_chain(steps, empty, records)


def _growing(
    empty: Chain, records: Sequence[SignedRecord], sealed: Collection[int], found: Sound, now: datetime
) -> Iterator[Chain]:
    sound = Sound(signed for index, signed in enumerate(records) if index in sealed or signed in found)
    return empty.extending(pick_newest_root(records), now, sound=sound)


async def _verified_texts(
    texts: list[bytes], empty: Chain, now: datetime, sealed: Collection[int] = frozenset()
) -> Chain:
    """As :func:`verified`, of a store's texts, which are let go one by one.

    Raises:
        BadRequest: one of them is not JSON.
    """
    return await verified(_values(texts), len(texts), empty, now, sealed)


def _values(texts: list[bytes]) -> Iterator[object]:
    for index, text in enumerate(texts):
        texts[index] = b""
        try:
            yield record_text.loads(text, max_bytes=len(text))
        except BadRequest as error:
            raise BadRequest(f"record {index + 1} is not JSON: {error}") from error


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
    return await _verified_texts([entry.data for entry in entries], empty, now)

"""A service directory's records in its store, which other service directories may continue.

    news    what stands behind what is known ─▶ nothing, or those records
                                             └▶ the store is no continuation of what it was: all of its records
    then    continued (behind our tip) or compared (all of them) gives the chain, or says what is missing
    append  if nobody else was faster

How far the store is known is set together with what is made of it (``seen``): who is cancelled in between has seen
nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from eps.core import record_text
from eps.core.chain import Chain, in_order, pick_newest_root
from eps.core.event import Emit, Level, Notice
from eps.core.high_water import HighWater
from eps.core.record import SignedRecord
from eps.datastores import RECORD, DataEntry, Datastore, SharedDatastore, new_id
from eps.directory.high_water import WHY_LESS, not_what_it_was
from eps.directory.slices import SLICE, last_chain, read_records
from eps.errors import BadRequest, EpsError, RecordError, Stage, StartError, StoreLost


class StoreIsLess(RecordError):
    """The store has lost what was in it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a store is known.

    Attributes:
        count: entries, of any type.
        last: the last one's id; None if there is none.
    """

    count: int = 0
    last: bytes | None = None

    def and_(self, entries: Sequence[DataEntry]) -> "Seen":
        """So far, and ``entries`` behind."""
        return Seen(self.count + len(entries), entries[-1].id) if entries else self


@dataclass(frozen=True, slots=True)
class News:
    """What was found in a store.

    Attributes:
        entries: of records only.
        whole: these are all that it holds, not only what is new.
        seen: how far it is known then.
    """

    entries: Sequence[DataEntry]
    whole: bool
    seen: Seen


class StoredRecords:
    """The records in one store.

    Args:
        store: stays the caller's to close.
        emit: told of records that stand in another order than their links say.

    Attributes:
        seen: how far it is known.
    """

    def __init__(self, store: Datastore, emit: Emit) -> None:
        self.location = store.location
        self.seen = Seen()
        self._store = store
        self._shared = store if isinstance(store, SharedDatastore) else None
        self._emit = emit

    @property
    def is_shared(self) -> bool:
        """Whether others may continue it."""
        return self._shared is not None

    async def all(self) -> News:
        """All that it holds; raises InternalError if it can't be read."""
        return _news(Seen(), await self._store.read_all(), whole=True)

    async def news(self, *, whole: bool) -> News | None:
        """What others have stored meanwhile; None: nothing. Raises as :meth:`all`.

        Args:
            whole: all of it is wanted, if there is anything new.
        """
        if self._shared is None:
            return None
        entries = await self._shared.read_after(self.seen.count, self.seen.last)
        if entries is not None and not entries:
            return None
        if entries is None or whole:
            return await self.all()
        return _news(self.seen, entries, whole=False)

    async def read(self, news: News) -> list[SignedRecord]:
        """The records of news; of all, those of earlier roots, too, each behind its parent.

        Raises:
            RecordError: one can't be read, or they don't follow each other.
        """
        records: list[SignedRecord] = []
        for number, entry in enumerate(news.entries, 1):
            try:
                (record,) = await read_records([record_text.loads(entry.data, max_bytes=len(entry.data))], "record")
            except BadRequest as error:
                which = f"record {number} of {len(news.entries)}{'' if news.whole else ' that are new'}"
                raise RecordError(f"{which} can't be read: {error}") from error
            records.append(record)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        return self._in_order(records) if news.whole else records

    async def changed(self) -> None:
        """Wait until others may have changed it."""
        assert self._shared is not None, "nobody else changes it"
        await self._shared.changed()

    async def append(self, encoded: Sequence[bytes]) -> Seen | None:
        """Store records behind all others; durable when this returns.

        Returns:
            How far it is known then. None: somebody else has changed it, and nothing was stored.

        Raises:
            InternalError: it can't be written.
        """
        entries = [DataEntry(RECORD, new_id(), data) for data in encoded]
        if self._shared is None:
            await self._store.append(entries)
        elif not await self._shared.append_if(self.seen.last, entries):
            return None
        return self.seen.and_(entries)

    def _in_order(self, records: list[SignedRecord]) -> list[SignedRecord]:
        """Servers in use don't mind the order: it is looked into only where records don't follow each other."""
        loose = [
            number
            for number, (before, record) in enumerate(pairwise([None, *records]), 1)
            if record is not None and not record.is_root and (before is None or before.hash != record.parent_hash)
        ]
        if not loose:
            return records
        number, record = loose[0], records[loose[0] - 1].record
        where = f"record {number} of {len(records)} ({record.name}, {record.section}) does not follow the one before it"
        ordered = in_order(records)
        if ordered is None:
            raise RecordError(where)
        self._emit(Notice(level=Level.WARN, text=f"in {self.location}, {where}; their links say the order"))
        return ordered


def _news(before: Seen, entries: Sequence[DataEntry], *, whole: bool) -> News:
    return News([entry for entry in entries if entry.type == RECORD], whole, before.and_(entries))


async def encode(records: Sequence[SignedRecord]) -> list[bytes]:
    """Records as they are stored and served."""
    encoded: list[bytes] = []
    for start in range(0, len(records), 10 * SLICE):
        encoded += [record_text.dumps(record.to_json()) for record in records[start : start + 10 * SLICE]]
        await asyncio.sleep(0)
    return encoded


async def chain_after(present: Chain, records: Sequence[SignedRecord], now: datetime, *, whole: bool) -> Chain:
    """The chain that follows from what was found in the store.

    Args:
        whole: these are all records of the store, not only those behind our tip.

    Raises:
        StoreIsLess: the store has lost something.
        RecordError: it holds what is not to be believed.
    """
    if whole:
        return await _compared(present, pick_newest_root(records), now)
    for part in _parts(records):
        present = await last_chain(present.accepting(part, now), present, part)
    return present


def _parts(records: Sequence[SignedRecord]) -> list[list[SignedRecord]]:
    """What goes on from the tip, and then each root with what goes on from that."""
    parts: list[list[SignedRecord]] = []
    for record in records:
        if record.is_root or not parts:
            parts.append([])
        parts[-1].append(record)
    return parts


async def _compared(present: Chain, newest: Sequence[SignedRecord], now: datetime) -> Chain:
    """What the store's newest chain makes of ours: it goes on from it, or has another root that replaces it."""
    mark = HighWater.of(present)
    lost = mark.lost(newest) if mark is not None else ""
    if not lost:
        behind = newest[len(present.records) :]
        return await last_chain(present.extending(behind, now), present, behind)
    if newest and present.root is not None and newest[0].hash != present.root.hash:
        try:
            return await last_chain(present.replacing_root(newest, now), present, newest)
        except RecordError as error:
            raise StoreIsLess(f"{lost}; {error.message}") from None
    raise StoreIsLess(lost)


def told(error: RecordError, location: str, forget: str) -> tuple[str, str]:
    """Why the store is not followed: what the log says of it, and a hint.

    Args:
        forget: what to do where a loss is meant.
    """
    if isinstance(error, StoreIsLess):
        hint = f"{WHY_LESS}; {forget}, and start the service directories that use it anew"
        return not_what_it_was(location, error.message), hint
    return (
        f"what others have stored in {location} is not followed: {error.message}; what is known goes on being served, "
        "and nothing is stored on top of it",
        "have all service directories on that store the same authorities in their settings? If it does not belong "
        "there, sd store import --replace puts a verified copy in its place",
    )


def unusable(location: str, why: str) -> StartError:
    """A service directory can't start with what the store holds."""
    return StartError(
        f"the records in {location} don't verify: {why}",
        hint="restore a backup of the store; if the certificate authority was replaced, check the CA files in the "
        "settings, or move the store away and submit the directory anew with --reset",
        stage=Stage.DIRECTORY,
    )


async def follow(stored: StoredRecords, look: Callable[[], Awaitable[None]], emit: Emit) -> None:
    """``look`` whenever others may have changed the store, for as long as this runs; say once what goes wrong."""
    said = ""
    while True:
        await stored.changed()
        try:
            await look()
            said = ""
        except StoreLost:
            continue  # the datastore has said so
        except Exception as error:  # noqa: BLE001  # a fault of ours must not end the following for good
            is_ours = not isinstance(error, EpsError)
            text = f"unexpected {type(error).__name__}: {error}" if is_ours else str(error)
            if text != said:
                said = text
                emit(Notice(level=Level.ERROR, text=f"what others store is not followed: {text}"))

"""The announcements that a proxy keeps: in memory for answers, in a datastore for good (PROTOCOL.md section 8).

    decide(f)   read what is new → f says what to write → write, if nobody was faster → else from the start

So two operators that announce one domain at once never both get it, also if they ask different public proxies on one
store: the store compares and writes in one step (``Datastore.append_if``). Who reads waits for the store only if what
is in memory may be old, and not for long: while the store is locked, slow or broken, memory goes on. Any number of
readers who wait at once share one look.

The store is a list to which changed announcements are appended; a repeated one that changes nothing is not written.
When the list has grown long it is written anew, without what has expired.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from eps.core.announcement import Announcement, Keeper, decode, domain_key, encode
from eps.core.event import Emit, Level, Notice
from eps.core.names import Operator
from eps.datastores import DataEntry, Datastore, new_id
from eps.errors import EpsError, StoreFailed, StoreLost

FRESH_SECONDS = 1.0
"""How long memory is trusted before the store is asked whether another proxy has changed it."""

LOOK_SECONDS = 1.0
"""How long a reader waits for the store. A look takes a millisecond, or some hundred where 100,000 announcements have
to be read anew; one into a locked store takes seconds, for which TLS clients of known domains must not wait."""

MAX_ATTEMPTS = 20
"""How often a decision is made anew because another proxy was faster. Each time, some proxy gets its decision through,
so that not even twenty of them at once are stopped by this."""

SPARE_ENTRIES = 1000
"""The store is written anew when it holds this many entries more than twice the announcements that stand."""

T = TypeVar("T")
Key = tuple[str, Operator]
"""A domain in lower case; and the public proxy, where the book is a private one."""


class AnnouncementBook:
    """All announcements of one proxy.

    Args:
        store: nobody else writes to it but other public proxies' books. Closed by its owner, not here.
        keeper: public: one announcement for each domain; private: one for each domain and public proxy.
        now: the wall clock, in UTC.

    Attributes:
        now: as given, for those who decide about announcements.
    """

    def __init__(self, store: Datastore, keeper: Keeper, now: Callable[[], datetime], emit: Emit) -> None:
        self._store = store
        self._keeper = keeper
        self.now = now
        self._emit = emit
        self._known: dict[Key, Announcement] = {}
        self._others: list[DataEntry] = []
        self._last: bytes | None = None
        self._size = 0
        self._checked_at = -FRESH_SECONDS
        self._lock = asyncio.Lock()
        self._is_failing = False

    def use(self, store: Datastore) -> None:
        """Keep them in ``store`` from now on: the same one, opened again."""
        self._store = store

    async def load(self) -> None:
        """Read the store; raises InternalError if it can't be read."""
        async with self._lock:
            await self._read_all()

    def standing(self) -> list[Announcement]:
        """Those in memory that have not expired, in the order in which they were first made."""
        now = self.now()
        return [announcement for announcement in self._known.values() if announcement.stands(now)]

    async def current(self) -> list[Announcement]:
        """As :meth:`standing`, after a look into the store."""
        await self._look()
        return self.standing()

    async def find(self, domain: str, holder: Operator | None = None) -> Announcement | None:
        """The announcement that stands for ``domain``; None if there is none.

        Args:
            holder: in a private book, the public proxy.
        """
        fresh = asyncio.get_running_loop().time() - self._checked_at < FRESH_SECONDS
        found = self._find(domain, holder) if fresh else None
        if found is None:
            await self._look()
            found = self._find(domain, holder)
        return found

    async def decide(self, decision: Callable[[Mapping[Key, Announcement]], tuple[Sequence[Announcement], T]]) -> T:
        """Let ``decision`` see the whole book, expired announcements too, and keep what it wants kept.

        Args:
            decision: returns the announcements to be added or replaced, and the result. Pure: it may be asked again.

        Returns:
            Its result, once everything is on disk.

        Raises:
            InternalError: the store can't be read or written; nothing was changed.
        """
        try:
            result = await self._decided(decision)
        except EpsError as error:
            self._fails(error.message, error.hint, told=isinstance(error, StoreLost))
            raise
        self._is_failing = False
        return result

    async def _decided(self, decision: Callable[[Mapping[Key, Announcement]], tuple[Sequence[Announcement], T]]) -> T:
        async with self._lock:
            for _ in range(MAX_ATTEMPTS):
                await self._refresh()
                changed, result = decision(self._known)
                if not changed or await self._write(changed):
                    return result
        raise StoreFailed(f"the datastore {self._store.location} is changed by others all the time", hint="try again")

    def _find(self, domain: str, holder: Operator | None) -> Announcement | None:
        found = self._known.get((domain_key(domain), holder or Operator("")))
        return found if found is not None and found.stands(self.now()) else None

    async def _look(self) -> None:
        """Bring memory up to date; if the store can't be read, what is in memory goes on."""
        since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._lock:
                if self._checked_at < since:  # else somebody has looked while we waited
                    await self._refresh()
        except TimeoutError:
            self._fails(
                f"the datastore {self._store.location} gives no answer within {LOOK_SECONDS:g} s",
                "does another program hold it locked, or is the disk slow? What is in memory goes on",
            )
        except EpsError as error:
            self._fails(error.message, error.hint, told=isinstance(error, StoreLost))
        else:
            self._is_failing = False

    def _fails(self, text: str, hint: str, *, told: bool = False) -> None:
        """Said once, until the store works again: every TLS client makes us look. Not if the store has told it."""
        level = Level.DEBUG if self._is_failing or told else Level.ERROR
        self._is_failing = True
        self._emit(Notice(level=level, text=text, hint=hint))

    async def _refresh(self) -> None:
        began = asyncio.get_running_loop().time()
        if await self._store.last_id() != self._last:
            await self._read_all()
        self._checked_at = began

    async def _read_all(self) -> None:
        entries = await self._store.read_all()
        known: dict[Key, Announcement] = {}
        others: list[DataEntry] = []
        for entry in entries:
            announcement = self._decoded(entry) if entry.type == self._keeper.value else None
            if announcement is None:
                others.append(entry)
            else:
                known[self._key(announcement)] = announcement
        self._known, self._others = known, others
        self._last = entries[-1].id if entries else None
        self._size = len(entries)

    def _decoded(self, entry: DataEntry) -> Announcement | None:
        try:
            return decode(entry.data, self._keeper)
        except ValueError as error:
            text = f"the datastore {self._store.location} holds an entry that is no announcement: it {error}"
            self._emit(Notice(level=Level.WARN, text=text))
            return None

    async def _write(self, changed: Sequence[Announcement]) -> bool:
        entries = [self._entry(announcement) for announcement in changed]
        known = self._known | {self._key(announcement): announcement for announcement in changed}
        if self._size + len(entries) > 2 * len(self.standing()) + SPARE_ENTRIES:
            return await self._write_anew(known)
        if not await self._store.append_if(self._last, entries):
            return False
        self._known, self._last, self._size = known, entries[-1].id, self._size + len(entries)
        return True

    async def _write_anew(self, known: Mapping[Key, Announcement]) -> bool:
        """Without what has expired; entries of other types stay, under new ids as all others."""
        now = self.now()
        standing = {key: announcement for key, announcement in known.items() if announcement.stands(now)}
        entries = [DataEntry(entry.type, new_id(), entry.data) for entry in self._others]
        entries += [self._entry(announcement) for announcement in standing.values()]
        if not await self._store.replace_if(self._last, entries):
            return False
        self._known, self._size = standing, len(entries)
        self._last = entries[-1].id if entries else None
        return True

    def _entry(self, announcement: Announcement) -> DataEntry:
        return DataEntry(self._keeper.value, new_id(), encode(announcement, self._keeper))

    def _key(self, announcement: Announcement) -> Key:
        return announcement.key, announcement.holder if self._keeper is Keeper.PRIVATE else Operator("")

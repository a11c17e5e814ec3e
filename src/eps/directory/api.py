"""The directory ``api``: follows a service directory and verifies every record (PROTOCOL.md section 4).

    start ─ cache ─▶ verified? ─▶ current
      └▶ every few seconds:  getRecords after our tip ─▶ [] nothing new
                                                       ├▶ records that go on from our tip ─▶ verified ─▶ current, cache
                                                       └▶ a whole list: a newer root, or refused

Now and then, when somebody asks for news, and while something is wrong, ``getTip`` comes first: it is small, so an
endpoint that is out of reach costs little, and it shows a reset also of servers that answer ``[]`` to a tip they know
from an older chain. Whatever the service directory says or does, what was verified last stays in use.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from eps.core.chain import Chain, pick_newest_root
from eps.core.entries import Directory
from eps.core.event import DirectoryChanged, DirectoryFailed, Emit, Level, Notice
from eps.core.names import Object, Operator
from eps.core.signature import TrustStore
from eps.directory.cache import RecordCache
from eps.directory.endpoints import CallEndpoint, Endpoints
from eps.directory.slices import last_chain, many_objects, read_records
from eps.errors import BadParams, DeliveryError, EpsError, RecordError

RETRY_SECONDS = 1.0
"""The pace while the directory is empty, lacks ourselves or can't be reached: a network must be up within 5 s of its
last piece."""

REFRESH_EVERY = 1.0
"""Seconds between two refreshes that calls to unknown operators may cause."""

REFRESH_SECONDS = 5.0
"""The longest that a refresh keeps a call waiting."""

THOROUGH_EVERY = 60.0
"""Seconds until the tip is compared, although nothing is wrong; also how long a refused chain is not fetched again."""

TIP_SECONDS = 3.0
NEWS_SECONDS = 5.0
FETCH_SECONDS = 60.0
"""Deadlines: of ``getTip``; of ``getRecords`` from an endpoint that may be dead; of one from an endpoint that has just
shown that it has much to tell."""

LOAD_SECONDS = 2.0
"""How long ``start`` waits for the cache to be verified; some 10,000 records. The rest is done behind it."""

KEEP_SECONDS = 5.0
"""How long closing waits for the cache to be written."""

MIN_PACE = 0.1
"""Seconds; a setting of 0 must not make a busy loop."""

METHOD_NOT_FOUND = -32601

MAX_REASONS = 100
"""Distinct failures that are remembered as reported."""


class ApiDirectory:
    """See :class:`eps.directory.DirectorySource`.

    Args:
        call: asks an endpoint (``ServiceDirectoryClients.call``).
        endpoints: their URLs, for messages; ``call``'s index counts in them.
        trust: whose signatures count.
        cache_path: the file that keeps what was verified; None keeps nothing.
        own_name: while it has no entry, news are asked for every second.
        cache_entries_for: seconds between two questions while all is well.
        retry_every: seconds between two while something is missing.
        release: awaited when closing (``ServiceDirectoryClients.close``).
    """

    def __init__(
        self,
        call: CallEndpoint,
        endpoints: Sequence[str],
        trust: TrustStore,
        *,
        emit: Emit,
        cache_path: str | None = None,
        own_name: Operator | None = None,
        cache_entries_for: float = 5.0,
        retry_every: float = RETRY_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._endpoints = Endpoints(call, endpoints)
        self._emit = emit
        self._own_name = own_name
        complete = max(cache_entries_for, MIN_PACE)
        self._pace = (complete, min(retry_every, complete))
        self._now = now
        self._release = release
        self._chain = Chain.empty(trust)
        self._cache = RecordCache(cache_path, emit)
        self._cached = self._chain
        self._refused: dict[int, _Refusal] = {}
        self._failures: set[str] = set()
        self._missing_reported = False
        self._next_thorough = 0.0
        self._news = asyncio.Event()
        self._wake = asyncio.Event()
        self._loaded = asyncio.Event()
        self._round: asyncio.Future[None] | None = None
        self._refresh_from = 0.0
        self._task: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def current(self) -> Directory:
        return self._chain.directory

    async def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="directory")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._loaded.wait(), LOAD_SECONDS)

    async def refresh(self) -> None:
        if self._task is None or self._task.done():
            return
        loop = asyncio.get_running_loop()
        if self._round is None:
            if loop.time() < self._refresh_from:
                return
            self._refresh_from = loop.time() + REFRESH_EVERY
            self._round = loop.create_future()
            self._wake.set()
        await asyncio.wait([self._round], timeout=REFRESH_SECONDS)

    async def changed(self, seen: Directory) -> Directory:
        while self.current is seen:
            await self._news.wait()
        return self.current

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._end_round(self._round)
        if self._keeping is not None and not self._keeping.done():
            await asyncio.wait([self._keeping], timeout=KEEP_SECONDS)
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._cache.close()
        if self._release is not None:
            await self._release()

    # Following

    async def _follow(self) -> None:
        await self._load()
        self._loaded.set()
        while True:
            self._wake.clear()
            asked = self._round
            try:
                await self._poll(thorough=asked is not None)
            except Exception as error:  # noqa: BLE001  # a fault of ours must not end the following for good
                self._failed(f"unexpected {type(error).__name__}: {error}", "please report this")
            self._end_round(asked)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pause())

    def _end_round(self, asked: "asyncio.Future[None] | None") -> None:
        if asked is None:
            return
        if self._round is asked:
            self._round = None
        if not asked.done():
            asked.set_result(None)

    def _pause(self) -> float:
        complete, incomplete = self._pace
        return complete if not self._failures and not self._lacks_something() else incomplete

    def _lacks_something(self) -> bool:
        if self._own_name is None:
            return not self.current.entries
        return self.current.entry(self._own_name) is None

    async def _poll(self, *, thorough: bool) -> None:
        """Ask once; all endpoints in turn until one has an answer that can be believed."""
        time = asyncio.get_running_loop().time()
        thorough = thorough or bool(self._failures) or time >= self._next_thorough
        left, refusals = self._endpoints.order(), []
        while True:
            try:
                index = await (self._compare(left) if thorough else self._ask_news(left))
            except _NotBelieved as refusal:
                refusals.append(refusal)
                left.remove(refusal.index)
                if left:
                    continue
                self._failed("; ".join(r.reason for r in refusals), refusals[0].error.hint)
            except EpsError as error:
                self._failed("; ".join([r.reason for r in refusals] + [error.message]), error.hint)
            else:
                if thorough:
                    self._next_thorough = time + THOROUGH_EVERY
                self._succeeded(index)
                for refused in refusals:  # once: from now on the good one is asked first
                    self._emit(Notice(text=refused.reason, hint=refused.error.hint, level=Level.WARN))
            return

    async def _ask_news(self, among: Sequence[int]) -> int:
        """The quick way: what is new since our tip. Gives the endpoint that answered."""
        index, answer = await self._endpoints.first(among, "getRecords", {"after": self._chain.tip}, NEWS_SECONDS)
        await self._take(index, answer)
        return index

    async def _compare(self, among: Sequence[int]) -> int:
        """The thorough way: compare tips first. Gives the endpoint that answered."""
        try:
            index, answer = await self._endpoints.first(among, "getTip", {}, TIP_SECONDS)
        except DeliveryError as error:
            if error.code == METHOD_NOT_FOUND:
                return await self._ask_news(among)
            raise
        tip = _tip_hash(answer)
        if tip == self._chain.tip:
            return index
        refused = self._refused.get(index)
        if refused is not None and refused.holds(tip, asyncio.get_running_loop().time()):
            raise _NotBelieved(index, self._endpoints.names[index], refused.error)
        news = await self._fetch(index, self._chain.tip)
        if not news:
            # Its tip was another before we asked, and still it has nothing behind ours: ours is of an older chain.
            news = await self._fetch(index, "")
        if not news:
            empty = RecordError("it has no records at all, what was verified before stays in use")
            raise _NotBelieved(index, self._endpoints.names[index], empty)
        await self._take(index, news)
        return index

    async def _fetch(self, index: int, after: str) -> Any:
        return await self._endpoints.ask(index, "getRecords", {"after": after}, FETCH_SECONDS)

    async def _take(self, index: int, answer: object) -> None:
        """Verify an answer to ``getRecords`` and use it."""
        name = self._endpoints.names[index]
        values = _record_list(answer)
        try:
            if values is None:
                raise RecordError("its answer to getRecords is not a list", hint="is this the URL of an SD?")
            with many_objects(len(values)):
                records = await read_records(values)
                chain = await last_chain(self._chain.accepting(records, self._now()), self._chain)
        except (BadParams, RecordError) as error:
            time = asyncio.get_running_loop().time()
            self._refused[index] = _Refusal(_tip_hash(values[-1]) if values else "", error, time + THOROUGH_EVERY)
            raise _NotBelieved(index, name, error) from error
        self._refused.pop(index, None)
        if chain is not self._chain:
            self._use(chain, name)
            self._keeping = asyncio.create_task(self._keep(chain), name="directory cache")
            await asyncio.shield(self._keeping)  # closing lets it finish: what was shown shall be there next time

    # Results

    def _use(self, chain: Chain, source: str) -> None:
        self._chain = chain
        news, self._news = self._news, asyncio.Event()
        news.set()
        self._emit(
            DirectoryChanged(
                records=len(chain.records), operators=len(chain.directory.entries), tip=chain.tip, source=source
            )
        )

    def _succeeded(self, index: int) -> None:
        self._endpoints.prefer(index)
        if self._failures:
            self._failures.clear()
            self._emit(Notice(text=f"the service directory at {self._endpoints.names[index]} answers again"))
        missing = self._lacks_something()
        if missing and not self._missing_reported:
            who = f"no entry for {self._own_name}, this server's operator" if self._own_name else "no entries"
            self._emit(
                Notice(
                    text=f"the directory has {who} yet",
                    hint="submit its records with eps sd submit-records (development network: make sd-setup); "
                    "this server notices within a second",
                    level=Level.WARN,
                )
            )
        self._missing_reported = missing

    def _failed(self, reason: str, hint: str) -> None:
        """Report each distinct reason once, until something succeeds."""
        if reason not in self._failures and len(self._failures) < MAX_REASONS:
            self._failures.add(reason)
            self._emit(DirectoryFailed(reason=reason, hint=hint))

    # The cache

    async def _load(self) -> None:
        """Verify what the cache holds and use it; if it doesn't verify, it is overwritten at the next change."""
        values = await self._cache.load()
        empty = self._chain
        if not values:
            return
        try:
            with many_objects(len(values)):
                records = pick_newest_root(await read_records(values))
                chain = await last_chain(empty.extending(records, self._now()), empty)
        except (BadParams, RecordError) as error:
            text = f"the directory cache is not used, it does not verify: {error.message}"
            self._emit(Notice(text=text, hint="it is replaced when the service directory answers", level=Level.WARN))
            return
        self._cached = chain
        self._use(chain, "the cache")

    async def _keep(self, chain: Chain) -> None:
        known, root = self._cached, self._cached.root
        self._cached = chain
        if root is not None and chain.root is not None and root.hash == chain.root.hash:
            await self._cache.append(chain.records[len(known.records) :])
        else:
            await self._cache.replace(chain.records)


class _NotBelieved(Exception):
    """An endpoint answered, but not with a chain that can be used. Never leaves this module."""

    def __init__(self, index: int, name: str, error: EpsError) -> None:
        super().__init__(error.message)
        self.index = index
        self.error = error
        self.reason = f"the service directory at {name} is not believed: {error.message}"


class _Refusal:
    """A chain that was refused: while the endpoint's tip is the same, fetching it again would change nothing.

    After a while it is tried again all the same, since dates are judged by the clock.
    """

    def __init__(self, tip: str, error: EpsError, until: float) -> None:
        self._tip, self.error, self._until = tip, error, until

    def holds(self, tip: str, time: float) -> bool:
        return tip == self._tip and time < self._until


def _record_list(answer: object) -> list[Any] | None:
    """The records of an answer; servers in use may answer null where there are none."""
    if answer is None or answer == {}:
        return []
    return answer if isinstance(answer, list) else None


def _tip_hash(record: object) -> str:
    """The hash of a signed record that nobody has verified; "" if there is none."""
    found: Object = record if isinstance(record, dict) else {}
    value = found.get("hash")
    return value if isinstance(value, str) else ""

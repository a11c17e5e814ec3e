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
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eps.core.chain import Chain
from eps.core.entries import Directory
from eps.core.event import Emit
from eps.core.names import Object, Operator
from eps.core.new_root import TrustedRoot
from eps.core.signature import TrustStore
from eps.directory import findings
from eps.directory.cache import ChainCache
from eps.directory.confirmed import AgeLimit, Confirmed
from eps.directory.endpoints import Clients, Endpoints
from eps.directory.pace import Pace, Refreshes
from eps.directory.reports import Reports
from eps.directory.slices import last_chain, many_objects, read_records
from eps.directory.trusted_roots import TrustedRootsFile
from eps.errors import BadParams, DeliveryError, EpsError, RecordError

TIP_SECONDS = 3.0
NEWS_SECONDS = 5.0
FETCH_SECONDS = 60.0
"""Deadlines: of ``getTip``; of ``getRecords`` from an endpoint that may be dead; of one from an endpoint that has just
shown that it has much to tell."""

LOAD_SECONDS = 2.0
"""How long ``start`` waits for the cache to be verified; some 10,000 records. The rest is done behind it."""

CONFIRMED_FILE = "directory-confirmed.json"
"""Beside the cache: when a service directory last confirmed it."""

METHOD_NOT_FOUND = -32601


class ApiDirectory:
    """See :class:`eps.directory.DirectorySource`.

    Args:
        clients: reach its endpoints; closed with this.
        trust: whose signatures count.
        emit: told of changes and failures.
        cache_path: the file that keeps what was verified; None keeps nothing.
        trusted_roots: the file with the roots that were accepted by hand; None: there are none.
        age_limit: what follows when no service directory has confirmed for long what we know.
        own_name: while it has no entry, news are asked for every second.
    """

    def __init__(
        self,
        clients: Clients,
        trust: TrustStore,
        *,
        emit: Emit,
        cache_path: str | None = None,
        trusted_roots: Path | None = None,
        own_name: Operator | None = None,
        pace: Pace = Pace(),  # noqa: B008  # frozen
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        age_limit: AgeLimit = AgeLimit(),  # noqa: B008  # frozen
    ) -> None:
        self._endpoints = Endpoints(clients)
        self._cache = ChainCache(cache_path, emit)
        self._trusted_roots = TrustedRootsFile(trusted_roots, emit)
        self._reports = Reports(emit, own_name)
        self._searches = findings.Searches(emit)
        self._emit = emit
        self._refreshes = Refreshes(pace)
        self._pace = pace
        self._now = now
        self._chain = Chain.empty(trust)
        confirmed = Path(cache_path).with_name(CONFIRMED_FILE) if cache_path is not None else None
        self._confirmed = Confirmed(confirmed, age_limit, now, emit)
        self._nobody = Directory.empty()
        self._withheld = self._confirmed.refused
        self._refused: dict[int, _Refusal] = {}
        self._next_thorough = 0.0
        self._news = asyncio.Event()
        self._loaded = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def current(self) -> Directory:
        return self._nobody if self._withheld else self._chain.directory

    def as_of(self) -> str:
        return self._confirmed.as_of()

    @property
    def pause(self) -> float:
        """Seconds until the next question: few while something is wrong or missing."""
        return self._pace.pause(missing=self._reports.failing or self._reports.lacks_something(self.current))

    async def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="directory")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._loaded.wait(), LOAD_SECONDS)

    async def refresh(self) -> None:
        if self._task is not None and not self._task.done():
            await self._refreshes.wish()

    async def changed(self, seen: Directory) -> Directory:
        while self.current is seen:
            await self._news.wait()
        return self.current

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._refreshes.close()
        await self._searches.close()
        await self._cache.close()
        await self._endpoints.close()

    # Following

    async def _follow(self) -> None:
        cached = await self._cache.load(self._chain, self._now())
        if cached is not self._chain:
            self._use(cached, "the cache")
        await self._confirmed.load()
        self._judge_age()
        self._loaded.set()
        while True:
            asked = self._refreshes.begin()
            try:
                await self._poll(thorough=asked is not None)
            except Exception as error:  # noqa: BLE001  # a fault of ours must not end the following for good
                self._reports.failed(f"unexpected {type(error).__name__}: {error}", "please report this")
            self._judge_age()
            self._refreshes.end(asked)
            await self._refreshes.pause(self.pause)

    async def _poll(self, *, thorough: bool) -> None:
        """Ask once; all endpoints in turn until one has an answer that can be believed."""
        time = asyncio.get_running_loop().time()
        # Asking for records alone would never show a reset of a server that answers [] to a tip it once had.
        thorough = thorough or self._reports.failing or time >= self._next_thorough
        left, refusals = self._endpoints.order(), []
        while True:
            try:
                index = await (self._compare(left) if thorough else self._ask_news(left))
            except _NotBelieved as refusal:
                # The first answer won, so those behind it were not heard: without this one, they are.
                refusals.append(refusal)
                left.remove(refusal.index)
                if left:
                    continue
                self._reports.failed("; ".join(r.reason for r in refusals), refusals[0].error.hint)
            except EpsError as error:
                # None of those left answers: only now the refused ones are part of a failure.
                self._reports.failed("; ".join([r.reason for r in refusals] + [error.message]), error.hint)
            else:
                if thorough:
                    self._next_thorough = time + self._pace.thorough_every
                self._endpoints.prefer(index)
                await self._confirmed.confirm()
                self._judge_age()
                self._reports.succeeded(self._endpoints.names[index], self.current)
                for refused in refusals:  # told once: from now on the good one is asked first
                    self._reports.passed_over(refused.reason, refused.error.hint)
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
        if refused is not None and refused.holds(
            tip, asyncio.get_running_loop().time(), await self._trusted_roots.read()
        ):
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
        trusted: frozenset[TrustedRoot] = frozenset()
        try:
            if values is None:
                raise RecordError("its answer to getRecords is not a list", hint="is this the URL of an SD?")
            with many_objects(len(values)):
                records = await read_records(values)
                if any(signed.is_root for signed in records):
                    trusted = await self._trusted_roots.read()
                chain = await last_chain(self._chain.accepting(records, self._now(), trusted), self._chain)
        except (BadParams, RecordError) as error:
            until = asyncio.get_running_loop().time() + self._pace.thorough_every
            self._refused[index] = _Refusal(_tip_hash(values[-1]) if values else "", error, until, trusted)
            raise _NotBelieved(index, name, error) from error
        self._refused.pop(index, None)
        if chain is not self._chain:
            self._use(chain, name)
            await self._cache.keep(chain)

    def _judge_age(self) -> None:
        """Use the directory, or nothing of it, as its age and the settings say."""
        self._confirmed.look()
        if self._withheld is not self._confirmed.refused:
            self._withheld = self._confirmed.refused
            self._wake_watchers()

    def _wake_watchers(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _use(self, chain: Chain, source: str) -> None:
        before, self._chain = self._chain, chain
        self._wake_watchers()
        self._reports.changed(chain, source)
        findings.tell(before, chain, self._now(), self._emit)
        self._searches.add(findings.new_records(before, chain))


class _NotBelieved(Exception):
    """An endpoint answered, but not with a chain that can be used. Never leaves this module."""

    def __init__(self, index: int, name: str, error: EpsError) -> None:
        super().__init__(error.message)
        self.index = index
        self.error = error
        self.reason = f"the service directory at {name} is not believed: {error.message}"


class _Refusal:
    """A chain that was refused: while the endpoint's tip is the same, fetching it again would change nothing.

    After a while it is tried again all the same, since dates are judged by the clock; and at once when other roots are
    accepted by hand.
    """

    def __init__(self, tip: str, error: EpsError, until: float, trusted: frozenset[TrustedRoot]) -> None:
        self._tip, self.error, self._until, self._trusted = tip, error, until, trusted

    def holds(self, tip: str, time: float, trusted: frozenset[TrustedRoot]) -> bool:
        return tip == self._tip and time < self._until and trusted == self._trusted


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

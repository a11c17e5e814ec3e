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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from eps.core.chain import Chain
from eps.core.entries import Directory
from eps.core.event import Emit
from eps.core.names import Operator
from eps.core.signature import TrustStore
from eps.directory import findings
from eps.directory.cache import ChainCache
from eps.directory.confirmed import AgeLimit, Confirmed
from eps.directory.endpoints import Clients
from eps.directory.inspection import chain_of
from eps.directory.pace import Pace, Refreshes
from eps.directory.reports import Reports
from eps.directory.rounds import Rounds
from eps.directory.trusted_roots import TrustedRootsFile
from eps.errors import EpsError, RecordError
from eps.transport.own_clock import ClockNews

LOAD_SECONDS = 2.0
"""How long ``start`` waits for the cache to be verified; some 10,000 records. The rest is done behind it."""

LOADED_SECONDS = 10.0
"""How long whoever must not do without it waits for it; five times as many records."""

CONFIRMED_FILE = "directory-confirmed.json"
"""Beside the cache: when a service directory last confirmed it."""


NOBODY = Directory.empty()
"""What is in use while the directory is too old to be trusted."""


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """What outlives a restart.

    Attributes:
        cache: what was verified; when it was confirmed stands beside it. None keeps nothing.
        trusted_roots: the roots that were accepted by hand; None: there are none.
        seal_key: what the cache is sealed with, so that it need not be verified again (``core.cache_seal``); empty: it
            isn't.
    """

    cache: str | None = None
    trusted_roots: Path | None = None
    seal_key: bytes = field(default=b"", repr=False)

    @property
    def confirmed(self) -> Path | None:
        return Path(self.cache).with_name(CONFIRMED_FILE) if self.cache is not None else None


@dataclass(frozen=True, slots=True)
class Following:
    """How a directory is followed.

    Attributes:
        own_name: while it has no entry, news are asked for every second.
        pace: how often it is asked for.
        age_limit: what follows when no service directory has confirmed for long what we know.
    """

    own_name: Operator | None = None
    pace: Pace = field(default_factory=Pace)
    age_limit: AgeLimit = field(default_factory=AgeLimit)


class ApiDirectory:
    """See :class:`eps.directory.DirectorySource`.

    Args:
        clients: reach its endpoints; closed with this.
        trust: whose signatures count.
        emit: told of changes and failures.
        files: where it keeps what it knows.
        following: see there.
        now: the time, with a time zone.
    """

    def __init__(
        self,
        clients: Clients,
        trust: TrustStore,
        *,
        emit: Emit,
        files: KeptFiles = KeptFiles(),  # frozen, as is the next
        following: Following = Following(),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._emit = emit
        self._reports = Reports(emit, following.own_name)
        self._clock = ClockNews(emit, "the service directory")
        roots = TrustedRootsFile(files.trusted_roots, emit)
        self._rounds = Rounds(clients, roots, self._reports, following.pace.thorough_every, now)
        self._cache = ChainCache(files.cache, emit, files.seal_key)
        self._searches = findings.Searches(emit)
        self._refreshes = Refreshes(following.pace)
        self._pace = following.pace
        self._now = now
        self._chain = Chain.empty(trust)
        self._confirmed = Confirmed(files.confirmed, following.age_limit, now, emit)
        self._withheld = self._confirmed.refused
        self._renewal: tuple[Clients, TrustStore] | None = None
        self._news = asyncio.Event()
        self._loaded = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def current(self) -> Directory:
        return NOBODY if self._withheld else self._chain.directory

    @property
    def verified(self) -> Directory:
        return self._chain.directory

    async def loaded(self) -> bool:
        if not self._loaded.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOADED_SECONDS):
                    await self._loaded.wait()
        return self._loaded.is_set()

    def as_of(self) -> str:
        return self._confirmed.as_of()

    def too_old(self) -> str:
        return self._confirmed.too_old()

    def failing(self) -> EpsError | None:
        return self._reports.failure

    @property
    def pause(self) -> float:
        """Seconds until the next question: few while something is wrong or missing."""
        return self._pace.pause(missing=self._reports.failing or self._reports.lacks_something(self.current))

    async def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="directory")
        with suppress(TimeoutError):
            async with asyncio.timeout(LOAD_SECONDS):
                await self._loaded.wait()

    async def refresh(self) -> None:
        if self._task is not None and not self._task.done():
            await self._refreshes.wish()

    async def refuses(self, trust: TrustStore) -> str:
        """Why the directory that is in use could not be believed with ``trust``; "" if it could.

        Some time passes with many records; nothing else waits for that.
        """
        try:
            await self._verified_by(trust)
        except RecordError as error:
            return error.message
        return ""

    def renew(self, clients: Clients, trust: TrustStore) -> None:
        """Ask by ``clients`` from the next question on, which comes at once, and believe whom ``trust`` says."""
        self._renewal = (clients, trust)  # clients before these have asked nothing, so hold no connection
        self._refreshes.hurry()

    async def changed(self, seen: Directory) -> Directory:
        while self.current is seen:
            await self._news.wait()
        return self.current

    async def let_go(self) -> None:
        """Follow no more, and leave the cache to another process; what is known stays in use."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._refreshes.close()
        await self._cache.close()

    def take_back(self) -> None:
        """Follow again: no other process came."""
        self._task = asyncio.create_task(self._go_on(), name="directory")

    async def close(self) -> None:
        await self.let_go()
        await self._searches.close()
        await self._rounds.close()
        if self._renewal is not None:
            await self._renewal[0].close()

    # Following

    async def _follow(self) -> None:
        try:
            cached = await self._cache.load(self._chain, self._now())
        except Exception as error:  # noqa: BLE001  # nor may it keep this from ever beginning
            self._reports.failed(f"the cache: unexpected {type(error).__name__}: {error}", "please report this")
        else:
            if cached is not self._chain:
                self._use(cached, "the cache")
        await self._confirmed.load()
        self._judge_age()
        self._loaded.set()
        await self._go_on()

    async def _go_on(self) -> None:
        while True:
            asked = self._refreshes.begin()
            try:
                await self._take_renewal()
                await self._poll(thorough=asked is not None)
            except Exception as error:  # noqa: BLE001  # a fault of ours must not end the following for good
                self._reports.failed(f"unexpected {type(error).__name__}: {error}", "please report this")
            self._judge_age()
            self._clock.look()
            self._refreshes.end(asked)
            await self._refreshes.pause(self.pause)

    async def _take_renewal(self) -> None:
        if self._renewal is None:
            return
        (clients, trust), self._renewal = self._renewal, None
        before, self._rounds = self._rounds, self._rounds.renewed(clients)
        await before.close()
        if trust == self._chain.trust:
            return
        try:
            self._chain = await self._verified_by(trust)
        except RecordError as error:  # it was asked before (refuses), but records came in between
            self._reports.failed(f"the former authorities stay in use: {error.message}", error.hint)
        else:
            self._wake_watchers()

    async def _verified_by(self, trust: TrustStore) -> Chain:
        return await chain_of(tuple(self._chain.records), Chain.empty(trust), self._now())

    async def _poll(self, *, thorough: bool) -> None:
        """Ask once, and use what was heard."""
        heard = await self._rounds.ask(self._chain, thorough=thorough)
        if heard is None:
            return
        if heard.chain is not self._chain:
            self._use(heard.chain, heard.endpoint)
            await self._cache.keep(heard.chain)
        await self._confirmed.confirm()
        self._judge_age()
        self._reports.succeeded(heard.endpoint, self.current)
        for reason, hint in heard.passed_over:  # told once: from now on the good one is asked first
            self._reports.passed_over(reason, hint)
        await self._rounds.ask_what_is_kept(self._chain.trust.canonical_from)

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

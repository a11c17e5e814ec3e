"""The service directory: keeps the chain of signed change records and gives it to all who ask (PROTOCOL.md section 4).

    submitRecords   read → stale? → verify in slices → store (one transaction) → visible → "ok"
    others on the same store (Redis)   read what is new → verify → visible; what is missing is told, and nothing
                                       stored on top of it
    getRecords …    answered from memory, also while a submission is being verified or written

A batch is stored whole or not at all, and never before every record of it is verified. One is handled at a time, in
the order of arrival. The signature decides whether a record counts; who sent it is only logged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from eps.core import record_text
from eps.core.chain import Chain, pick_newest_root
from eps.core.entries import Entry
from eps.core.event import DirectoryChanged, Emit, Level, Notice
from eps.core.exact import FOREIGN_REASON, foreign_flaw
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.core.names import Object, Operator, RecordHash, shown
from eps.core.record import ChangeRecord, SignedRecord
from eps.core.signature import TrustStore
from eps.core.verdict import unfit
from eps.core.wording import counted
from eps.datastores import Datastore
from eps.directory import findings
from eps.directory.high_water import HighWaterMark
from eps.directory.inspection import chain_of
from eps.directory.pages import Pages, asked_after
from eps.directory.reports import changed_sections
from eps.directory.rules import rules
from eps.directory.slices import SLICE, last_chain, many_objects, read_records
from eps.directory.stored import News, Seen, StoredRecords, chain_after, encode, follow, told, unusable
from eps.errors import (
    BadParams,
    EpsError,
    InternalError,
    MethodNotFound,
    NotFound,
    RecordError,
    StoreFailed,
)
from eps.transport.tasks import Tasks

MAX_WAITING = 16
"""Submissions that wait for the one being handled. Administrators submit a few times a day; each may have 64 MiB."""

SUBMIT_SECONDS = 60.0
"""How long a submission may take, waiting included, before its sender is told that the outcome isn't known yet."""

MAX_ATTEMPTS = 10
"""How often a submission is verified anew because another service directory on the same store was faster. One that goes
on from the tip is stale then; so only those that begin the directory anew come this far."""

AGAIN_SECONDS = 5.0
"""Between two attempts to follow a store that could not be followed, while nothing in it changes; each reads it all."""

LOOK_SECONDS = 2.0
"""How long somebody who knows a record that we don't waits until we have looked for it in the store."""

CLOSE_SECONDS = 5.0
"""How long closing waits for a submission that is being written."""


class ServiceDirectory:
    """The service behind the service directory's JSON-RPC server.

    Args:
        store: keeps the records; stays the caller's to close, after this service.
        trust: whose signatures count.
        now: the time, with a time zone.
        emit: told of submissions.
        foreign_peers: whether servers of others follow this directory: then what those can't read is refused.
        mark: the file that keeps, apart from the store, how far it had come; None keeps nothing.
    """

    def __init__(
        self,
        store: Datastore,
        trust: TrustStore,
        now: Callable[[], datetime],
        emit: Emit,
        *,
        foreign_peers: bool = True,
        mark: Path | None = None,
    ) -> None:
        self._stored = StoredRecords(store, emit)
        self._flaw = ""
        self._again_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self._mark = HighWaterMark(mark, emit)
        self._foreign_peers = foreign_peers
        self._trust = trust
        self._now = now
        self._emit = emit
        self._chain = Chain.empty(trust)
        self._pages = Pages()
        self._entries: dict[Operator, tuple[Entry, orjson.Fragment]] = {}
        self._lock = asyncio.Lock()
        self._submissions: set[asyncio.Task[EpsError | None]] = set()
        self._methods: dict[str, Callable[[Call], Awaitable[Any]]] = {
            "getRecords": partial(self._get_records, Pages.after),
            "getPage": partial(self._get_records, Pages.page),
            "getTip": self._get_tip,
            "getEntries": self._get_entries,
            "getEntry": self._get_entry,
            "submitRecords": self._submit_records,
            "getRules": self._get_rules,
        }

    @property
    def chain(self) -> Chain:
        """The present chain."""
        return self._chain

    async def load(self) -> None:
        """Read the store and verify its newest chain; call once, before the first call is handled.

        Raises:
            StartError: a record in the store can't be read or doesn't verify. The message names it.
        """
        news = await self._stored.all()
        with many_objects(len(news.entries)):
            await self._load(news)
        if self._chain.tip:
            self._report(f"the store {self._stored.location}")
        if self._stored.is_shared:
            self._tasks.start(
                follow(self._stored, self._locked_look, self._emit), f"what others store in {self._stored.location}"
            )

    async def _load(self, news: News) -> None:
        empty = Chain.empty(self._trust)
        try:
            newest = pick_newest_root(await self._stored.read(news))
        except RecordError as error:
            raise unusable(self._stored.location, error.message) from error
        try:
            chain = await chain_of(newest, empty, self._now())
        except RecordError as error:
            raise unusable(self._stored.location, f"of the newest chain, {error.message}") from error
        self._adopt(chain, newest, await encode(newest), news.seen, reset=True)
        await self._mark.compare(chain, self._stored.location)
        findings.tell(empty, chain, self._now(), self._emit)

    async def handle(self, call: Call) -> Response:
        """Answer one call; failures are answers too."""
        method = self._methods.get(call.method)
        try:
            if method is None:
                raise MethodNotFound(
                    f"the service directory has no method {call.method!r}", hint=f"it has {', '.join(self._methods)}"
                )
            return Response(call.id, await method(call))
        except EpsError as error:
            data: Object = {**error.data()}
            if isinstance(error, RecordError) and error.index is not None:
                data["index"] = error.index
            return Response(call.id, error=Error(error.code, error.told, data))

    async def renew(self, trust: TrustStore, *, foreign_peers: bool) -> None:
        """Believe whom ``trust`` says from the next submission on.

        Raises:
            StartError: what is in the store does not verify with it; nothing is changed.
        """
        if trust != self._trust:
            async with self._lock:
                empty = Chain.empty(trust)
                try:
                    chain = await chain_of(tuple(self._chain.records), empty, self._now())
                except RecordError as error:
                    raise unusable(self._stored.location, f"with the new authorities, {error.message}") from error
                self._trust, self._chain = trust, chain
                self._again_at = 0.0
                with suppress(InternalError):
                    await self._catch_up()
        self._foreign_peers = foreign_peers

    async def close(self) -> None:
        """Wait a little for submissions under way, then end them. The store can be closed afterwards."""
        await self._tasks.close()
        if self._submissions:
            await asyncio.wait(self._submissions, timeout=CLOSE_SECONDS)
        for task in self._submissions:
            task.cancel()
        await asyncio.gather(*self._submissions, return_exceptions=True)

    # Reading

    async def _get_records(self, show: Callable[[Pages, RecordHash], Any], call: Call) -> Any:
        after = asked_after(call.params)
        if after and self._stored.is_shared and not self._pages.has(after):
            await self._look()
        return show(self._pages, after)

    async def _get_tip(self, call: Call) -> Any:
        return self._pages.tip()

    async def _get_entries(self, call: Call) -> Any:
        encoded: list[orjson.Fragment] = []
        for entry in self._chain.directory.entries.values():  # of one snapshot, whatever is submitted meanwhile
            encoded.append(self._encoded_entry(entry))
            if len(encoded) % (10 * SLICE) == 0:
                await asyncio.sleep(0)
        return encoded

    async def _get_entry(self, call: Call) -> Any:
        name = call.params.get("name")
        if not isinstance(name, str):
            raise BadParams("params.name: must be an operator's name")
        entry = self._chain.directory.entry(Operator(name))
        if entry is None:
            raise NotFound(f"the directory has no operator {name[:80]!r}", hint="getEntries lists all of them")
        return self._encoded_entry(entry)

    def _encoded_entry(self, entry: Entry) -> orjson.Fragment:
        """An entry's JSON, written once for as long as the entry is the same."""
        held = self._entries.get(entry.name)
        if held is None or held[0] is not entry:
            held = (entry, orjson.Fragment(record_text.dumps(entry.to_json())))
            self._entries[entry.name] = held
        return held[1]

    async def _get_rules(self, call: Call) -> Object:
        """What is taken and kept here: our programs ask before they sign, or rely on it."""
        return rules(foreign_peers=self._foreign_peers)

    # Writing

    async def _submit_records(self, call: Call) -> str:
        values = call.params.get("records")
        if not isinstance(values, list):
            raise BadParams("params.records: must be a list of signed records")
        if len(self._submissions) > MAX_WAITING:
            raise InternalError(
                f"{MAX_WAITING} submissions are waiting already", hint="nothing was stored; submit again in a minute"
            )
        who = _submitter(call)
        refusal = await self._submit(values, who)
        if refusal is not None:
            text = f"a submission of {counted(len(values), 'record')} by {who} was refused: {refusal.message}"
            self._emit(Notice(text=text, hint=refusal.hint, level=Level.WARN))
            raise refusal
        return "ok"

    async def _submit(self, values: Sequence[object], who: str) -> EpsError | None:
        """Why a batch was refused. Returned rather than raised: with a task that raised, everything that its functions
        held stays until Python looks for cycles, and of a large batch that is hundreds of megabytes.

        Raises:
            InternalError: it takes too long.
        """
        # A task of its own: a caller that hangs up must not leave memory and store disagreeing.
        source = f"a submission of {counted(len(values), 'record')} by {who}"
        task = asyncio.create_task(self._outcome(values, source), name="submission")
        self._submissions.add(task)
        task.add_done_callback(self._forget)
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError:
            raise InternalError(
                f"the submission is not finished after {SUBMIT_SECONDS:.0f} s and goes on",
                hint="ask getTip whether it was stored before submitting again",
            ) from None

    async def _outcome(self, values: Sequence[object], source: str) -> EpsError | None:
        try:
            await self._accept(values, source)
        except EpsError as error:
            error.__context__ = None
            return error.with_traceback(None)
        return None

    def _forget(self, task: asyncio.Task[EpsError | None]) -> None:
        self._submissions.discard(task)
        if not task.cancelled():
            task.exception()  # fetched: asyncio would complain of one that nobody waits for any more

    async def _accept(self, values: Sequence[object], source: str) -> None:
        """Verify a batch, store it and say so, or raise and change nothing."""
        if not values:
            return
        # The lock first: so that what is read is for the chain that is the present one then, one batch at a time.
        async with self._lock:
            with many_objects(len(values)):
                records = await read_records(values)
                for _ in range(MAX_ATTEMPTS):
                    await self._catch_up()
                    if await self._stores(records, source):
                        return
        raise StoreFailed(f"the datastore {self._stored.location} is changed by others all the time", hint="try again")

    async def _stores(self, records: Sequence[SignedRecord], source: str) -> bool:
        """Verify a batch, store it and say so; False if somebody else stored something meanwhile."""
        reset = records[0].is_root
        if not reset:
            self._check_whole()
        chain = await self._verify(records)
        if not reset:
            self._mark.check(chain)
        encoded = await encode(records)
        seen = await self._stored.append(encoded)
        if seen is None:
            return False
        self._adopt(chain, records, encoded, seen, reset=reset)
        self._flaw = ""
        self._report(source, changed_sections(records))
        await self._mark.follow(chain)
        return True

    def _check_whole(self) -> None:
        if self._flaw:
            raise RecordError(
                f"the service directory's store is not what it was, so nothing is stored on top of it: {self._flaw}",
                hint="its administrators read in its log what to do",
            )

    async def _verify(self, records: Sequence[SignedRecord]) -> Chain:
        present = self._chain
        try:
            return await last_chain(present.submitting(records, self._now(), self._admit), present, records)
        except RecordError as error:
            error.message += "; nothing of the batch was stored"
            raise

    def _admit(self, record: ChangeRecord, data: bytes) -> str:
        """Why a record that is properly signed may not enter the directory; "" if it may."""
        why = unfit(record, data)
        if not why and self._foreign_peers and (flaw := foreign_flaw(record)):
            why = f"{flaw}: {FOREIGN_REASON}"
        return why

    def _adopt(
        self, chain: Chain, records: Sequence[SignedRecord], encoded: list[bytes], seen: Seen, *, reset: bool
    ) -> None:
        """Make a stored state visible, at once."""
        self._chain, self._stored.seen = chain, seen
        if reset:
            self._pages, self._entries = Pages(), {}
        self._pages.extend([record.hash for record in records], encoded)

    # What others store

    async def _look(self) -> None:
        """Take in what others have stored by now, if that can be seen soon: whoever asks knows more than we do.

        All who ask share a look, which goes on if they have waited long enough.
        """
        if self._looking is None or self._looking.done():
            self._looking = self._tasks.start(self._look_once(), "look into the shared store")
        await asyncio.wait({self._looking}, timeout=LOOK_SECONDS)

    async def _look_once(self) -> None:
        with suppress(InternalError):  # the follower says what is wrong
            await self._locked_look()

    async def _locked_look(self) -> None:
        async with self._lock:
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Take in what others have stored meanwhile, or say once why that can't be; under the lock.

        What could not be followed is read again now and then: why may have been our clock, or our authorities.

        Raises:
            InternalError: the store can't be read.
        """
        news = await self._stored.news(whole=bool(self._flaw))
        now = asyncio.get_running_loop().time()
        if news is None and self._flaw and now >= self._again_at:
            news = await self._stored.all()
        if news is None:
            return
        self._again_at = now + AGAIN_SECONDS
        try:
            with many_objects(len(news.entries)):
                records = await self._stored.read(news)
                chain = await chain_after(self._chain, records, self._now(), whole=news.whole)
        except RecordError as error:
            self._stored.seen = news.seen
            self._is_flawed(error)
        else:
            await self._continue_with(chain, news.seen)

    async def _continue_with(self, chain: Chain, seen: Seen) -> None:
        """Serve what others have made of the store."""
        before = self._chain
        reset = chain.root != before.root
        records = chain.records[0 if reset else len(before.records) :]
        self._adopt(chain, records, await encode(records), seen, reset=reset)
        if self._flaw:
            self._flaw = ""
            self._emit(Notice(text=f"the store {self._stored.location} is whole again: submissions are taken"))
        if records:
            self._report(f"others that use the store {self._stored.location}", changed_sections(records))
        if reset or not self._mark.lost(chain):
            await self._mark.follow(chain)

    def _is_flawed(self, error: RecordError) -> None:
        """Say it once; nothing is stored on top of it until it is whole."""
        before, self._flaw = self._flaw, error.message
        if before == error.message:
            return
        text, hint = told(error, self._stored.location, self._mark.forget)
        self._emit(Notice(text=text, hint=hint, level=Level.ERROR))

    def _report(self, source: str, changed: tuple[str, ...] = ()) -> None:
        operators, records = len(self._chain.directory.entries), len(self._chain.records)
        marked, tip = self._chain.directory.marked, self._chain.tip
        self._emit(
            DirectoryChanged(
                records=records, operators=operators, tip=tip, source=source, marked=marked, changed=changed
            )
        )


def _submitter(call: Call) -> str:
    """Who sent a call, for the log: the first of its names is the operator's, the others are of its hosts."""
    return shown(call.client_names[:1]) if call.client_names else "a client without a certificate"

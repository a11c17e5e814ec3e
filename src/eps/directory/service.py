"""The service directory: keeps the chain of signed change records and gives it to all who ask (PROTOCOL.md section 4).

    submitRecords   read → stale? → verify in slices → store (one transaction) → visible → "ok"
    getRecords …    answered from memory, also while a submission is being verified or written

A batch is stored whole or not at all, and never before every record of it is verified. One is handled at a time, in
the order of arrival. The signature decides whether a record counts; who sent it is only logged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from eps.core import record_text
from eps.core.chain import Chain, in_order, pick_newest_root
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
from eps.datastores import RECORD, DataEntry, Datastore, new_id
from eps.directory import findings
from eps.directory.high_water import HighWaterMark
from eps.directory.reports import changed_sections
from eps.directory.rules import rules
from eps.directory.slices import SLICE, last_chain, many_objects, read_records
from eps.errors import (
    BadParams,
    BadRequest,
    EpsError,
    InternalError,
    MethodNotFound,
    NotFound,
    RecordError,
    Stage,
    StartError,
)

MAX_WAITING = 16
"""Submissions that wait for the one being handled. Administrators submit a few times a day; each may have 64 MiB."""

SUBMIT_SECONDS = 60.0
"""How long a submission may take, waiting included, before its sender is told that the outcome isn't known yet."""

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
        self._store = store
        self._mark = HighWaterMark(mark, emit)
        self._foreign_peers = foreign_peers
        self._trust = trust
        self._now = now
        self._emit = emit
        self._chain = Chain.empty(trust)
        self._pages = _Pages()
        self._entries: dict[Operator, tuple[Entry, orjson.Fragment]] = {}
        self._lock = asyncio.Lock()
        self._submissions: set[asyncio.Task[EpsError | None]] = set()
        self._methods: dict[str, Callable[[Call], Awaitable[Any]]] = {
            "getRecords": self._get_records,
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
        entries = [entry for entry in await self._store.read_all() if entry.type == RECORD]
        with many_objects(len(entries)):
            await self._load(entries)
        if self._chain.tip:
            self._report(f"the store {self._store.location}")

    async def _load(self, entries: Sequence[DataEntry]) -> None:
        newest = pick_newest_root(await self._read(entries))
        empty = Chain.empty(self._trust)
        try:
            chain = await last_chain(empty.extending(newest, self._now()), empty)
        except RecordError as error:
            raise self._broken(f"of the newest chain, {error.message}") from error
        self._adopt(chain, newest, await _encode(newest), reset=True)
        await self._mark.compare(chain, self._store.location)
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
                    chain = await last_chain(empty.extending(tuple(self._chain.records), self._now()), empty)
                except RecordError as error:
                    raise self._broken(f"with the new authorities, {error.message}") from error
                self._trust, self._chain = trust, chain
        self._foreign_peers = foreign_peers

    async def close(self) -> None:
        """Wait a little for submissions under way, then end them. The store can be closed afterwards."""
        if self._submissions:
            await asyncio.wait(self._submissions, timeout=CLOSE_SECONDS)
        for task in self._submissions:
            task.cancel()
        await asyncio.gather(*self._submissions, return_exceptions=True)

    # Reading

    async def _get_records(self, call: Call) -> Any:
        after = call.params.get("after")
        if after is not None and not isinstance(after, str):
            raise BadParams("params.after: must be a record's hash or an empty string")
        return self._pages.after(RecordHash(after or ""))

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
                chain = await self._verify(records)
            reset = records[0].is_root
            if not reset:
                self._mark.check(chain)
            encoded = await _encode(records)
            await self._store.append([DataEntry(RECORD, new_id(), data) for data in encoded])
            self._adopt(chain, records, encoded, reset=reset)
            self._report(source, changed_sections(records))
            await self._mark.follow(chain)

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

    def _adopt(self, chain: Chain, records: Sequence[SignedRecord], encoded: list[bytes], *, reset: bool) -> None:
        """Make a stored state visible, at once."""
        self._chain = chain
        if reset:
            self._pages, self._entries = _Pages(), {}
        self._pages.extend([record.hash for record in records], encoded)

    # The store

    async def _read(self, entries: Sequence[DataEntry]) -> list[SignedRecord]:
        """All records in the store, the chains of earlier roots included; each follows its parent or is a root."""
        records: list[SignedRecord] = []
        for number, entry in enumerate(entries, 1):
            try:
                (record,) = await read_records([record_text.loads(entry.data, max_bytes=len(entry.data))], "record")
            except BadRequest as error:
                raise self._broken(f"record {number} of {len(entries)} can't be read: {error}") from error
            records.append(record)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        return self._in_order(records)

    def _in_order(self, records: list[SignedRecord]) -> list[SignedRecord]:
        """Servers in use don't mind the order: it is looked into only where records don't follow each other."""
        pairs = zip([None, *records], records, strict=False)
        loose = [
            number
            for number, (before, record) in enumerate(pairs, 1)
            if not record.is_root and (before is None or before.hash != record.parent_hash)
        ]
        if not loose:
            return records
        number, record = loose[0], records[loose[0] - 1].record
        where = f"record {number} of {len(records)} ({record.name}, {record.section}) does not follow the one before it"
        ordered = in_order(records)
        if ordered is None:
            raise self._broken(where)
        self._emit(Notice(level=Level.WARN, text=f"in {self._store.location}, {where}; their links say the order"))
        return ordered

    def _broken(self, why: str) -> StartError:
        return StartError(
            f"the records in {self._store.location} don't verify: {why}",
            hint="restore a backup of the store; if the certificate authority was replaced, check the CA files in the "
            "settings, or move the store away and submit the directory anew with --reset",
            stage=Stage.DIRECTORY,
        )

    def _report(self, source: str, changed: tuple[str, ...] = ()) -> None:
        operators, records = len(self._chain.directory.entries), len(self._chain.records)
        marked, tip = self._chain.directory.marked, self._chain.tip
        self._emit(
            DirectoryChanged(
                records=records, operators=operators, tip=tip, source=source, marked=marked, changed=changed
            )
        )


class _Pages:
    """The current chain's records as JSON, each written once, and where each hash stands."""

    def __init__(self) -> None:
        self._encoded: list[bytes] = []
        self._position: dict[RecordHash, int] = {}
        self._whole: orjson.Fragment | None = None

    def extend(self, hashes: Sequence[RecordHash], encoded: Sequence[bytes]) -> None:
        for record_hash, text in zip(hashes, encoded, strict=True):
            self._position[record_hash] = len(self._encoded)
            self._encoded.append(text)
        self._whole = None

    def after(self, record_hash: RecordHash) -> orjson.Fragment:
        """A JSON list of what follows ``record_hash``; of everything, if the chain doesn't have it."""
        position = self._position.get(record_hash)
        if position is not None:
            return _json_list(self._encoded[position + 1 :])
        if self._whole is None:
            self._whole = _json_list(self._encoded)
        return self._whole

    def tip(self) -> orjson.Fragment | None:
        return orjson.Fragment(self._encoded[-1]) if self._encoded else None


def _submitter(call: Call) -> str:
    """Who sent a call, for the log: the first of its names is the operator's, the others are of its hosts."""
    return shown(call.client_names[:1]) if call.client_names else "a client without a certificate"


def _json_list(items: Sequence[bytes]) -> orjson.Fragment:
    return orjson.Fragment(b"[" + b",".join(items) + b"]")


async def _encode(records: Sequence[SignedRecord]) -> list[bytes]:
    encoded: list[bytes] = []
    for start in range(0, len(records), 10 * SLICE):
        encoded += [record_text.dumps(record.to_json()) for record in records[start : start + 10 * SLICE]]
        await asyncio.sleep(0)
    return encoded

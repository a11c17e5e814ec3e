"""One question to the service directories: who is asked for what, whose answer is believed, and what comes of it.

    ask ─ quick:     getRecords after our tip, of all at once ─▶ the first answer
        └ thorough:  getTip first ─▶ ours: nothing new
                                   └ another: getRecords after our tip, or all of them
                                                └ too much for one answer: getPage, again and again, of one that has it;
                                                  each page is verified before the next is asked for

An endpoint whose answer can't be believed is left out, and the others are asked again, until one has an answer that can
be, or none is left.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from eps.core import record_text
from eps.core.chain import Chain
from eps.core.instant import Instant
from eps.core.names import Object
from eps.core.new_root import TrustedRoot
from eps.directory.endpoints import Clients, Endpoints
from eps.directory.inspection import sound_among
from eps.directory.keeping import SignatureKeeping
from eps.directory.pages import page_in
from eps.directory.reports import Reports
from eps.directory.slices import last_chain, many_objects, read_records
from eps.directory.trusted_roots import TrustedRootsFile
from eps.errors import AnswerTooLarge, BadParams, DeliveryError, EpsError, MethodNotFound, RecordError
from eps.reasons import Reason
from eps.transport.own_clock import OWN_CLOCK

TIP_SECONDS = 3.0
NEWS_SECONDS = 5.0
FETCH_SECONDS = 60.0
"""Deadlines: of ``getTip``; of ``getRecords`` from an endpoint that may be dead; of one from an endpoint that has just
shown that it has much to tell."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A good answer.

    Attributes:
        endpoint: whose.
        chain: what is verified now: the chain that was asked from, or another.
        passed_over: what was not believed on the way: reason and hint.
    """

    endpoint: str
    chain: Chain
    passed_over: Sequence[tuple[str, str]] = ()


class Rounds:
    """Asks, one question at a time.

    Args:
        clients: reach the endpoints; closed with this.
        trusted_roots: what was accepted by hand.
        reports: told of failures; while they go on, every question is thorough.
        thorough_every: seconds, until one is thorough although nothing is wrong.
        now: the time, with a time zone.
    """

    def __init__(
        self,
        clients: Clients,
        trusted_roots: TrustedRootsFile,
        reports: Reports,
        thorough_every: float,
        now: Callable[[], datetime],
    ) -> None:
        self._endpoints = Endpoints(clients)
        self._trusted_roots = trusted_roots
        self._reports = reports
        self._thorough_every = thorough_every
        self._now = now
        self._keeping = SignatureKeeping(self._endpoints, reports)
        self._refused: dict[int, _Refusal] = {}
        self._next_thorough = 0.0

    def renewed(self, clients: Clients) -> "Rounds":
        """As these, by other clients, and with nothing remembered of what the former said."""
        return Rounds(clients, self._trusted_roots, self._reports, self._thorough_every, self._now)

    async def close(self) -> None:
        await self._endpoints.close()

    async def ask_what_is_kept(self, since: Instant | None) -> None:
        """Ask the endpoint that was good last whether it keeps canonical signatures, if they are demanded; it is told
        once if it doesn't.

        Args:
            since: from which date on they are; None: they aren't.
        """
        if since is not None:
            await self._keeping.ask(self._endpoints.order()[0], since)

    async def ask(self, chain: Chain, *, thorough: bool) -> Heard | None:
        """Ask once; all endpoints in turn until one has an answer that can be believed.

        Args:
            chain: what is verified so far.
            thorough: compare the tips, too.

        Returns:
            None if nobody had one; the reports know why.
        """
        time = asyncio.get_running_loop().time()
        # Asking for records alone would never show a reset of a server that answers [] to a tip it once had.
        thorough = thorough or self._reports.failing or time >= self._next_thorough
        left, refusals = self._endpoints.order(), []
        while True:
            try:
                index, news = await (self._compare(left, chain) if thorough else self._ask_news(left, chain))
            except _NotBelieved as refusal:
                # The first answer won, so those behind it were not heard: without this one, they are.
                refusals.append(refusal)
                left.remove(refusal.index)
                if left:
                    continue
                first = refusals[0].error
                self._reports.failed("; ".join(r.reason for r in refusals), first.hint, first)
                return None
            except EpsError as error:
                # None of those left answers: only now the refused ones are part of a failure.
                text = "; ".join([r.reason for r in refusals] + [error.message])
                self._reports.failed(text, error.hint, error)
                return None
            if thorough:
                self._next_thorough = time + self._thorough_every
            self._endpoints.prefer(index)
            passed_over = [(refused.reason, refused.error.hint) for refused in refusals]
            return Heard(self._endpoints.names[index], news, passed_over)

    async def _ask_news(self, among: Sequence[int], chain: Chain) -> tuple[int, Chain]:
        """The quick way: what is new since our tip. Gives the endpoint that answered, and the chain."""
        index, answer = await self._endpoints.first(among, "getRecords", {"after": chain.tip}, NEWS_SECONDS)
        values = _record_list(answer)
        return index, await self._verified(index, values, chain, values[-1] if values else None)

    async def _compare(self, among: Sequence[int], chain: Chain) -> tuple[int, Chain]:
        """The thorough way: compare tips first. Gives the endpoint that answered, and the chain."""
        try:
            index, answer = await self._endpoints.first(among, "getTip", {}, TIP_SECONDS)
        except DeliveryError as error:
            if error.code == MethodNotFound.code:
                return await self._ask_news(among, chain)
            raise
        tip = _hash_in(answer)
        if tip == chain.tip:
            if chain.records:
                self._keeping.compare(index, chain.records[-1], answer)
            return index, chain
        refused = self._refused.get(index)
        if refused is not None and refused.holds(
            _digest(answer), asyncio.get_running_loop().time(), await self._trusted_roots.read()
        ):
            raise _NotBelieved(index, self._endpoints.names[index], refused.error)
        try:
            news = await self._fetch(index, chain.tip)
        except AnswerTooLarge:
            return index, await self._by_pages(index, chain, answer)
        if not news:
            # Its tip was another before we asked, and still it has nothing behind ours: ours is of an older chain.
            news = await self._fetch(index, "")
        if not news:
            text = "it has no records at all, what was verified before stays in use"
            empty = RecordError(text, reason=Reason.DIRECTORY_SET_BACK if chain.records else None)
            raise _NotBelieved(index, self._endpoints.names[index], empty)
        values = _record_list(news)
        return index, await self._verified(index, values, chain, values[-1] if values else None)

    async def _by_pages(self, index: int, chain: Chain, tip: object) -> Chain:
        """The chain that an endpoint's pages make of ours; ``tip`` is its last record."""
        found, more = chain, True
        while more:
            answer = await self._endpoints.ask(index, "getPage", {"after": found.tip}, FETCH_SECONDS)
            before, (values, more) = found, page_in(answer)
            found = await self._verified(index, values, before, tip)
            if more and found.tip == before.tip:
                raise _NotBelieved(index, self._endpoints.names[index], RecordError("its pages lead nowhere"))
        return found

    async def _fetch(self, index: int, after: str) -> Any:
        return await self._endpoints.ask(index, "getRecords", {"after": after}, FETCH_SECONDS)

    async def _verified(self, index: int, values: list[Any] | None, chain: Chain, last: object) -> Chain:
        """The chain that an answer's records make of ours.

        Args:
            values: None: it was no answer of that kind.
            last: the endpoint's last record; while it is that, and the records are refused, they are not asked for.
        """
        trusted: frozenset[TrustedRoot] = frozenset()
        try:
            if values is None:
                raise RecordError("its answer is not a list of records", hint="is this the URL of an SD?")
            with many_objects(len(values)):
                records = await read_records(values)
                if any(signed.is_root for signed in records):
                    trusted = await self._trusted_roots.read()
                sound = await sound_among(records, chain.trust)
                steps = chain.accepting(records, self._now(), trusted, sound)
                verified = await last_chain(steps, chain, records)
        except (BadParams, RecordError) as error:
            until = asyncio.get_running_loop().time() + self._thorough_every
            self._refused[index] = _Refusal(_digest(last), error, until, trusted)
            raise _NotBelieved(index, self._endpoints.names[index], error) from error
        self._refused.pop(index, None)
        return verified


class _NotBelieved(Exception):
    """An endpoint answered, but not with a chain that can be used. Never leaves this module."""

    def __init__(self, index: int, name: str, error: EpsError) -> None:
        super().__init__(error.message)
        self.index = index
        self.error = error
        why = OWN_CLOCK.named_first(error.message) if error.reason is Reason.RECORD_AHEAD else error.message
        self.reason = f"the service directory at {name} is not believed: {why}"


class _Refusal:
    """A chain that was refused: while the endpoint's last record is the same, fetching it again would change nothing.
    The same to its last byte: one that was forged has the hash of the honest one.

    After a while it is tried again all the same, since dates are judged by the clock; and at once when other roots are
    accepted by hand.
    """

    def __init__(self, tip: bytes, error: EpsError, until: float, trusted: frozenset[TrustedRoot]) -> None:
        self._tip, self.error, self._until, self._trusted = tip, error, until, trusted

    def holds(self, tip: bytes, time: float, trusted: frozenset[TrustedRoot]) -> bool:
        return tip == self._tip and time < self._until and trusted == self._trusted


def _digest(record: object) -> bytes:
    """What tells a record, as JSON, from any other."""
    return sha256(record_text.dumps(record)).digest()


def _record_list(answer: object) -> list[Any] | None:
    """The records of an answer; servers in use may answer null where there are none."""
    if answer is None or answer == {}:
        return []
    return answer if isinstance(answer, list) else None


def _hash_in(record: object) -> str:
    """The hash of a signed record that nobody has verified; "" if there is none."""
    found: Object = record if isinstance(record, dict) else {}
    value = found.get("hash")
    return value if isinstance(value, str) else ""

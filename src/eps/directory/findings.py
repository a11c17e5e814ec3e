"""What is said about records that were believed, and yet are not as they should be: once, when they come.

A section that is not what its last record says, a record that is dated ahead, a free-form value that could be read in
another way from the same signature, a signer whose canonical signatures have stopped. Nobody is refused for them here
(``core.verdict``).
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

from eps.core.chain import Chain, dated_ahead
from eps.core.event import Emit, Level, Notice
from eps.core.record import SignedRecord
from eps.core.second_reading import FREE_SECTIONS, doubtful_places
from eps.core.wording import counted

MAX_TOLD = 10
"""Lines of one kind about one answer; the rest is a number. A chain can hold thousands of such records."""

SEARCH_SECONDS = 1.0
"""For all free-form values of one answer, in a thread. What was not looked at by then is said."""


def new_records(before: Chain, after: Chain) -> Sequence[SignedRecord]:
    """What ``after`` holds that ``before`` did not."""
    same = before.root is not None and after.root is not None and before.root.hash == after.root.hash
    return after.records[len(before.records) if same else 0 :]


def tell(before: Chain, after: Chain, now: datetime, emit: Emit) -> None:
    """Report what ``after`` shows and ``before`` did not: marked sections, what is dated ahead, signers who have
    stopped to sign canonically."""
    known = {mark for entry in before.directory.entries.values() for mark in entry.marks}
    marked = [
        f"the section {mark.section} of {entry.name} is {_STATES[mark.state]}, since its record {mark.record[:12]} "
        f"can't be used: {mark.why}"
        for entry in after.directory.entries.values()
        for mark in entry.marks
        if mark not in known
    ]
    _emit_some(marked, "submit that section anew; eps sd get-entries shows what is marked", emit)
    ahead = [
        f"record {signed.hash[:12]} ({signed.record.name}, {signed.record.section}) is dated ahead, "
        f"{signed.record.created_at}"
        for signed in dated_ahead(new_records(before, after), now)
    ]
    _emit_some(ahead, "it counts all the same; the clock of the machine that signed it, or ours, is wrong", emit)
    lapsed = [
        f"record {lapse.record[:12]}, signed by {lapse.signer}, bears no canonical signature, though earlier ones of "
        f"{lapse.signer} do: a service directory dropped it, or it was signed with another program"
        for lapse in sorted(after.canonical.lapses - before.canonical.lapses)
    ]
    _emit_some(lapsed, "require_canonical_signatures refuses such records, see explanation-trust.md", emit)


_STATES = {"emptied": "empty", "kept": "what it was before"}


class Searches:
    """Looks for free-form values that could be read in another way: in a thread, beside everything else, one at a time.

    Args:
        emit: told what was found.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._waiting: list[SignedRecord] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, records: Sequence[SignedRecord]) -> None:
        """Search these, too, unless a canonical signature says which reading was meant: it was verified."""
        self._waiting += [
            signed
            for signed in records
            if signed.record.section in FREE_SECTIONS and signed.signature.canonical is None
        ]
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._search(), name="second readings")

    async def close(self) -> None:
        """End the search; the thread ends by itself, within its time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _search(self) -> None:
        while self._waiting:
            records, self._waiting = self._waiting, []
            found, left = await asyncio.to_thread(_doubtful, records)
            texts = [f"{place} could be read in another way from the same signature" for place in found]
            _emit_some(texts, "whoever hands it on chooses; sign it anew with eps sd submit-records", self._emit)
            if left:
                what = counted(left, "record was", "records were")
                text = f"{what} not searched for values that could be read in another way, for lack of time"
                self._emit(Notice(text=text))


def _doubtful(records: Sequence[SignedRecord]) -> tuple[list[str], int]:
    """The places, and how many records were left when the time was over."""
    until = time.monotonic() + SEARCH_SECONDS
    found: list[str] = []
    for number, signed in enumerate(records):
        if time.monotonic() > until:
            return found, len(records) - number
        record = signed.record
        found += [f"{place} of {record.name}, {record.section}," for place in doubtful_places(record)]
    return found, 0


def _emit_some(texts: Sequence[str], hint: str, emit: Emit) -> None:
    for text in texts[:MAX_TOLD]:
        emit(Notice(text=text, hint=hint, level=Level.WARN))
    if len(texts) > MAX_TOLD:
        emit(Notice(text=f"and {len(texts) - MAX_TOLD} more of this kind", hint=hint, level=Level.WARN))

"""Reading and verifying many records without holding up the event loop.

A record costs a few tenths of a millisecond (two ECDSA verifications and three hashes). Whoever has a thousand of them
works through them here: after each slice the loop gets its turn, and nothing is visible until all are verified.

A record of 4 MiB, though, may hold 200,000 values, and cost 0.3 s to read and 0.7 s to verify. Where records are large,
both are done in a thread: Python's lock changes hands every 5 ms, and the loop goes on.
"""

import asyncio
import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from eps.core.chain import Chain
from eps.core.json_pieces import has_few
from eps.core.record import SignedRecord, parse_signed_record
from eps.errors import BadParams

SLICE = 100
"""Records read between two turns of the event loop: some 5 to 10 ms, where 50 ms is what nothing may take."""


SMALL_VALUES = 200
"""Of a record that is read and verified on the loop: of these a slice takes 30 ms at most, and of what networks have, a
tenth of that. A record has some 10 to 100."""

MANY = 500
"""Records from which on Python's cycle collector would be noticed: a full collection looks at each for 7 to 18 µs."""

VERY_MANY = 5_000
"""Records that are verified in a thread, whatever they are: what takes a microsecond for each takes long for them."""

_collecting_later = 0
_looked_at = 0
"""Records that came since the last freeze, and that each full collection still looks at."""


@contextmanager
def many_objects(count: int) -> Iterator[None]:
    """Keep the cycle collector out while ``count`` records are read and verified, and away from them afterwards.

    Records are for good and hold no cycles, but each full collection looks at every part of all of them: 70 to 180 ms
    with 10,000 records, more than anything else here. So it rests while many arrive, and whenever many have come, at
    once or one by one, they count as permanent. Garbage in cycles that exists at that moment stays; it is little, and
    so many records come rarely.
    """
    global _collecting_later
    if count < MANY or not (gc.isenabled() or _collecting_later):
        yield
        _exempt(count)
        return
    _collecting_later += 1
    gc.disable()
    try:
        yield
        _exempt(count)  # not if they were refused: what goes again, perhaps in cycles, must not become permanent
    finally:
        _collecting_later -= 1
        if not _collecting_later:
            gc.enable()


def _exempt(count: int) -> None:
    global _looked_at
    _looked_at += count
    if _looked_at >= MANY:
        _looked_at = 0
        gc.freeze()


async def read_records(values: Iterable[object], place: str = "records") -> list[SignedRecord]:
    """The signed records that JSON values spell; nothing about them is verified yet.

    Raises:
        BadParams: naming the first malformed one (``records[3].record.section: …``) and, if it says so, its operator.
    """
    records: list[SignedRecord] = []
    for index, value in enumerate(values):
        try:
            where = f"{place}[{index}]"
            is_small = has_few(value, SMALL_VALUES)
            records.append(
                parse_signed_record(value, where)
                if is_small
                else await asyncio.to_thread(parse_signed_record, value, where)
            )
        except BadParams as error:
            raise BadParams(f"{error.message}{_whose(value)}", hint=error.hint) from None
        if index % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    return records


async def last_chain(steps: Iterator[Chain], present: Chain, records: Sequence[SignedRecord] = ()) -> Chain:
    """Go through a chain's verification step by step (``Chain.extending`` and its kin) and give what it ends with.

    Args:
        records: those that are verified, where strangers chose how many, and how large they are.

    Returns:
        ``present`` itself, if there was nothing to do.

    Raises:
        RecordError: a record was refused; ``present`` stays as it is.
    """
    if len(records) >= VERY_MANY or await _has_large(records):
        while (chain := await asyncio.to_thread(_next, steps)) is not None:
            present = chain
        return present
    for chain in steps:
        present = chain
        await asyncio.sleep(0)
    return present


def _next(steps: Iterator[Chain]) -> Chain | None:
    return next(steps, None)


async def _has_large(records: Sequence[SignedRecord]) -> bool:
    for index, signed in enumerate(records):
        if not has_few(signed.record.data, SMALL_VALUES):
            return True
        if index % (10 * SLICE) == 10 * SLICE - 1:
            await asyncio.sleep(0)
    return False


def _whose(value: object) -> str:
    record = value.get("record") if isinstance(value, dict) else None
    if not isinstance(record, dict):
        return ""
    return f" (operator {str(record.get('name'))[:80]!r}, section {str(record.get('section'))[:40]!r})"

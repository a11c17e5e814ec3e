"""Verifying many records on all processors: what depends on a record alone is looked at by processes of their own.

    records ─▶ batches ─▶ an inspector for each processor ─▶ which are sound ─▶ the chain, which looks at the rest

A hundred thousand records take half a minute in one process, and a few seconds of that are the chain's own. Inspectors
live for one question. Whatever goes wrong with them costs time and nothing else: of records that nobody has called
sound, everything is looked at here.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding

from eps.core import record_text
from eps.core.chain import Chain
from eps.core.json_pieces import has_few
from eps.core.record import SignedRecord
from eps.core.signature import TrustStore
from eps.core.soundness import NOBODY_LOOKED, Sound, is_sound
from eps.directory.inspector import LENGTH
from eps.directory.slices import SMALL_VALUES, last_chain

WORTH_IT = 2_000
"""Records from which on inspectors are asked: to look at so many takes as long as starting one, half a second."""

FIRST = 50
"""Records that are looked at before anybody is asked: of an answer that begins with a forgery nothing is worth it."""

BATCH = 250
"""Records at a time: some 50 ms of work."""

BATCH_BYTES = 1024 * 1024
"""Of JSON at a time, but for one record that is larger by itself."""

MAX_INSPECTORS = 8
"""Each takes some 50 MiB of memory while it works."""

BATCH_SECONDS = 60.0
"""How long one batch may take: a thousand times what it does."""

_COMMAND = ("-P", "-m", "eps.directory.inspector")
"""``-P``: not from the working directory, which is not ours to trust."""


async def sound_among(records: Sequence[SignedRecord], trust: TrustStore, *, worth: int = WORTH_IT) -> Sound:
    """Those of the records that are sound, as far as somebody could be asked; none of few.

    Large ones are left to the chain, which has a thread for them: to write one down takes as long as to look at it.

    Args:
        worth: as :data:`WORTH_IT`.
    """
    if len(records) < worth or not sys.executable:
        return NOBODY_LOOKED
    if not await asyncio.to_thread(_begins_well, records, trust):
        return NOBODY_LOOKED
    batches = _batches(records)
    found: list[SignedRecord] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(min(len(os.sched_getaffinity(0)), MAX_INSPECTORS)):
            group.create_task(_inspect(batches, _authorities(trust), found))
    return Sound(found)


async def chain_of(records: Sequence[SignedRecord], empty: Chain, now: datetime) -> Chain:
    """The chain that records, from a root on, make of an empty one: all are verified.

    Raises:
        RecordError: one of them is not to be believed.
    """
    sound = await sound_among(records, empty.trust)
    return await last_chain(empty.extending(records, now, sound=sound), empty)


def _begins_well(records: Sequence[SignedRecord], trust: TrustStore) -> bool:
    return all(is_sound(signed, trust) for signed in records[:FIRST] if has_few(signed.record.data, SMALL_VALUES))


async def _inspect(
    batches: Iterator[tuple[Sequence[SignedRecord], bytes]], authorities: bytes, found: list[SignedRecord]
) -> None:
    """One inspector's life: it takes batches until there are none. Whatever it dies of is no failure of ours."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *_COMMAND, stdin=pipe, stdout=pipe, stderr=null, close_fds=True
        )
    except OSError:  # no more processes, or none at all where this server is locked in
        return
    assert process.stdin is not None and process.stdout is not None
    try:
        _send(process.stdin, authorities)
        for records, text in batches:
            async with asyncio.timeout(BATCH_SECONDS):
                _send(process.stdin, text)
                await process.stdin.drain()
                answer = await process.stdout.readexactly(len(records))
            found += [signed for signed, verdict in zip(records, answer, strict=True) if verdict == 1]
    except (OSError, EOFError, TimeoutError, RuntimeError):  # the last from uvloop, where a pipe is closed already
        return
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _send(pipe: asyncio.StreamWriter, message: bytes) -> None:
    pipe.writelines((LENGTH.pack(len(message)), message))


def _batches(records: Sequence[SignedRecord]) -> Iterator[tuple[Sequence[SignedRecord], bytes]]:
    """The records in batches, each with its text, but for the large ones."""
    batch: list[SignedRecord] = []
    lines: list[bytes] = []
    size = 0
    for signed in records:
        if not has_few(signed.record.data, SMALL_VALUES):
            continue
        line = record_text.dumps(signed.to_json())
        if batch and (len(batch) == BATCH or size + len(line) > BATCH_BYTES):
            yield batch, b"\n".join(lines)
            batch, lines, size = [], [], 0
        batch.append(signed)
        lines.append(line)
        size += len(line)
    if batch:
        yield batch, b"\n".join(lines)


def _authorities(trust: TrustStore) -> bytes:
    roots, intermediates = (
        b"".join(one.public_bytes(Encoding.PEM) for one in several) for several in (trust.roots, trust.intermediates)
    )
    return roots + b"\0" + intermediates

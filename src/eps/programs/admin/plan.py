"""What a submission would change: known, shown and agreed to before anything is signed.

files → records, fit to be signed → the directory as it is, verified → what changes, what is doubtful → a Plan
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from eps.core.chain import Chain
from eps.core.changes import SectionChange, changes
from eps.core.entries import Directory
from eps.core.instant import Instant
from eps.core.names import RecordHash
from eps.directory.json_files import FileRecord, knowing, read_record_file, record_files
from eps.directory.rules import all_can_read_more, keeps_canonical
from eps.errors import RecordError, SettingsError
from eps.programs.admin import scrutiny
from eps.programs.admin.directory_calls import DirectoryCalls
from eps.programs.admin.roots import record_values, verified_chain
from eps.programs.admin.set_back import OwnServer, check_not_set_back


@dataclass(frozen=True, slots=True)
class Plan:
    """Records that are about to be signed, and what comes of them.

    Attributes:
        reset: they begin a new chain, in place of the present one.
        present: the chain that the service directory has, verified; None: it isn't known.
        before: the directory that follows from it.
        doubts: what may be meant, but probably isn't: a sentence for each.
    """

    found: Sequence[FileRecord]
    reset: bool
    present: Chain | None
    changes: Sequence[SectionChange]
    doubts: Sequence[str]

    @property
    def before(self) -> Directory:
        return self.present.directory if self.present is not None else Directory.empty()


def read_files(files: Sequence[str | os.PathLike[str]], foreign: Iterable[str] = ()) -> list[FileRecord]:
    """The records of all files in order; folders stand for their ``.json`` files.

    Args:
        foreign: keys of settings in them that servers of another make read.

    Raises:
        SettingsError: naming file and record, or there is none.
    """
    found = [item for path in files for file in record_files(path) for item in read_record_file(file)]
    if not found:
        raise SettingsError(f"{', '.join(str(file) for file in files) or 'no file'}: no records to submit")
    return knowing(found, foreign)


async def plan_of(
    found: Sequence[FileRecord], *, reset: bool, calls: DirectoryCalls, now: datetime, own: OwnServer
) -> Plan:
    """What ``found`` would change, after all that speaks against signing them has been looked at.

    Args:
        own: what our server believes: what doesn't go on from that, or that it would not believe, is not signed.

    Raises:
        SettingsError: ``FILE: records[3].data[0].name: …``: they are surely wrong.
        EpsError: the service directory can't be reached, or is not to be believed.
    """
    await asyncio.to_thread(scrutiny.check_fit, found)
    await _check_readable(found, calls)
    await _check_kept(calls, own.demanded)
    present, doubts = await _present(calls, own, now, reset=reset)
    return await asyncio.to_thread(plan_on, found, present, doubts, reset=reset)


def plan_on(
    found: Sequence[FileRecord], present: Chain | None, doubts: Sequence[str] = (), *, reset: bool = False
) -> Plan:
    """What ``found`` would change in the directory of ``present``; nothing about them is checked."""
    before = present.directory if present is not None else Directory.empty()
    after = (Directory.empty() if reset else before).after(item.record for item in found)
    more = scrutiny.doubts(found, before if present is not None else None, after)
    return Plan(found, reset, present, changes(before, after), [*doubts, *more])


async def _present(
    calls: DirectoryCalls, own: OwnServer, now: datetime, *, reset: bool
) -> tuple[Chain | None, list[str]]:
    """The chain that the service directory has, verified, as far as that is known; and why it isn't."""
    known = own.verified is not None and bool(own.verified.tip) and not reset
    if own.trust is None and not known:
        return None, []
    try:
        return await asked_chain(calls, own if known else OwnServer(trust=own.trust), now), []
    except RecordError as error:
        if known:
            raise
        return None, [f"what is in the directory now can't be told, since it doesn't verify: {error.message}"]


async def asked_chain(calls: DirectoryCalls, own: OwnServer, now: datetime) -> Chain:
    """The chain that the service directory has, verified: on from what our server has, if that is known.

    Raises:
        EpsError: no answer, or it is not to be believed.
    """
    if own.verified is not None and own.verified.tip:
        return await catch_up(own.verified, calls, now, own)
    assert own.trust is not None, "whoever asks knows whom to believe"
    values = record_values(await calls.answer("getRecords", {"after": ""}))
    return await verified_chain(values, own.trust, now)


async def catch_up(known: Chain, calls: DirectoryCalls, now: datetime, own: OwnServer) -> Chain:
    """``known``, and what the service directory has had behind it since.

    Raises:
        RecordError: it was set back, or shows what is not to be believed.
    """
    tip = tip_hash(await calls.result("getTip", {}))
    return await check_not_set_back(known, tip, partial(_records_after, calls), now, own.trusted)


async def _records_after(calls: DirectoryCalls, after: str) -> list[object]:
    records = await calls.result("getRecords", {"after": after})
    return records if isinstance(records, list) else []  # servers in use may answer null where there are none


def tip_hash(record: object) -> RecordHash:
    """The hash of ``getTip``'s answer; "" for an empty directory."""
    value = record.get("hash", "") if isinstance(record, dict) else ""
    return RecordHash(value if isinstance(value, str) else "")


async def _check_readable(found: Sequence[FileRecord], calls: DirectoryCalls) -> None:
    """Refuse what servers in use can't read, unless the service directory says that none of those follows it."""
    refusal = scrutiny.foreign_refusal(found)
    if refusal is not None:
        rules = await calls.answer("getRules", {})  # an error, if it is not ours
        if not all_can_read_more(rules.result):
            raise refusal


async def _check_kept(calls: DirectoryCalls, since: Instant | None) -> None:
    """Refuse to sign for a service directory that drops canonical signatures, where these are demanded."""
    if since is not None and not keeps_canonical((await calls.answer("getRules", {})).result):
        raise RecordError(
            "the service directory does not keep canonical signatures, which require_canonical_signatures demands from "
            f"{since.text} on: our server would believe none of these records",
            hint="nothing was signed; use a service directory that keeps them, or set a later date",
        )


def check_still_so(plan: Plan, present: Chain) -> None:
    """Refuse to replace what somebody else has changed since ``plan`` was shown.

    Raises:
        RecordError: naming what changed.
    """
    replaced = {(item.record.name, item.record.section) for item in plan.found}
    moved = [
        f"{change.operator}: {change.section}"
        for change in changes(plan.before, present.directory)
        if (change.operator, change.section) in replaced
    ]
    if moved:
        raise RecordError(
            f"somebody else has changed the same meanwhile ({', '.join(moved)})",
            hint="nothing was submitted; look at what is there now, then submit again",
        )

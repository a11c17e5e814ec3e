"""What ``eps sd …`` does: submit change records, show entries, sign and verify files (PROTOCOL.md sections 1 and 4).

What a submission would change is ``plan``'s to say; here it is signed and submitted.

Plain functions without a command line: they are given what they need and raise ``EpsError`` with a sentence for the
administrator.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from eps.core import record_text
from eps.core.chain import pick_newest_root
from eps.core.entries import Directory
from eps.core.instant import instant_of
from eps.core.message import Error
from eps.core.names import Object, RecordHash
from eps.core.record import NO_PARENT, SignedRecord, sendable_section, signed_payload
from eps.core.signature import Signer, TrustStore, sign_object, verify_object
from eps.core.wording import counted
from eps.directory.json_files import FileRecord, read_json
from eps.directory.rules import lacks_canonical
from eps.directory.slices import read_records
from eps.errors import (
    BadParams,
    DeliveryError,
    OutcomeUnknown,
    RecordError,
    SettingsError,
)
from eps.programs.admin.directory_calls import DirectoryCalls, refusal
from eps.programs.admin.plan import Plan, asked_chain, catch_up, check_still_so, plan_of, read_files, tip_hash
from eps.programs.admin.roots import record_values
from eps.programs.admin.set_back import OwnServer

STALE_ATTEMPTS = 10
"""How often a batch is chained anew because somebody else submitted in between: of two who submit all
the time, one batch in a thousand is refused for good."""

STEP = timedelta(microseconds=1)
"""Between the dates of a batch's records: two records of one content and date would have one hash."""


Tell = Callable[[str], None]
"""Is given a sentence for the administrator."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was stored.

    Attributes:
        count: records.
        tip: hash of the last one, the chain's new tip.
    """

    count: int
    tip: RecordHash


async def submit_records(
    files: Sequence[str | os.PathLike[str]],
    *,
    reset: bool,
    signer: Signer,
    calls: DirectoryCalls,
    now: Callable[[], datetime],
    tell: Tell = lambda text: None,
    own: OwnServer = OwnServer(),  # noqa: B008  # frozen
) -> Submitted:
    """Sign the change records of all ``files`` and submit them as one batch, whatever is doubtful about them.

    Args:
        files: files of ``{"records": [{name, section, data}]}``, or folders of them; their order is the records'.
        reset: begin a new chain, in place of the present one.
        signer: the administrator.
        calls: of the service directory.
        now: the time, with a time zone; every record's ``created_at``.
        tell: is given sentences about what is doubtful and signed all the same.
        own: what our server believes: what doesn't go on from that, or that it would not believe, is not signed.

    Raises:
        SettingsError: ``FILE: records[3].data[0].name: …``.
        EpsError: the service directory can't be reached, or refuses (which record of which file, why).
    """
    found = await asyncio.to_thread(read_files, files)
    plan = await plan_of(found, reset=reset, calls=calls, now=now(), own=own)
    for doubt in plan.doubts:
        tell(doubt)
    return await submit_plan(plan, signer=signer, calls=calls, now=now, tell=tell, own=own)


async def submit_plan(
    plan: Plan, *, signer: Signer, calls: DirectoryCalls, now: Callable[[], datetime], tell: Tell, own: OwnServer
) -> Submitted:
    """Sign what was planned and submit it as one batch: all is stored, or nothing.

    Raises:
        EpsError: the service directory can't be reached, or refuses (which record of which file, why); or somebody
            else has changed the same sections since the plan was made.
    """
    present = plan.present if not plan.reset else None
    for attempt in range(1, STALE_ATTEMPTS + 1):
        if present is not None and present.tip:
            present = await catch_up(present, calls, now(), own)
            check_still_so(plan, present)
            tip = present.tip
        else:
            tip = NO_PARENT if plan.reset else tip_hash(await calls.result("getTip", {}))
        chain = sign_chain(plan.found, tip, signer, now())
        error = await _submit(calls, chain)
        if error is None:
            await _tell_if_dropped(calls, chain[-1], tell)
            return Submitted(len(chain), chain[-1].hash)
        if not _is_stale(error) or plan.reset or attempt == STALE_ATTEMPTS:
            raise refusal(error, plan.found)
    raise AssertionError  # the last attempt has raised


async def submit_signed(chain: Sequence[SignedRecord], *, calls: DirectoryCalls, tell: Tell) -> Submitted:
    """Submit records that somebody has signed: all of them, or none.

    Raises:
        EpsError: the service directory can't be reached, or refuses.
    """
    error = await _submit(calls, chain)
    if error is not None:
        raise refusal(error, ())
    await _tell_if_dropped(calls, chain[-1], tell)
    return Submitted(len(chain), chain[-1].hash)


async def get_entries(calls: DirectoryCalls, trust: TrustStore, now: datetime, name: str | None = None) -> list[Any]:
    """The directory's entries as JSON values, made here of records that were verified; what the service directory says
    that they come to isn't asked. Only the one of operator ``name``, if given.

    An operator that isn't there is an empty list, as scripts for servers in use expect.

    Raises:
        EpsError: no answer, or one that does not verify.
    """
    entries = (await verified_directory(calls, trust, now)).entries.values()
    return [entry.to_json() for entry in entries if name in (None, entry.name)]


async def verified_directory(calls: DirectoryCalls, trust: TrustStore, now: datetime) -> Directory:
    """The directory that the service directory's records come to; raises as :func:`get_entries`."""
    return (await asked_chain(calls, OwnServer(trust=trust), now)).directory


async def present_directory(calls: DirectoryCalls) -> str:
    """What a reset would replace, in words; "" if the directory is empty.

    Raises:
        EpsError: no answer.
    """
    values = record_values(await calls.answer("getRecords", {"after": ""}))
    if not values:
        return ""
    try:
        records = pick_newest_root(await read_records(values))
    except BadParams:
        return f"{counted(len(values), 'record')}, not all of which can be read"
    names = {signed.record.name for signed in records}
    first, last = records[0].record, records[-1].record
    what = f"{counted(len(records), 'record')} of {counted(len(names), 'operator')}"
    return f"{what}, from {first.created_at} to {last.created_at}"


def sign_file(path: str | os.PathLike[str], signer: Signer) -> Object:
    """``{"signature", "data"}`` for the JSON object in a file.

    Raises:
        SettingsError: the file holds no JSON object, or one that can't be signed.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: only a JSON object can be signed")
    try:
        return sign_object(data, signer)
    except BadParams as error:
        raise SettingsError(f"{path}: {error.message}", hint=error.hint) from None


def verify_file(path: str | os.PathLike[str], name: str, trust: TrustStore, at: datetime) -> None:
    """Check a file that :func:`sign_file`'s result was written to.

    Raises:
        SettingsError: the file holds no signed object.
        RecordError: ``name`` did not sign it; the message says why.
    """
    try:
        verify_object(read_json(path), name, at, trust)
    except BadParams as error:
        raise SettingsError(f"{path}: {error.message}", hint=error.hint) from None
    except RecordError as error:
        raise RecordError(f"{path}: {error.message}", hint=error.hint) from None


def sign_chain(found: Sequence[FileRecord], parent: RecordHash, signer: Signer, now: datetime) -> list[SignedRecord]:
    """Date the records from ``now`` on, chain them behind ``parent`` ("" for a root) and sign them."""
    chain: list[SignedRecord] = []
    for index, item in enumerate(found):
        record = replace(item.record, created_at=instant_of(now + index * STEP).text)
        record_hash = record.hash()
        signature = signer.sign(signed_payload(record_hash, parent, record))
        chain.append(SignedRecord(record_hash, parent, record, signature))
        parent = record_hash
    return chain


async def _tell_if_dropped(calls: DirectoryCalls, last: SignedRecord, tell: Callable[[str], None]) -> None:
    """Look at what was just stored: whether its canonical signature still is there."""
    try:
        shown = (await calls.answer("getTip", {})).result
    except DeliveryError:
        return  # it is stored; servers that follow will say the rest
    if tip_hash(shown) == last.hash and lacks_canonical(shown):
        tell(
            "the service directory has dropped the canonical signatures of these records: their free-form values are "
            "not protected, and servers with require_canonical_signatures refuse them from that date on"
        )


async def _submit(calls: DirectoryCalls, chain: Sequence[SignedRecord]) -> Error | None:
    """Submit; the refusal, if it is refused."""
    params: Object = {"records": [_as_sent(record) for record in chain]}
    try:
        response = await calls.answer("submitRecords", params)
    except OutcomeUnknown as error:
        # What was sent is not sent again, but whether it arrived can be seen.
        if await _is_there(calls, chain):
            return None
        error.hint = "the records were not stored up to now: look with eps directory show before submitting them again"
        raise
    return response.error


async def _is_there(calls: DirectoryCalls, chain: Sequence[SignedRecord]) -> bool:
    """Whether the service directory has them, also if somebody has submitted more since.

    It may be another one than they were sent to: asked for a record that it doesn't know, it looks into the store that
    both have.
    """
    await calls.answer("getRecords", {"after": chain[-1].hash})
    behind = await calls.result("getRecords", {"after": chain[0].parent_hash})
    return any(tip_hash(record) == chain[-1].hash for record in behind or ())


def _as_sent(signed: SignedRecord) -> object:
    """A record as the client takes it: where its values are unusual, as finished JSON."""
    value = signed.to_json()
    usual = sendable_section(signed.record.section, signed.record.data) is signed.record.data
    return value if usual else orjson.Fragment(record_text.dumps(value))


def _is_stale(error: Error) -> bool:
    """Whether the batch was certainly refused because its first record doesn't follow the tip.

    Servers in use may store a batch in part and don't say why they refuse, so only the word of ours counts.
    """
    return isinstance(error.data, dict) and error.data.get("reason") == "stale"

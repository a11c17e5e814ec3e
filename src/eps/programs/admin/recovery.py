"""``eps directory export`` and ``sd store import``: a service directory's store is rebuilt from any operator's copy.

    an EPS server's cache → verified → FILE → verified again → what the store has that FILE lacks? → store

Nothing that the service directory has is dropped without having been named, and without ``--replace``.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eps.core import record_text
from eps.core.chain import Chain
from eps.core.high_water import HighWater
from eps.core.record import SignedRecord
from eps.core.signature import TrustStore
from eps.core.wording import counted
from eps.datastores import RECORD, Datastore
from eps.datastores.state_file import read_state
from eps.directory.cache import chain_in, entries_of, read_cache, verified
from eps.directory.high_water import VERSION, HighWaterMark
from eps.directory.json_files import read_json
from eps.directory.reports import changed_sections
from eps.errors import BadParams, EpsError, RecordError, SettingsError, StartError
from eps.programs.admin.screen import at_screen, show
from eps.programs.admin.stores import say
from eps.programs.wiring.credentials import directory_trust
from eps.programs.wiring.parts import directory_cache, now, open_datastore
from eps.programs.wiring.sd import high_water_file
from eps.settings import EpsSettings, SdSettings, models


async def verified_copy(settings: EpsSettings, warn: Callable[[str], None]) -> Chain | None:
    """The last chain that this operator's server verified; None, and a warning, if there is no such copy."""
    try:
        return await copy_of(settings)
    except EpsError as error:
        warn(f"it can't be told whether the service directory was set back: {error.message}")
        return None


async def export(settings: EpsSettings) -> None:
    """``eps directory export``: the verified copy as JSON.

    Raises:
        EpsError: there is none, or it can't be read or verified.
    """
    chain = await copy_of(settings)
    value = {"records": [record.to_json() for record in chain.records]}
    if at_screen():
        show(value, whole=False, rest="> FILE")
    else:
        sys.stdout.buffer.write(record_text.dumps(value) + b"\n")
    print(f"exported {_described(chain)}", file=sys.stderr)


async def copy_of(settings: EpsSettings) -> Chain:
    """The chain that this operator's server verified last, verified once more.

    Raises:
        EpsError: there is none, or it can't be read or verified.
    """
    if not isinstance(settings.directory, models.ApiDirectory):
        raise SettingsError(
            f"directory.type is {settings.directory.type}: this server keeps no verified copy of a directory",
            hint="only servers that follow a service directory (type: api) have one",
        )
    given, path = settings.directory.settings, directory_cache(settings)
    if not await asyncio.to_thread(Path(path).exists):
        raise StartError(
            f"there is no verified copy of the directory at {path}",
            hint="it is written by a running EPS server; run this on its machine, as its user, with its settings",
        )
    trust = directory_trust(given)
    chain = await read_cache(path, Chain.empty(trust), now())
    if not chain.tip:
        raise StartError(f"the copy of the directory at {path} is empty", hint="the server has verified nothing yet")
    return chain


# Import


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import changes.

    Attributes:
        add: records to put behind those that are there; None: all are replaced.
        lost: records of the store that the file lacks.
    """

    add: Sequence[SignedRecord] | None
    lost: Sequence[SignedRecord] = ()


def plan_import(present: Chain, imported: Chain) -> Plan:
    """Add what is missing, if the store's records are the first ones of the file; replace them if not."""
    if not present.tip:
        return Plan(None)
    if imported.records.position(present.tip) is not None:
        return Plan(imported.records[len(present.records) :])
    return Plan(None, [record for record in present.records if imported.records.position(record.hash) is None])


async def import_records(file: Path, *, replace: bool, settings: SdSettings) -> None:
    """``sd store import``: put an exported directory into the store; the service directory must not run.

    Args:
        replace: also drop what the store has and the file lacks, or what can't be read.

    Raises:
        EpsError: the file or the store can't be used, or something would be lost. Nothing was changed.
    """
    given = settings.directory
    trust = directory_trust(given)
    imported = await _imported(file, trust)
    store = await open_datastore(given.datastore, say)
    try:
        present = await _present(store, trust, replace=replace)
        plan = plan_import(present, imported)
        if plan.lost and not replace:
            raise _would_lose(store.location, file, plan.lost)
        await _write(store, plan, imported)
    finally:
        await store.close()
    print(f"{store.location} now holds {_described(imported)}")
    if plan.lost:
        print(f"dropped {_named(plan.lost)}: submit these changes again", file=sys.stderr)
    await _settle_mark(imported, plan.lost, high_water_file(settings))


async def _imported(file: Path, trust: TrustStore) -> Chain:
    value = await asyncio.to_thread(read_json, file)
    records = value.get("records") if isinstance(value, dict) else value
    if not isinstance(records, list) or not records:
        raise SettingsError(f"{file}: holds no signed records", hint="make it with eps directory export")
    try:
        return await verified(records, len(records), Chain.empty(trust), now())
    except (BadParams, RecordError) as error:
        raise RecordError(f"{file}: {error.message}; nothing was changed", hint=error.hint) from None


async def _present(store: Datastore, trust: TrustStore, *, replace: bool) -> Chain:
    empty = Chain.empty(trust)
    entries = [entry for entry in await store.read_all() if entry.type == RECORD]
    try:
        return await chain_in(entries, empty, now())
    except EpsError as error:
        if replace:
            return empty
        raise StartError(
            f"what {store.location} holds can't be used: {error.message}; nothing was changed",
            hint="--replace puts the file's records in its place; keep a copy of the store before",
        ) from None


async def _write(store: Datastore, plan: Plan, imported: Chain) -> None:
    if plan.add is None:
        await store.replace(await entries_of(imported.records))
    elif plan.add:
        await store.append(await entries_of(plan.add))


def _would_lose(location: str, file: Path, lost: Sequence[SignedRecord]) -> StartError:
    return StartError(
        f"{location} holds what {file} lacks: {_named(lost)}; nothing was changed",
        hint="look for a newer copy; if no server believes these records, --replace drops them: "
        "submit their changes again afterwards",
    )


async def _settle_mark(imported: Chain, dropped: Sequence[SignedRecord], path: Path | None) -> None:
    """A mark of what was just dropped is of nothing that anybody misses; any other one tells of a newer copy."""
    if path is None:
        return
    mark = HighWater.from_json(await asyncio.to_thread(read_state, path, VERSION))
    lost = mark.lost(imported.records) if mark is not None else ""
    if mark is not None and mark.tip in {record.hash for record in dropped}:
        await HighWaterMark(path, say).follow(imported)
    elif lost:
        text = f"this is still less than the store once held: {lost}; another operator may have a newer copy"
        print(f"warning: {text}; if nobody has, delete {path}", file=sys.stderr)


def _named(records: Sequence[SignedRecord]) -> str:
    count = counted(len(records), "record")
    return f"{count} ({'; '.join(changed_sections(records))})"


def _described(chain: Chain) -> str:
    last = chain.records[-1].record.created_at
    what = f"{counted(len(chain.records), 'record')} about {counted(len(chain.directory.entries), 'operator')}"
    return f"{what}, up to {chain.tip} of {last}"

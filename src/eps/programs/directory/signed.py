"""Records that an administrator has signed, as a file: ``eps directory sign`` writes it, ``submit`` sends it.

What was signed follows one record, the tip at that time. If something else is submitted first, it can't be any more.
"""

from collections.abc import Sequence
from typing import Any

from eps.core.names import Object, RecordHash
from eps.core.record import SignedRecord
from eps.core.wording import counted
from eps.directory.slices import read_records
from eps.errors import BadParams, RecordError, SettingsError


def as_file(chain: Sequence[SignedRecord]) -> Object:
    """The file's content."""
    return {"records": [record.to_json() for record in chain]}


def is_signed(value: Any) -> bool:
    """Whether a JSON value means to be one."""
    records = value.get("records") if isinstance(value, dict) else None
    return isinstance(records, list) and any(isinstance(one, dict) and "signature" in one for one in records)


async def read_signed(value: Any, path: str) -> list[SignedRecord]:
    """The records of such a file; nothing about them is verified yet.

    Raises:
        SettingsError: naming what is wrong.
    """
    try:
        return await read_records(value["records"])
    except BadParams as error:
        raise SettingsError(f"{path}: {error.message}", hint=error.hint) from None


def check_follows(chain: Sequence[SignedRecord], tip: RecordHash, path: str) -> None:
    """Refuse records that were signed for another tip than the present one.

    Raises:
        RecordError: with what to do.
    """
    if chain[-1].hash == tip:
        raise RecordError(f"{path}: was submitted already", hint="eps directory log shows it")
    if chain[0].parent_hash != tip:
        raise RecordError(
            f"{path}: {counted(len(chain), 'record')} signed to follow record {chain[0].parent_hash[:12] or 'none'}, "
            f"but the last one is {tip[:12] or 'none'} by now",
            hint="something else was submitted meanwhile: check the change slip again, and sign it again",
        )

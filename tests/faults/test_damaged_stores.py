"""What a disk or a person does to a service directory's files: bits turn over, ends and the write-ahead log are lost.
Nobody is ever served a record that was not submitted."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from eps.core.record import SignedRecord
from eps.datastores import DataEntry, Datastore
from eps.datastores.file import FileDatastore
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.service import ServiceDirectory
from eps.errors import InternalError, StartError
from support.record_tools import Clock, chain_of, trust

RECORDS = chain_of(12)
ATTEMPTS = 60
"""Damages of each kind; all are made anew from one number, so that a failure can be repeated."""

Damage = Callable[[random.Random, bytes], bytes]


def turn_a_bit(chance: random.Random, data: bytes) -> bytes:
    """One bit, anywhere."""
    changed = bytearray(data)
    changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def lose_the_end(chance: random.Random, data: bytes) -> bytes:
    """All behind some byte."""
    return data[: chance.randrange(len(data))]


def lose_a_page(chance: random.Random, data: bytes) -> bytes:
    """Zeros where a sector of the disk was."""
    begin = chance.randrange(0, len(data), 512)
    return data[:begin] + bytes(min(512, len(data) - begin)) + data[begin + 512 :]


async def opened(kind: str, path: Path) -> Datastore:
    return await (SqliteDatastore.open(path) if kind == "sqlite" else FileDatastore.open(path))


async def as_killed(kind: str, folder: Path) -> Path:
    """The files of a store with all records, as they are on disk when its program is killed."""
    store = await opened(kind, folder / "running" / "s")
    try:
        for record in RECORDS:
            await store.append([DataEntry(1, bytes(16), orjson.dumps(record.to_json()))])
        shutil.copytree(folder / "running", folder / "killed", ignore=shutil.ignore_patterns("*.lock"))
    finally:
        await store.close()
    return folder / "killed"


async def served(kind: str, path: Path) -> list[SignedRecord] | None:
    """What a service directory serves from these files; None if it says that it can't."""
    try:
        store = await opened(kind, path)
    except StartError:
        return None
    try:
        service = ServiceDirectory(store, trust(), Clock(), lambda event: None)
        await service.load()
        return list(service.chain.records)
    except (StartError, InternalError):
        return None
    finally:
        await store.close()


def is_honest(records: list[SignedRecord] | None) -> bool:
    """Refused, whole, or an earlier state of the directory.

    What is said, not how it is signed: a line break in a certificate's text may become another, and a canonical
    signature under another key is none any more.
    """
    return (
        records is None or [said(record) for record in records] == [said(record) for record in RECORDS][: len(records)]
    )


def said(record: SignedRecord) -> tuple[object, ...]:
    return record.hash, record.parent_hash, record.record


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # a bit of a certificate's
@pytest.mark.parametrize("damage", [turn_a_bit, lose_the_end, lose_a_page], ids=lambda damage: str(damage.__name__))
@pytest.mark.parametrize(("kind", "name"), [("sqlite", "s"), ("sqlite", "s-wal"), ("file", "s")])
async def test_damaged_files_show_nothing_that_was_not_submitted(
    tmp_path: Path, kind: str, name: str, damage: Damage
) -> None:
    killed = await as_killed(kind, tmp_path)
    chance = random.Random(f"{kind} {name}")
    for number in range(ATTEMPTS):
        folder = tmp_path / str(number)
        shutil.copytree(killed, folder)
        (folder / name).write_bytes(damage(chance, (folder / name).read_bytes()))
        assert is_honest(await served(kind, folder / "s")), (number, damage)
        shutil.rmtree(folder)


async def test_without_its_write_ahead_log_a_store_is_an_earlier_one(tmp_path: Path) -> None:
    """Which the mark of the highest state beside it finds out (tests/directory/test_high_water.py)."""
    killed = await as_killed("sqlite", tmp_path)
    assert await served("sqlite", killed / "s") == RECORDS
    shutil.rmtree(killed)
    shutil.rmtree(tmp_path / "running")
    killed = await as_killed("sqlite", tmp_path)
    for end in ("-wal", "-shm"):
        (killed / f"s{end}").unlink(missing_ok=True)
    records = await served("sqlite", killed / "s")
    assert records is None or (len(records) < len(RECORDS) and is_honest(records))

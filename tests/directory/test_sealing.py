"""What was verified at one start is not verified at the next, unless somebody without our key has touched it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

import eps.core.chain as chain_module
from eps.core.cache_seal import MAX_ODD
from eps.core.chain import Chain
from eps.core.event import Notice
from eps.core.record import SignedRecord
from eps.datastores import RECORD, DataEntry, new_id
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.cache import SEAL_FILE, ChainCache
from eps.directory.sealing import Sealing
from support.record_tools import NOW, STRANGER, chain_of, group_record, sign_chain, signer, trust
from support.testing import Events

EMPTY = Chain.empty(trust())
KEY = b"k" * 32
STRANGERS = signer(authority=STRANGER)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes of the records whose signature was looked at."""
    seen: list[str] = []
    verify = chain_module.verify

    def looking(payload, *others):  # type: ignore[no-untyped-def]
        seen.append(payload["hash"])
        return verify(payload, *others)

    monkeypatch.setattr(chain_module, "verify", looking)
    return seen


class Cache:
    """A cache's file, opened anew each time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cache.sqlite"
        self.seal = folder / SEAL_FILE
        self.said: list[str] = []

    async def keep(self, *steps: list[SignedRecord], key: bytes = KEY) -> None:
        """As a server that loads what is there and hears of these, step by step."""
        cache = ChainCache(str(self.path), Events(), key)
        chain = await cache.load(EMPTY, NOW)
        for records in steps:
            chain = (chain if records[0].parent_hash else EMPTY).extend(records, NOW)
            await cache.keep(chain)
        await cache.close()

    async def load(self, key: bytes = KEY, empty: Chain = EMPTY) -> Chain:
        events = Events()
        cache = ChainCache(str(self.path), events, key)
        chain = await cache.load(empty, NOW)
        await cache.close()
        self.said = [event.text for event in events.all if isinstance(event, Notice)]
        return chain

    async def write(self, records: list[SignedRecord]) -> None:
        """As somebody who may write the state folder."""
        store = await SqliteDatastore.open(self.path)
        await store.replace([DataEntry(RECORD, new_id(), orjson.dumps(one.to_json())) for one in records])
        await store.close()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


async def test_what_was_kept_is_not_verified_again(cache: Cache, verified: list[str]) -> None:
    records = chain_of(5)
    await cache.keep(records[:2], records[2:4], records[4:])
    verified.clear()
    loaded = await cache.load()
    assert (loaded.tip, verified) == (records[-1].hash, [])
    assert loaded.directory == EMPTY.extend(records, NOW).directory


async def test_what_came_behind_the_seal_is(cache: Cache, verified: list[str]) -> None:
    records = chain_of(4)
    await cache.keep(records[:3])
    await cache.write(records)
    verified.clear()
    assert (await cache.load()).tip == records[-1].hash
    assert verified == [records[-1].hash]
    verified.clear()
    await cache.load()
    assert verified == [], "it is sealed now"


async def test_a_new_root_is_sealed_anew(cache: Cache, verified: list[str]) -> None:
    again = chain_of(3, at=NOW + timedelta(seconds=1))
    await cache.keep(chain_of(4), again)
    verified.clear()
    assert ((await cache.load()).tip, verified) == (again[-1].hash, [])


async def test_what_is_odd_is_looked_at_each_time(cache: Cache, verified: list[str]) -> None:
    records = sign_chain([group_record("a", "g"), group_record("a", "", at=NOW + timedelta(seconds=1))])
    await cache.keep(records)
    verified.clear()
    loaded = await cache.load()
    assert (loaded.odd, verified) == ((1,), [records[1].hash])
    assert loaded.directory.marked == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda records: [*records[:2], replace(records[2], signature=records[1].signature)],
        lambda records: [*records[:2], replace(records[2], record=replace(records[2].record, data=["other"]))],
        lambda _: chain_of(3, by=STRANGERS),
    ],
    ids=["another signature", "other content", "a stranger's chain"],
)
async def test_who_writes_the_folder_can_forge_nothing(
    cache: Cache, spoil: Callable[[list[SignedRecord]], list[SignedRecord]]
) -> None:
    records = chain_of(3)
    await cache.keep(records)
    await cache.write(spoil(records))
    assert not (await cache.load()).records
    assert any("it does not verify" in text for text in cache.said)


@pytest.mark.parametrize("key", [b"", b"x" * 32], ids=["none", "another"])
async def test_a_seal_by_another_key_is_none(cache: Cache, verified: list[str], key: bytes) -> None:
    records = chain_of(3)
    await cache.keep(records)
    verified.clear()
    assert (await cache.load(key)).tip == records[-1].hash
    assert len(verified) == 3


async def test_without_a_key_there_is_no_seal(cache: Cache) -> None:
    await cache.keep(chain_of(3), key=b"")
    assert not cache.seal.exists()


async def test_other_authorities_look_themselves(cache: Cache) -> None:
    await cache.keep(chain_of(3))
    assert not (await cache.load(empty=Chain.empty(trust(STRANGER)))).records


@pytest.mark.parametrize("text", [b"", b"[]", b'{"version":1}', b'{"version":1,"count":9,"odd":[],"mac":"00"}'])
async def test_a_seal_that_is_damaged_costs_time_only(cache: Cache, verified: list[str], text: bytes) -> None:
    records = chain_of(3)
    await cache.keep(records)
    cache.seal.write_bytes(text)
    verified.clear()
    assert (await cache.load()).tip == records[-1].hash
    assert len(verified) == 3 and not cache.said


async def test_a_seal_that_cannot_be_written_costs_time_only(cache: Cache, verified: list[str]) -> None:
    cache.seal.with_name(cache.seal.name + ".new").mkdir()
    records = chain_of(3)
    await cache.keep(records)
    verified.clear()
    assert (await cache.load()).tip == records[-1].hash
    assert len(verified) == 3


def test_a_chain_of_which_most_is_odd_is_not_sealed(tmp_path: Path) -> None:
    records = chain_of(1)
    chain = EMPTY.extend(records, NOW)
    sealing = Sealing(tmp_path / SEAL_FILE, KEY)
    sealing.add([b"x"], anew=True)
    sealing.write(replace(chain, odd=tuple(range(MAX_ODD + 1))))
    assert not (tmp_path / SEAL_FILE).exists()
    sealing.write(chain)
    assert (tmp_path / SEAL_FILE).exists()


def test_what_holds_more_than_the_chain_is_not_sealed(tmp_path: Path) -> None:
    sealing = Sealing(tmp_path / SEAL_FILE, KEY)
    sealing.add([b"x", b"y"], anew=False)
    sealing.write(EMPTY.extend(chain_of(1), NOW))
    assert not (tmp_path / SEAL_FILE).exists()

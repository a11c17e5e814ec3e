"""The verified chain on disk."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

import eps.directory.cache as module
from eps.core.chain import Chain
from eps.core.event import Notice
from eps.core.record import SignedRecord
from eps.datastores import DataEntry
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.cache import ChainCache
from eps.errors import InternalError
from support.record_tools import NOW, STRANGER, chain_of, signer, trust
from support.testing import Events

EMPTY = Chain.empty(trust())


def chain(records: list[SignedRecord]) -> Chain:
    return EMPTY.extend(records, NOW)


async def stored(path: Path) -> list[str]:
    """The hashes of the records in the file."""
    cache = ChainCache(str(path), Events())
    loaded = await cache.load(EMPTY, NOW)
    await cache.close()
    return [record.hash for record in loaded.records]


async def test_without_a_path_nothing_is_kept() -> None:
    cache = ChainCache(None, Events())
    assert await cache.load(EMPTY, NOW) is EMPTY
    await cache.keep(chain(chain_of(1)))
    await cache.close()


async def test_what_was_kept_is_loaded_and_goes_on(tmp_path: Path) -> None:
    records, path = chain_of(4), tmp_path / "cache.db"
    first = ChainCache(str(path), Events())
    assert await first.load(EMPTY, NOW) is EMPTY
    await first.keep(chain(records[:2]))
    await first.close()
    second = ChainCache(str(path), Events())
    loaded = await second.load(EMPTY, NOW)
    assert loaded.tip == records[1].hash
    await second.keep(loaded.extend(records[2:], NOW))
    await second.close()
    store = await SqliteDatastore.open(path)
    assert len({entry.id for entry in await store.read_all()}) == 4, "what was there is not written again"
    await store.close()
    assert await stored(path) == [record.hash for record in records]


async def test_another_root_replaces_all(tmp_path: Path) -> None:
    cache = ChainCache(str(tmp_path / "cache.db"), Events())
    await cache.load(EMPTY, NOW)
    await cache.keep(chain(chain_of(3)))
    other = chain_of(2, name="new")
    await cache.keep(chain(other))
    await cache.close()
    assert await stored(tmp_path / "cache.db") == [record.hash for record in other]


async def test_what_does_not_verify_is_not_used(tmp_path: Path) -> None:
    events, path = Events(), tmp_path / "cache.db"
    store = await SqliteDatastore.open(path)
    (forged,) = chain_of(1, by=signer(authority=STRANGER))
    await store.append([DataEntry(1, bytes(16), module.record_text.dumps(forged.to_json()))])
    await store.close()
    cache = ChainCache(str(path), events)
    assert await cache.load(EMPTY, NOW) is EMPTY
    assert "does not verify" in events.of(Notice)[0].text
    await cache.keep(chain(chain_of(1)))
    await cache.close()
    assert await stored(path) == [chain_of(1)[0].hash]


async def test_a_write_ends_though_its_caller_is_cancelled(tmp_path: Path) -> None:
    path, records = tmp_path / "cache.db", chain_of(3)
    cache = ChainCache(str(path), Events())
    await cache.load(EMPTY, NOW)
    keeping = asyncio.create_task(cache.keep(chain(records)))
    await asyncio.sleep(0)
    keeping.cancel()
    await cache.close()
    await asyncio.gather(keeping, return_exceptions=True)
    assert keeping.cancelled()
    assert await stored(path) == [record.hash for record in records]


async def test_closing_waits_for_a_write_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
    started, ended = asyncio.Event(), asyncio.Event()

    async def hangs(*_: object) -> None:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    monkeypatch.setattr(SqliteDatastore, "replace", hangs)
    cache = ChainCache(str(tmp_path / "cache.db"), Events())
    await cache.load(EMPTY, NOW)
    keeping = asyncio.create_task(cache.keep(chain(chain_of(1))))
    await started.wait()
    await asyncio.wait_for(cache.close(), 30)
    assert ended.is_set()
    await asyncio.gather(keeping, return_exceptions=True)


# A cache that can't be written


class FullDisk:
    """Stands in for a disk: ``full`` says whether what is stored fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        for name in ("append", "replace"):
            monkeypatch.setattr(SqliteDatastore, name, self._guarded(getattr(SqliteDatastore, name)))

    def _guarded(self, real: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def stored(store: SqliteDatastore, entries: Sequence[DataEntry]) -> None:
            if self.full:
                raise InternalError("database or disk is full")
            await real(store, entries)

        return stored


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    return FullDisk(monkeypatch)


async def told(events: Events, text: str) -> None:
    async with asyncio.timeout(30):
        while not any(text in notice.text for notice in events.of(Notice)):
            await asyncio.sleep(0.001)


async def test_what_could_not_be_written_is_written_as_soon_as_it_can_be(tmp_path: Path, disk: FullDisk) -> None:
    records, path, events = chain_of(4), tmp_path / "cache.db", Events()
    cache = ChainCache(str(path), events)
    await cache.load(EMPTY, NOW)
    await cache.keep(chain(records[:1]))
    disk.full = True
    await cache.keep(chain(records[:2]))
    await cache.keep(chain(records))
    assert [notice.text for notice in events.of(Notice)] == [
        "the directory cache can't be written: database or disk is full"
    ]
    assert "tries again every" in events.of(Notice)[0].hint
    disk.full = False
    await told(events, "is written again, whole")
    await cache.close()
    assert await stored(path) == [record.hash for record in records]


async def test_what_comes_after_it_was_written_again_is_only_added(tmp_path: Path, disk: FullDisk) -> None:
    records, path, events = chain_of(3), tmp_path / "cache.db", Events()
    cache = ChainCache(str(path), events)
    await cache.load(EMPTY, NOW)
    disk.full = True
    await cache.keep(chain(records[:2]))
    disk.full = False
    await told(events, "is written again, whole")
    disk.full = True
    await cache.keep(chain(records[:2]).extend(records[2:], NOW))
    disk.full = False
    async with asyncio.timeout(30):
        while len(events.of(Notice)) < 4:
            await asyncio.sleep(0.001)
    assert ["can't be" in notice.text for notice in events.of(Notice)] == [True, False, True, False]
    await cache.close()
    assert await stored(path) == [record.hash for record in records]


async def test_a_cache_that_could_not_be_opened_is_opened_later(tmp_path: Path, disk: FullDisk) -> None:
    records, path, events = chain_of(2), tmp_path / "cache.db", Events()
    other = await SqliteDatastore.open(path)
    cache = ChainCache(str(path), events)
    assert await cache.load(EMPTY, NOW) is EMPTY
    await cache.keep(chain(records))
    assert len(events.of(Notice)) == 1
    assert "in use by another program" in events.of(Notice)[0].text
    await other.close()
    await told(events, "is written again, whole")
    await cache.close()
    assert await stored(path) == [record.hash for record in records]


async def test_closing_ends_the_attempts(tmp_path: Path, disk: FullDisk) -> None:
    cache = ChainCache(str(tmp_path / "cache.db"), Events())
    await cache.load(EMPTY, NOW)
    disk.full = True
    await cache.keep(chain(chain_of(1)))
    await cache.close()
    assert not [task for task in asyncio.all_tasks() if "cache" in task.get_name()]

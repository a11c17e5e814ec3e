"""The SQLite store, on real files."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eps.datastores import DataEntry, Datastore
from eps.datastores.sqlite import APPLICATION_ID, SCHEMA_VERSION, SqliteDatastore
from eps.errors import InternalError, StartError


def entry(number: int) -> DataEntry:
    return DataEntry(1, number.to_bytes(16, "little"), b'{"n": %d}' % number)


async def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "store.db"
    store: Datastore = await SqliteDatastore.open(path)
    assert await store.read_all() == []
    await store.append([entry(1), entry(2)])
    await store.append([])
    await store.append([DataEntry(255, b"", b"\x00\xff")])
    await store.close()
    await store.close()
    again = await SqliteDatastore.open(str(path))
    assert await again.read_all() == [entry(1), entry(2), DataEntry(255, b"", b"\x00\xff")]
    assert again.location == str(path)
    await again.close()


async def test_replace_is_whole(tmp_path: Path) -> None:
    store = await SqliteDatastore.open(tmp_path / "s.db")
    await store.append([entry(n) for n in range(5)])
    await store.replace([entry(9), entry(8)])
    await store.append([entry(7)])
    assert await store.read_all() == [entry(9), entry(8), entry(7)]
    await store.close()


async def test_it_is_durable_by_setting(tmp_path: Path) -> None:
    store = await SqliteDatastore.open(tmp_path / "s.db")
    database = store.thread.opened.database
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    await store.close()


async def test_an_acknowledged_entry_survives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    program = (
        "import asyncio, os, sys\n"
        "from eps.datastores import DataEntry\n"
        "from eps.datastores.sqlite import SqliteDatastore\n"
        "async def main():\n"
        "    store = await SqliteDatastore.open(sys.argv[1])\n"
        "    await store.append([DataEntry(1, bytes(16), b'{}'), DataEntry(2, bytes(16), b'[]')])\n"
        "    print('stored', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"stored\n"
        with pytest.raises(StartError, match=rf"in use by another program \(process {process.pid}\)"):
            await SqliteDatastore.open(path)
        os.kill(process.pid, signal.SIGKILL)
    store = await SqliteDatastore.open(path)
    assert await store.read_all() == [DataEntry(1, bytes(16), b"{}"), DataEntry(2, bytes(16), b"[]")]
    await store.close()


async def test_two_in_one_process_don_t_share_it_either(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    store = await SqliteDatastore.open(tmp_path / "s.db")
    with pytest.raises(StartError, match="only public proxies may share"):
        await SqliteDatastore.open(tmp_path / "link" / "s.db")
    await store.append([entry(1)])
    await store.close()
    await (await SqliteDatastore.open(tmp_path / "link" / "s.db")).close()


async def test_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await (await SqliteDatastore.open(path)).close()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    database.close()
    with pytest.raises(StartError, match=f"schema version {SCHEMA_VERSION + 1}.*newer version"):
        await SqliteDatastore.open(path)
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    database.close()


async def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE theirs (x)")
    database.commit()
    database.close()
    with pytest.raises(StartError, match="database of another program"):
        await SqliteDatastore.open(path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"this is a text file, and long enough to be taken for a header " * 20)
    with pytest.raises(StartError, match="can't be opened: file is not a database"):
        await SqliteDatastore.open(path)
    assert path.read_bytes().startswith(b"this is a text file")


async def test_a_folder_that_can_t_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"file/s\.db can't be opened.*writable"):
        await SqliteDatastore.open(tmp_path / "file" / "s.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StartError, match=r"folder\.db can't be opened"):
        await SqliteDatastore.open(tmp_path / "folder.db")


async def test_a_refused_append_leaves_nothing_behind(tmp_path: Path) -> None:
    store = await SqliteDatastore.open(tmp_path / "s.db")
    await store.append([entry(1)])
    with pytest.raises(InternalError, match="nothing was stored"):
        await store.append([entry(2), DataEntry(2**70, b"", b"")])  # SQLite has no integer that large
    assert await store.read_all() == [entry(1)]
    await store.append([entry(3)])
    assert await store.read_all() == [entry(1), entry(3)]
    await store.close()


async def test_after_closing_it_says_so(tmp_path: Path) -> None:
    store = await SqliteDatastore.open(tmp_path / "s.db")
    await store.close()
    with pytest.raises(InternalError, match="is closed"):
        await store.append([entry(1)])


async def test_a_write_under_way_when_the_store_is_closed_is_finished(tmp_path: Path) -> None:
    store = await SqliteDatastore.open(tmp_path / "s.db")
    gate = threading.Event()
    store.thread.worker.submit(gate.wait, 30)
    writing = asyncio.ensure_future(store.append([entry(1)]))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(writing, closing)
    again = await SqliteDatastore.open(tmp_path / "s.db")
    assert await again.read_all() == [entry(1)]
    await again.close()


async def test_a_cancelled_open_gives_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import eps.datastores.sqlite as module

    gate, real, given_back = threading.Event(), module.open_locked, threading.Event()

    def slow(path: Path, shared: bool) -> module.Opened:
        gate.wait(30)
        return real(path, shared)

    def close(opened: module.Opened) -> None:
        opened.database.close()
        os.close(opened.lock)
        given_back.set()

    monkeypatch.setattr(module, "open_locked", slow)
    monkeypatch.setattr(module, "_close", close)
    opening = asyncio.ensure_future(SqliteDatastore.open(tmp_path / "s.db"))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    gate.set()
    while not given_back.is_set():
        await asyncio.sleep(0.001)
    monkeypatch.undo()
    await (await SqliteDatastore.open(tmp_path / "s.db")).close()


async def test_what_has_changed_meanwhile_is_not_changed(tmp_path: Path) -> None:
    first: Datastore = await SqliteDatastore.open(tmp_path / "s.db", shared=True)
    second: Datastore = await SqliteDatastore.open(tmp_path / "s.db", shared=True)
    assert await first.last_id() is None
    assert await first.append_if(None, [entry(1), entry(2)])
    assert not await second.append_if(None, [entry(3)])
    assert await second.last_id() == entry(2).id
    assert await second.append_if(entry(2).id, [entry(3)])
    assert not await first.replace_if(entry(2).id, [])
    assert await first.read_all() == [entry(1), entry(2), entry(3)]
    assert await first.replace_if(entry(3).id, [entry(4)])
    assert await second.read_all() == [entry(4)]
    assert await second.replace_if(entry(4).id, []) and await first.last_id() is None
    await first.close()
    await second.close()


async def test_only_who_shares_may_share(tmp_path: Path) -> None:
    shared = await SqliteDatastore.open(tmp_path / "s.db", shared=True)
    with pytest.raises(StartError, match="in use by another program"):
        await SqliteDatastore.open(tmp_path / "s.db")
    await shared.close()
    alone = await SqliteDatastore.open(tmp_path / "s.db")
    with pytest.raises(StartError, match="in use by another program"):
        await SqliteDatastore.open(tmp_path / "s.db", shared=True)
    await alone.close()


COUNTING = """
import asyncio, sys
from eps.datastores import DataEntry, new_id
from eps.datastores.sqlite import SqliteDatastore

async def main():
    store = await SqliteDatastore.open(sys.argv[1], shared=True)
    for _ in range(int(sys.argv[2])):
        while True:
            last = await store.last_id()
            entries = await store.read_all()
            if last != (entries[-1].id if entries else None):
                continue  # changed between the two
            if await store.append_if(last, [DataEntry(1, new_id(), b"%d" % len(entries))]):
                break
    await store.close()

asyncio.run(main())
"""


async def test_two_programs_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    path, rounds = tmp_path / "s.db", 25
    runs = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", COUNTING, str(path), str(rounds)) for _ in range(2)
    ]
    assert [await run.wait() for run in runs] == [0, 0]
    store = await SqliteDatastore.open(path)
    assert [each.data for each in await store.read_all()] == [b"%d" % number for number in range(2 * rounds)]
    await store.close()


async def test_a_shared_store_waits_for_the_program_that_is_just_making_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import eps.datastores.sqlite as module

    monkeypatch.setattr(module, "BUSY_SECONDS", 0.01)
    path = tmp_path / "s.db"
    making = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    making.execute("BEGIN EXCLUSIVE")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            making.execute("ROLLBACK")

    monkeypatch.setattr(module.time, "sleep", pause)
    store = await SqliteDatastore.open(path, shared=True)
    assert len(pauses) == 2
    await store.close()
    making.close()


async def test_a_shared_store_that_can_t_be_opened_says_so_at_once(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"this is no database " * 100)
    with pytest.raises(StartError, match="file is not a database"):
        await SqliteDatastore.open(tmp_path / "s.db", shared=True)

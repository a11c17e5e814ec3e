"""The default store: one SQLite file.

WAL with ``synchronous=FULL``: a transaction is on disk when COMMIT returns. All SQL runs in one worker thread, so the
event loop never waits for the disk. A lock file beside the database keeps a second program out; an administrator may
still read the database with other tools.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from eps.datastores import DataEntry
from eps.errors import InternalError, StartError

APPLICATION_ID = 0x45505331
"""``EPS1``: marks the file as ours, so that another program's database is never written to."""

SCHEMA_VERSION = 1
"""``PRAGMA user_version``. A newer program upgrades older files; an older program refuses newer ones."""

BUSY_SECONDS = 5.0
"""How long to wait for an administrator's tool that has the database locked."""

_T = TypeVar("_T")


class SqliteDatastore:
    """See :class:`eps.datastores.Datastore`. Made by :meth:`open`."""

    def __init__(self, opened: "_Opened", worker: ThreadPoolExecutor) -> None:
        self.location = str(opened.path)
        self._opened = opened
        self._worker = worker
        self._closed = False

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> "SqliteDatastore":
        """Open the store at ``path``; it and its parent folder are made where they are missing.

        Raises:
            StartError: another program has it open, it is not a store, it was written by a newer version, or the
                file system refuses.
        """
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="datastore")
        opening = asyncio.get_running_loop().run_in_executor(worker, _open_locked, path)
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_abandon)  # the thread can't be stopped; what it opens is closed again
            worker.shutdown(wait=False)
            raise
        except BaseException:
            worker.shutdown(wait=False)
            raise
        return cls(opened, worker)

    async def append(self, entries: Sequence[DataEntry]) -> None:
        await self._run(_append, list(entries))

    async def replace(self, entries: Sequence[DataEntry]) -> None:
        await self._run(_replace, list(entries))

    async def read_all(self) -> list[DataEntry]:
        return await self._run(_read_all)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.get_running_loop().run_in_executor(self._worker, _close, self._opened)
        finally:
            self._worker.shutdown(wait=False)

    async def _run(self, work: Callable[..., _T], *arguments: object) -> _T:
        if self._closed:
            raise InternalError(f"the datastore {self.location} is closed")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._worker, work, self._opened.database, *arguments)
        except (sqlite3.Error, OverflowError) as error:
            raise InternalError(
                f"the datastore {self.location} can't be used: {error}",
                hint="check free space, permissions and health of the disk; nothing was stored",
            ) from error


@dataclass(frozen=True, slots=True)
class _Opened:
    path: Path
    lock: int
    database: sqlite3.Connection


def _open_locked(given: str | os.PathLike[str]) -> _Opened:
    path = Path(os.path.realpath(given))  # two spellings of one path must meet at one lock
    try:
        _make_folder(path.parent)
        lock = _take_lock(path)
    except OSError as error:
        raise StartError(
            f"the datastore {path} can't be opened: {error.strerror or error}",
            hint="its folder must be writable for the user that runs this program",
        ) from error
    try:
        return _Opened(path, lock, _open_database(path))
    except BaseException:
        os.close(lock)
        raise


def _abandon(opening: "asyncio.Future[_Opened]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        _close(opening.result())


def _make_folder(folder: Path) -> None:
    """``mkdir -p`` whose result survives a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_lock(path: Path) -> int:
    """A descriptor that holds the lock until it is closed, also by the end of the process, however it ends."""
    name = f"{path}.lock"
    lock = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise StartError(
            f"the datastore {path} is in use by another program (process {owner})",
            hint="a store is never shared: stop the other program, or give this one a path of its own",
        ) from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _open_database(path: Path) -> sqlite3.Connection:
    fresh = not path.exists()
    database: sqlite3.Connection | None = None
    try:
        # isolation_level=None: transactions begin and end where this module says so.
        database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _check_version(database, path)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        _make_schema(database)
        if fresh:
            _sync_folder(path.parent)
    except BaseException as error:
        if database is not None:
            database.close()
        if not isinstance(error, sqlite3.Error):
            raise
        raise StartError(
            f"the datastore {path} can't be opened: {error}",
            hint="it should be an SQLite file that this program made; if it is damaged, restore a backup",
        ) from error
    return database


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise StartError(
            f"{path} is a database of another program",
            hint="name a path that no other program uses",
        )
    if version > SCHEMA_VERSION:
        raise StartError(
            f"the datastore {path} has schema version {version}, this program knows versions up to {SCHEMA_VERSION}",
            hint="it was written by a newer version: run that one, or restore a backup",
        )


def _make_schema(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.execute(
        "CREATE TABLE IF NOT EXISTS entries "
        "(position INTEGER PRIMARY KEY AUTOINCREMENT, type INTEGER NOT NULL, id BLOB NOT NULL, data BLOB NOT NULL)"
    )
    database.execute(f"PRAGMA application_id={APPLICATION_ID}")
    database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    database.execute("COMMIT")


def _append(database: sqlite3.Connection, entries: list[DataEntry]) -> None:
    _transact(database, lambda: _insert(database, entries))


def _replace(database: sqlite3.Connection, entries: list[DataEntry]) -> None:
    def work() -> None:
        database.execute("DELETE FROM entries")
        _insert(database, entries)

    _transact(database, work)


def _transact(database: sqlite3.Connection, work: Callable[[], None]) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        work()
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _insert(database: sqlite3.Connection, entries: list[DataEntry]) -> None:
    database.executemany(
        "INSERT INTO entries (type, id, data) VALUES (?, ?, ?)", [(e.type, e.id, e.data) for e in entries]
    )


def _read_all(database: sqlite3.Connection) -> list[DataEntry]:
    rows = database.execute("SELECT type, id, data FROM entries ORDER BY position")
    return [DataEntry(kind, bytes(id_), bytes(data)) for kind, id_, data in rows]


def _close(opened: _Opened) -> None:
    try:
        opened.database.close()
    finally:
        os.close(opened.lock)

"""The default store: one SQLite file.

WAL with ``synchronous=FULL``: a transaction is on disk when COMMIT returns. All SQL runs in one worker thread, so the
event loop never waits for the disk. A lock file beside the database keeps a second program out, unless both have opened
it as ``shared``; an administrator may still read the database with other tools.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from eps.datastores import DataEntry
from eps.datastores.local import DiskThread, cannot_open, sync_folder, take_place
from eps.datastores.private import narrow, open_private
from eps.errors import DiskFull, StartError, StoreFailed

APPLICATION_ID = 0x45505331
"""``EPS1``: marks the file as ours, so that another program's database is never written to."""

SCHEMA_VERSION = 1
"""``PRAGMA user_version``. A newer program upgrades older files; an older program refuses newer ones."""

BUSY_SECONDS = 5.0
"""How long to wait for an administrator's tool that has the database locked."""

OPEN_ATTEMPTS, OPEN_PAUSE = 50, 0.1
"""How often, and after how many seconds, a shared store is tried again that another program is just making."""

ROOM_TO_OPEN = 256 * 1024
"""Bytes that a disk needs for the files that SQLite makes when it opens a store: a few pages of 4 KiB each, and 32 KiB
of index for the write-ahead log. File systems hand room out in larger pieces."""

_T = TypeVar("_T")


class SqliteDatastore:
    """See :class:`eps.datastores.Datastore`. Made by :meth:`open`.

    Attributes:
        thread: where the database is used, and its connection, ``thread.opened``.
    """

    def __init__(self, thread: DiskThread["Opened"]) -> None:
        self.location = str(thread.opened.path)
        self.thread = thread

    @classmethod
    async def open(cls, path: str | os.PathLike[str], *, shared: bool = False) -> "SqliteDatastore":
        """Open the store at ``path``; it and its parent folder are made where they are missing.

        Args:
            shared: other programs of this machine may have it open too, if they open it as shared. (Network file
                systems won't do: SQLite's write-ahead log needs shared memory.)

        Raises:
            StartError: another program has it open, it is not a store, it was written by a newer version, or the
                file system refuses.
        """
        return cls(await DiskThread.open(lambda: open_locked(path, shared), _close))

    async def append(self, entries: Sequence[DataEntry]) -> None:
        await self._run(_append, list(entries))

    async def replace(self, entries: Sequence[DataEntry]) -> None:
        await self._run(_replace, list(entries))

    async def read_all(self) -> list[DataEntry]:
        return await self._run(_read_all)

    async def last_id(self) -> bytes | None:
        return await self._run(_last_id)

    async def append_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        return await self._run(_append_if, last, list(entries))

    async def replace_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        return await self._run(_replace_if, last, list(entries))

    async def close(self) -> None:
        await self.thread.close()

    async def _run(self, work: Callable[..., _T], *arguments: object) -> _T:
        try:
            return await self.thread.run(self.location, lambda opened: work(opened.database, *arguments))
        except (sqlite3.Error, OverflowError) as error:
            raise StoreFailed(
                f"the datastore {self.location} can't be used: {error}",
                hint="check free space, permissions and health of the disk; nothing was stored",
            ) from error


def read_entries(path: str | os.PathLike[str]) -> list[DataEntry]:
    """What a store holds just now, whoever has it open. Nothing is written, not even for a store that is missing.

    Raises:
        StartError: it is missing, it is no store, or it can't be read.
    """
    real = Path(os.path.realpath(path))
    database: sqlite3.Connection | None = None
    try:
        database = sqlite3.connect(f"{real.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        _check_version(database, real)
        return _read_all(database) if _has_entries(database) else []
    except sqlite3.Error as error:
        raise StartError(
            f"the datastore {real} can't be read: {error}",
            hint="check the path, and that it is a store of this program",
        ) from error
    finally:
        if database is not None:
            database.close()


def _has_entries(database: sqlite3.Connection) -> bool:
    """Whether the table is there: an empty file is a store that nobody has opened yet."""
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'entries'").fetchone()
    return bool(tables)


@dataclass(frozen=True, slots=True)
class Opened:
    """A database whose place is taken: what ends it is closing both."""

    path: Path
    lock: int
    database: sqlite3.Connection


def open_locked(given: str | os.PathLike[str], shared: bool) -> Opened:
    """Take the place and open the database there; raises what :meth:`SqliteDatastore.open` raises."""
    path, lock = take_place(given, shared=shared)
    try:
        fresh = _make_private(path, shared)
        return Opened(path, lock, _open_shared(path, fresh) if shared else _open_database(path, fresh))
    except OSError as error:
        os.close(lock)
        raise cannot_open(path, error) from error
    except BaseException:
        os.close(lock)
        raise


def _make_private(path: Path, shared: bool) -> bool:
    """Have a database that only we may read, and tell whether it is new. What SQLite makes beside it gets the same
    rights, and there SQLite follows no links.

    Raises:
        OSError: ``ELOOP``: one of the files is a link.
    """
    for suffix in ("", "-wal", "-shm"):
        narrow(path.with_name(path.name + suffix), shared=shared)
    try:
        os.close(open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _open_shared(path: Path, fresh: bool) -> sqlite3.Connection:
    """As :func:`_open_database`, beside others that may be doing the same: the change to WAL does not wait for them."""
    for _ in range(OPEN_ATTEMPTS - 1):
        try:
            return _open_database(path, fresh)
        except StartError as error:
            if not _is_locked(error.__cause__):
                raise
            time.sleep(OPEN_PAUSE)
    return _open_database(path, fresh)


def _is_locked(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _open_database(path: Path, fresh: bool) -> sqlite3.Connection:
    database: sqlite3.Connection | None = None
    try:
        # isolation_level=None: transactions begin and end where this module says so.
        database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _check_version(database, path)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        _make_schema(database)
        if fresh:
            sync_folder(path.parent)
    except BaseException as error:
        if database is not None:
            database.close()
        if not isinstance(error, sqlite3.Error):
            raise
        if _is_full(error, path.parent):
            raise DiskFull(f"the datastore {path} can't be opened", str(error), path.parent) from error
        raise StartError(
            f"the datastore {path} can't be opened: {error}",
            hint="it should be an SQLite file that this program made; if it is damaged, restore a backup",
        ) from error
    return database


def _is_full(error: sqlite3.Error, folder: Path) -> bool:
    """Whether ``error`` means that ``folder`` is on a full disk.

    SQLite says so when it can't write a page, but tells a file that can't be made, or not be made longer, only as such.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return code == sqlite3.SQLITE_FULL
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < ROOM_TO_OPEN or (disk.f_files > 0 and disk.f_favail == 0)


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    database.execute("BEGIN")  # one view: another program may be making the tables between two looks
    try:
        (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
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


def _append_if(database: sqlite3.Connection, last: bytes | None, entries: list[DataEntry]) -> bool:
    def work() -> bool:
        unchanged = _last_id(database) == last
        if unchanged:
            _insert(database, entries)
        return unchanged

    return _transact(database, work)


def _replace_if(database: sqlite3.Connection, last: bytes | None, entries: list[DataEntry]) -> bool:
    def work() -> bool:
        unchanged = _last_id(database) == last
        if unchanged:
            database.execute("DELETE FROM entries")
            _insert(database, entries)
        return unchanged

    return _transact(database, work)


def _last_id(database: sqlite3.Connection) -> bytes | None:
    row = database.execute("SELECT id FROM entries ORDER BY position DESC LIMIT 1").fetchone()
    return bytes(row[0]) if row is not None else None


def _transact(database: sqlite3.Connection, work: Callable[[], _T]) -> _T:
    """Do ``work`` whole or not at all. Nobody else writes meanwhile: it is a writing one from the start."""
    database.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        database.execute("COMMIT")
        return result
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


def _close(opened: Opened) -> None:
    try:
        opened.database.close()
    finally:
        os.close(opened.lock)

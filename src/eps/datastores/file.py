"""The store ``file``: an append-only file of chunks, as servers in use keep it (PROTOCOL.md section 6).

    open    lock → read whole → a torn end goes to a file of its own, and is cut off
    append  still as we left it? → all chunks in one write → on disk → or cut back to where it was
    replace a new file beside it → on disk → takes the old one's name

The lock file keeps other programs of ours out. Others don't know it, so before each write the file is looked at: one
that somebody else has changed is not written to.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from eps.core.chunks import ChunkReader, lay_out
from eps.core.event import Emit, Level, Notice, ignore
from eps.core.wording import counted
from eps.datastores import ID_BYTES, DataEntry, decode_entry, encode_entry, new_id
from eps.datastores.local import DiskThread, cannot_open, make_folder, reason, sync_folder, take_place
from eps.datastores.private import open_private
from eps.errors import StartError, StoreFailed

READ_BYTES = 1 << 20
"""Of the file at a time."""

MAX_ZERO_BYTES = 16 * 1024 * 1024
"""At a file's end that count as torn; a file system leaves as many as one write had bytes, at most."""

IN_USE_HINT = (
    "stop the other program, or give this one a file of its own; several public proxies can share a store of type "
    "sqlite or redis"
)

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(slots=True)
class Content:
    """What a file of chunks holds.

    Attributes:
        size: bytes of whole chunks.
        torn: bytes behind them that are no whole chunk.
        incomplete: entries that have begun and lack chunks; they are not among ``entries``.
    """

    entries: list[DataEntry]
    size: int
    torn: bytes
    incomplete: int


class FileDatastore:
    """See :class:`eps.datastores.Datastore`. Made by :meth:`open`."""

    def __init__(self, thread: DiskThread["_Opened"]) -> None:
        self.location = str(thread.opened.path)
        self._thread = thread

    @classmethod
    async def open(cls, path: str | os.PathLike[str], *, emit: Emit = ignore) -> "FileDatastore":
        """Open the store at ``path``; it and its parent folder are made where they are missing.

        Args:
            emit: told of an end that was torn, and of entries that were never finished.

        Raises:
            StartError: another program of ours has it open, its content is no chunks, or the file system refuses.
        """
        store = cls(await DiskThread.open(lambda: _open_locked(path), _close))
        for doubt in store._thread.opened.doubts:
            emit(Notice(level=Level.WARN, text=doubt))
        return store

    async def append(self, entries: Sequence[DataEntry]) -> None:
        await self._run(_append, list(entries))

    async def replace(self, entries: Sequence[DataEntry]) -> None:
        await self._run(_replace, list(entries))

    async def read_all(self) -> list[DataEntry]:
        return await self._run(_read_all)

    async def last_id(self) -> bytes | None:
        return await self._run(_last_id)

    async def append_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        return await self._run(_change_if, last, _append, list(entries))

    async def replace_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        return await self._run(_change_if, last, _replace, list(entries))

    async def close(self) -> None:
        await self._thread.close()

    async def _run(self, work: Callable[Concatenate["_Opened", P], T], *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await self._thread.run(self.location, work, *arguments, **named)
        except (OSError, ValueError) as error:
            raise StoreFailed(
                f"the datastore {self.location} can't be used: {reason(error)}",
                hint="check free space, permissions and health of the disk; nothing was stored",
            ) from error


def read_content(path: str | os.PathLike[str]) -> Content:
    """What a file holds just now, whoever has it open: an entry that is being written is incomplete.

    Raises:
        StartError: it is missing, can't be read, or is damaged before its end.
    """
    try:
        with open(path, "rb") as file:
            return _read(file.fileno(), Path(path))
    except OSError as error:
        raise StartError(f"the datastore {path} can't be read: {reason(error)}") from error


def write_content(path: str | os.PathLike[str], entries: Sequence[DataEntry]) -> None:
    """Make a file hold exactly ``entries``, in the place of one that may be there; whole and on disk, or not at all.

    For files that no program keeps open, such as backups.

    Raises:
        StartError: the file system refuses.
    """
    real = Path(os.path.realpath(path))
    try:
        make_folder(real.parent)
        os.close(_write_beside(real, list(entries))[0])
    except (OSError, ValueError) as error:
        raise StartError(
            f"{real} can't be written: {reason(error)}", hint="check the path, its permissions, and free space"
        ) from error


# In the store's thread


@dataclass(slots=True)
class _Opened:
    path: Path
    lock: int
    file: int
    size: int
    last: bytes | None
    doubts: tuple[str, ...] = ()


def _open_locked(given: str | os.PathLike[str]) -> _Opened:
    path, lock = take_place(given, in_use_hint=IN_USE_HINT)
    try:
        return _open(path, lock)
    except OSError as error:
        os.close(lock)
        raise cannot_open(path, error) from error
    except BaseException:
        os.close(lock)
        raise


def _open(path: Path, lock: int) -> _Opened:
    fresh = not path.exists()
    file = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        if fresh:
            sync_folder(path.parent)
        content = _read(file, path)
        doubts = tuple(_set_aside(path, file, content)) if content.torn else ()
        if content.incomplete:
            doubts += (_unfinished(path, content.incomplete),)
    except BaseException:
        os.close(file)
        raise
    last = content.entries[-1].id if content.entries else None
    return _Opened(path, lock, file, content.size, last, doubts)


def _unfinished(path: Path, count: int) -> str:
    what = "one entry that was" if count == 1 else f"{count} entries that were"
    return f"the datastore {path} holds {what} begun and never finished (its writer was stopped amid it): not used"


def _read(file: int, path: Path, limit: int | None = None) -> Content:
    reader = ChunkReader()
    entries: list[DataEntry] = []
    for piece in _pieces(file, limit):
        for encoded in reader.feed(piece):
            try:
                entries.append(decode_entry(encoded))
            except ValueError as error:
                raise _damaged(path, f"entry {len(entries) + 1} can't be read: {error}") from error
        if reader.damage is not None:
            break
    torn = reader.rest
    if reader.damage is not None:
        torn = _zeros_from(file, reader.offset, limit)
        if not torn:
            raise _damaged(path, f"from byte {reader.damage.offset} on: {reader.damage.why}")
    return Content(entries, reader.offset, torn, reader.incomplete)


def _damaged(path: Path, why: str) -> StartError:
    return StartError(
        f"the datastore {path} is damaged or none: {why}",
        hint="name the right file, or restore a backup; the file was not changed",
    )


def _pieces(file: int, limit: int | None) -> Iterator[bytes]:
    at = 0
    while piece := os.pread(file, READ_BYTES if limit is None else min(READ_BYTES, limit - at), at):
        yield piece
        at += len(piece)


def _zeros_from(file: int, offset: int, limit: int | None) -> bytes:
    """The rest of a file, if it is zeros only, as file systems may leave them at a power cut; else nothing."""
    size = (os.fstat(file).st_size if limit is None else limit) - offset
    rest = os.pread(file, size, offset) if size <= MAX_ZERO_BYTES else b"?"
    return b"" if rest.strip(b"\0") else rest


def _set_aside(path: Path, file: int, content: Content) -> Iterator[str]:
    """Copy a torn end to a file of its own, and cut it off: what is written next must stand behind a whole chunk."""
    aside = _free_name(path, content.size)
    with open(open_private(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as copy:
        copy.write(content.torn)
        copy.flush()
        os.fsync(copy.fileno())
    sync_folder(path.parent)
    os.ftruncate(file, content.size)
    os.fsync(file)
    yield (
        f"the end of the datastore {path} was torn, as by a power cut: {counted(len(content.torn), 'byte')} behind "
        f"byte {content.size} are no whole chunk; they were moved to {aside}"
    )


def _free_name(path: Path, offset: int) -> Path:
    number, name = 0, path.with_name(f"{path.name}.torn-{offset}")
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.torn-{offset}-{number}")
    return name


def _check_untouched(opened: _Opened) -> None:
    """Refuse if the file is not as we left it.

    Raises:
        StoreFailed: it has another size, or another file has its name.
    """
    now = os.stat(opened.path)
    ours = os.fstat(opened.file)
    if (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino):
        what = "was replaced by another file"
    elif now.st_size != opened.size:
        what = f"has {counted(now.st_size, 'byte')}, where this program left {opened.size}"
    else:
        return
    raise StoreFailed(
        f"the datastore {opened.path} {what}: another program has changed it, and nothing was stored",
        hint="a file belongs to one program: stop the other one, then start this one anew",
    )


def _append(opened: _Opened, entries: list[DataEntry]) -> None:
    if not entries:
        return
    _check_untouched(opened)
    data = lay_out(encode_all(entries))
    try:
        _write(opened.file, data)
        os.fsync(opened.file)
    except OSError:
        os.ftruncate(opened.file, opened.size)
        os.fsync(opened.file)
        raise
    opened.size += len(data)
    opened.last = entries[-1].id


def _replace(opened: _Opened, entries: list[DataEntry]) -> None:
    _check_untouched(opened)
    file, size = _write_beside(opened.path, entries)
    os.close(opened.file)
    opened.file, opened.size = file, size
    opened.last = entries[-1].id if entries else None


def _write_beside(path: Path, entries: list[DataEntry]) -> tuple[int, int]:
    """A new file in the place of the one at ``path``, which stays if anything fails: it, open, and its size."""
    data = b"".join(lay_out(encode_all([entry])) for entry in entries)
    beside = path.with_name(f"{path.name}.new")
    file = open_private(beside, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)
    try:
        if path.exists():
            _keep_owner(path, file)
        _write(file, data)
        os.fsync(file)
        os.rename(beside, path)
        sync_folder(path.parent)
    except BaseException:
        os.close(file)
        beside.unlink(missing_ok=True)
        raise
    return file, len(data)


def _change_if(
    opened: _Opened,
    last: bytes | None,
    change: Callable[[_Opened, list[DataEntry]], None],
    entries: list[DataEntry],
) -> bool:
    if opened.last != last:
        return False
    change(opened, entries)
    return True


def _keep_owner(old: Path, new: int) -> None:
    """Give the new file the old one's owner, as far as we may, and its mode."""
    was = os.stat(old)
    with contextlib.suppress(PermissionError):
        os.fchown(new, was.st_uid, was.st_gid)
    os.fchmod(new, stat.S_IMODE(was.st_mode))


def encode_all(entries: list[DataEntry]) -> list[tuple[bytes, bytes]]:
    """Each entry's bytes, and the id that its chunks carry: 16 bytes, as others expect, and no other's in the batch."""
    taken: set[bytes] = set()
    encoded = []
    for entry in entries:
        id = entry.id if len(entry.id) == ID_BYTES and entry.id not in taken else new_id()
        taken.add(id)
        encoded.append((encode_entry(entry), id))
    return encoded


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _read_all(opened: _Opened) -> list[DataEntry]:
    return _read(opened.file, opened.path, opened.size).entries


def _last_id(opened: _Opened) -> bytes | None:
    return opened.last


def _close(opened: _Opened) -> None:
    try:
        os.close(opened.file)
    finally:
        os.close(opened.lock)

"""What stores in files of this machine share: a thread for the disk, a lock that keeps others out, durable folders."""

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from eps.datastores import private
from eps.errors import DiskFull, StartError, StoreFailed

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when a disk, or what this user may have of it, is full."""

O = TypeVar("O")  # noqa: E741 - what was opened
T = TypeVar("T")
P = ParamSpec("P")


class DiskThread(Generic[O]):
    """One thread that does all of a store's work on disk, so that the event loop never waits for it.

    Made by :meth:`open`. What is opened in the thread is used and closed there.
    """

    def __init__(self, opened: O, worker: ThreadPoolExecutor, close: Callable[[O], None]) -> None:
        self.opened = opened
        self.worker = worker
        self._close = close
        self._closed = False

    @classmethod
    async def open(cls, make: Callable[[], O], close: Callable[[O], None]) -> "DiskThread[O]":
        """Call ``make`` in a new thread; raises what it does. If we are cancelled, what it has opened is closed."""
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="datastore")
        opening = asyncio.get_running_loop().run_in_executor(worker, make)
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread can't be stopped; what it opens is closed again.
            opening.add_done_callback(lambda done: _abandon(done, close))
            worker.shutdown(wait=False)
            raise
        except BaseException:
            worker.shutdown(wait=False)
            raise
        return cls(opened, worker, close)

    async def run(
        self, location: str, work: Callable[Concatenate[O, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Do ``work`` on what was opened; raises what it does, and StoreFailed when closed."""
        if self._closed:
            raise StoreFailed(f"the datastore {location} is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.worker, lambda: work(self.opened, *arguments, **named))

    async def close(self) -> None:
        """Close, behind work that is under way; may be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.get_running_loop().run_in_executor(self.worker, self._close, self.opened)
        finally:
            self.worker.shutdown(wait=False)


def _abandon(opening: "asyncio.Future[Any]", close: Callable[[Any], None]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        close(opening.result())


IN_USE_HINT = "only public proxies may share a store: stop the other program, or give this one a path of its own"


def take_place(
    given: str | os.PathLike[str], *, shared: bool = False, in_use_hint: str = IN_USE_HINT
) -> tuple[Path, int]:
    """The real path of a store's file, whose folder exists now, and a descriptor that holds its lock until closed.

    Raises:
        StartError: the file system refuses, or another program has the store.
    """
    path = _place(given)
    try:
        make_folder(path.parent)
        return path, _take_lock(path, shared, in_use_hint)
    except OSError as error:
        raise cannot_open(path, error) from error


def _place(given: str | os.PathLike[str]) -> Path:
    """The real path, but for a link at its end: two spellings of one path must meet at one lock."""
    folder, name = os.path.split(os.path.abspath(given))
    return Path(os.path.realpath(folder)) / name


def reason(error: Exception) -> str:
    """What went wrong, without Python's numbers and file names."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def cannot_open(path: Path, error: OSError) -> StartError:
    """What to raise when the file system refuses."""
    if error.errno in NO_ROOM:
        return DiskFull(f"the datastore {path} can't be opened", reason(error), path.parent)
    if error.errno == errno.ELOOP and path.is_symlink():
        return StartError(
            f"the datastore {path} can't be opened: it is a link",
            hint="name the file that it leads to; links to folders are followed, links to files are not",
        )
    return StartError(
        f"the datastore {path} can't be opened: {reason(error)}",
        hint="it and its folder must be writable for the user that runs this program",
    )


def obstacle(given: str | os.PathLike[str]) -> StartError | None:
    """Why a program that our user starts could not open the store that is there, as far as looking shows.

    Reading needs less than a program does: links are followed, and nothing is written.
    """
    path = _place(given)
    if path.is_symlink():
        return cannot_open(path, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
    needed = [(path, os.R_OK | os.W_OK), (path.parent, os.W_OK | os.X_OK)]
    if all(os.access(place, rights, effective_ids=True) for place, rights in needed):
        return None
    return cannot_open(path, OSError(errno.EACCES, os.strerror(errno.EACCES)))


def make_folder(folder: Path) -> None:
    """``mkdir -p`` whose result survives a power cut; what is new of it is private."""
    for made in private.make_folder(folder):
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_lock(path: Path, shared: bool, in_use_hint: str) -> int:
    """A descriptor that holds the lock until it is closed, also by the end of the process, however it ends."""
    name = f"{path}.lock"
    lock = private.open_private(name, os.O_RDWR | os.O_CREAT, shared=shared)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise StartError(
            f"the datastore {path} is in use by another program (process {owner})",
            hint=in_use_hint,
        ) from None
    except BaseException:
        os.close(lock)
        raise
    return lock

"""Log lines on their way out: what reads them may be slow, full or gone, and no call waits for that.

    event loop → LineQueue.write (never blocks) → waiting lines, bounded → a thread → standard error, or a file

A pager that stops reading, a full disk, a frozen network file system: the thread waits there, the program does not.
Lines that find no room are dropped and counted; the count is told as soon as there is room again.
"""

import errno
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from eps.datastores.private import open_private

MAX_WAITING_CHARS = 4 * 1024 * 1024
"""Some 20,000 lines: what a busy server writes while a disk pauses for seconds. Beyond it lines are lost."""

PIECE_CHARS = 64 * 1024
"""Handed to the system at once: as much as a pipe takes."""

GATHER_SECONDS = 0.01
"""Until the next look for lines. For each line by itself the thread would wake, and take the interpreter's lock from
the event loop: of a proxy that makes a thousand tunnels a second that was a fifth of its work."""

LOOK_SECONDS = 1.0
"""Between two looks whether a file was moved away, while nothing is to be written."""

RETRY_SECONDS = 1.0
"""Until the next try after a write that failed: a full disk may have room again."""

LAST_SECONDS = 2.0
"""How long a program that ends waits for its last lines to be taken."""

FILE_MODE = 0o640
"""A log says who calls whom: it is for the program's user, and for those whom its group lets read logs."""

_GONE = {errno.EPIPE, errno.EBADF, errno.EIO}
"""Nobody will read it any more: a pipe whose reader ended, a descriptor or a terminal that was closed."""


class LineQueue:
    """A text stream whose writes never block; a context manager, which starts its thread and ends it.

    Args:
        target: where the lines go: an open stream, or the path of a file that is appended to.
        lost_line: how a number of lost lines is told, as a line with its end.
        moved: the file is its owner's alone, and opened anew as soon as it was moved away; then this is called, in the
            thread.
        most: characters that wait at the most; None: :data:`MAX_WAITING_CHARS`.

    Attributes:
        waiting: characters that nobody has taken yet.
        lost: lines that found no room, in all.
        failed: why the last write failed; "" if it did not.
        misplaced: why the file was moved away and none is in its place; "" if it was not.

    Raises:
        OSError: the file can't be opened.
    """

    def __init__(
        self,
        target: IO[str] | str,
        lost_line: Callable[[int], str],
        moved: Callable[[], None] | None = None,
        most: int | None = None,
    ) -> None:
        self._target = target
        self._lost_line = lost_line
        self._moved = moved
        self._most = most
        self._lines: deque[str] = deque()
        self.waiting = 0
        self.lost = 0
        self.failed = ""
        self.misplaced = ""
        self._untold = 0
        self._changed = threading.Condition()
        self._reopen = False
        self._ending = False
        self._amid = False  # the last write ended within a line
        self._descriptor = _descriptor(target, private=moved is not None)
        # A daemon: one that hangs in a write must not keep the program from ending.
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)

    def __enter__(self) -> "LineQueue":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the last lines, though not for long."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(LAST_SECONDS)
        if self._thread.is_alive():  # it hangs in a write: whoever goes on with the file must not meet the next one
            with self._changed:
                self._lines.clear()
        if isinstance(self._target, str) and self._descriptor is not None and not self._thread.is_alive():
            os.close(self._descriptor)

    @property
    def is_written(self) -> bool:
        """Whether somebody takes the lines."""
        return self._thread.is_alive()

    @property
    def trouble(self) -> str:
        """Why lines don't get where they are to be; "" if they do."""
        return self.misplaced or self.failed

    def isatty(self) -> bool:
        """Whether people read the lines as they come."""
        return not isinstance(self._target, str) and self._target.isatty()

    def write(self, line: str) -> int:
        """Take a line, or count it as lost if too many wait."""
        with self._changed:
            if self.waiting + len(line) > (self._most or MAX_WAITING_CHARS):
                self.lost += 1
                self._untold += 1
            else:
                self._tell_lost()
                self._add(line)
                self._changed.notify()
        return len(line)

    def _tell_lost(self) -> None:
        lost, self._untold = self._untold, 0
        if lost:
            self._add(self._lost_line(lost))

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self.waiting += len(line)

    def flush(self) -> None:
        """Nothing is to be done: the thread writes whatever there is."""

    def reopen(self) -> None:
        """Open the file anew: somebody has moved the old one away (log rotation)."""
        with self._changed:
            self._reopen = True
            self._changed.notify()

    # In the thread

    def _write_all(self) -> None:
        while piece := self._next_piece():
            is_all = len(piece) < PIECE_CHARS
            while piece := self._written(piece):
                if self._pause():
                    return
            if is_all:
                time.sleep(GATHER_SECONDS)

    def _next_piece(self) -> bytes:
        """The lines that go out next, as soon as there are any; empty at the end."""
        with self._changed:
            while True:
                self._take_new_file()
                if self._lines or self._untold or self._ending:
                    break
                self._changed.wait(LOOK_SECONDS if self._moved is not None else None)
            if not self._lines:
                self._tell_lost()
            taken: list[str] = []
            size = 0
            while self._lines and size < PIECE_CHARS:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self.waiting -= size
        return "".join(taken).encode("utf-8", "backslashreplace")

    def _written(self, piece: bytes) -> bytes:
        """Write ``piece``; gives what is left of it, to be tried again after a pause."""
        if self._descriptor is None:
            self._print(piece.decode())
            return b""
        while piece:
            try:
                written = os.write(self._descriptor, piece)
                self._amid, self.failed = piece[written - 1 : written] != b"\n", ""
                piece = piece[written:]
            except BlockingIOError:  # whoever shares it has made it a non-blocking one
                if not select.select([], [self._descriptor], [], RETRY_SECONDS)[1]:
                    return piece
            except OSError as error:
                self.failed = os.strerror(error.errno or 0)
                return b"" if error.errno in _GONE and not isinstance(self._target, str) else piece
        return b""

    def _print(self, text: str) -> None:
        assert not isinstance(self._target, str)
        with suppress(OSError, ValueError):  # a stream without a descriptor is somebody's stand-in, which may be closed
            self._target.write(text)
            self._target.flush()

    def _pause(self) -> bool:
        """Wait before the next try; True if there is to be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._reopen, RETRY_SECONDS)
            self._take_new_file()
            return self._ending

    def _take_new_file(self) -> None:
        wanted, self._reopen = self._reopen, False
        if not isinstance(self._target, str) or self._descriptor is None:
            return
        if self._moved is not None:
            wanted = not self._amid and _is_elsewhere(self._target, self._descriptor)
        if wanted:
            try:
                opened = _opened(self._target, private=self._moved is not None)
            except OSError as error:  # the old file is better than none
                self.misplaced = f"it was moved away, and a new one can't be made: {error.strerror or error}"
                return
            os.close(self._descriptor)
            self._descriptor, self.misplaced = opened, ""
            if self._moved is not None:
                self._moved()


def _is_elsewhere(path: str, descriptor: int) -> bool:
    """Whether the path leads to another file than the one that is open, or to none."""
    try:
        found, ours = os.stat(path, follow_symlinks=False), os.fstat(descriptor)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino)


def _descriptor(target: IO[str] | str, *, private: bool) -> int | None:
    if isinstance(target, str):
        return _opened(target, private=private)
    try:
        return target.fileno()
    except (OSError, ValueError):
        return None


def _opened(path: str, *, private: bool) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return open_private(path, flags) if private else os.open(path, flags, FILE_MODE)

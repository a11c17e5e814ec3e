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

MAX_WAITING_CHARS = 4 * 1024 * 1024
"""Some 20,000 lines: what a busy server writes while a disk pauses for seconds. Beyond it lines are lost."""

PIECE_CHARS = 64 * 1024
"""Handed to the system at once: as much as a pipe takes."""

GATHER_SECONDS = 0.01
"""Until the next look for lines. For each line by itself the thread would wake, and take the interpreter's lock from
the event loop: of a proxy that makes a thousand tunnels a second that was a fifth of its work."""

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

    Attributes:
        waiting: characters that nobody has taken yet.
        lost: lines that found no room, in all.

    Raises:
        OSError: the file can't be opened.
    """

    def __init__(self, target: IO[str] | str, lost_line: Callable[[int], str]) -> None:
        self._target = target
        self._lost_line = lost_line
        self._lines: deque[str] = deque()
        self.waiting = 0
        self.lost = 0
        self._untold = 0
        self._changed = threading.Condition()
        self._reopen = False
        self._ending = False
        self._descriptor = _descriptor(target)
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
        if isinstance(self._target, str) and self._descriptor is not None and not self._thread.is_alive():
            os.close(self._descriptor)

    def isatty(self) -> bool:
        """Whether people read the lines as they come."""
        return not isinstance(self._target, str) and self._target.isatty()

    def write(self, line: str) -> int:
        """Take a line, or count it as lost if too many wait."""
        with self._changed:
            if self.waiting + len(line) > MAX_WAITING_CHARS:
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
                self._changed.wait()
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
                piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:  # whoever shares it has made it a non-blocking one
                if not select.select([], [self._descriptor], [], RETRY_SECONDS)[1]:
                    return piece
            except OSError as error:
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
        if wanted and isinstance(self._target, str) and self._descriptor is not None:
            with suppress(OSError):  # the old file is better than none
                opened = _opened(self._target)
                os.close(self._descriptor)
                self._descriptor = opened


def _descriptor(target: IO[str] | str) -> int | None:
    if isinstance(target, str):
        return _opened(target)
    try:
        return target.fileno()
    except (OSError, ValueError):
        return None


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)

"""What was learned of each proxy's tunnels, kept in the state folder: a small file of JSON.

It must never keep a server from starting or running: what can't be read is learned again, and what can't be written
is said once.
"""

import asyncio
import threading
from pathlib import Path

import orjson

from eps.core.event import Emit, Level, Notice
from eps.core.lifetime import Lifetimes
from eps.datastores.state_file import read_state, write_state

VERSION = 1


class Lessons:
    """The file, and what of it is in memory.

    Args:
        path: the file; None keeps nothing.

    Attributes:
        lifetimes: what is known.
    """

    def __init__(self, path: Path | None, emit: Emit) -> None:
        self.lifetimes = Lifetimes()
        self._path = path
        self._emit = emit
        self._written = self._text()
        self._writing = threading.Lock()
        self._complained = False

    async def load(self) -> None:
        """Remember what the file says, if there is one."""
        if self._path is not None:
            lessons = (await asyncio.to_thread(read_state, self._path, VERSION)).get("cut_after")
            self.lifetimes.remember(lessons if isinstance(lessons, dict) else {})
            self._written = self._text()

    async def save(self) -> None:
        """Write what is known now, in place of what the file said."""
        text = self._text()
        if self._path is None or text == self._written:
            return
        try:
            await asyncio.to_thread(self._write, self._path, text)
            self._written = text
        except OSError as error:
            if not self._complained:
                self._complained = True
                trouble = f"{self._path} can't be written: {error.strerror}"
                hint = "after a restart it is learned anew how long each proxy's tunnels live; check state_path"
                self._emit(Notice(level=Level.WARN, text=trouble, hint=hint))

    def _text(self) -> bytes:
        return orjson.dumps({"version": VERSION, "cut_after": self.lifetimes.to_json()})

    def _write(self, path: Path, text: bytes) -> None:
        """All of it or nothing: a program that ends meanwhile leaves the file as it was."""
        with self._writing:  # a thread whose task was cancelled may still be at it
            write_state(path, text)

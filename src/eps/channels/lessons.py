"""What was learned of each proxy's tunnels: from which ends, and where it is kept.

A proxy with the habit of cutting tunnels is there, and so is the peer: the next tunnel can be made at once. Where that
fails, or the next tunnel ended with the last, the peer has crashed or the proxy was restarted, and nothing is learned.

The file in the state folder is a small one of JSON. It must never keep a server from starting or running: what can't
be read is learned again, and what can't be written is said once.
"""

import asyncio
import threading
from pathlib import Path

import orjson

from eps.core.event import Emit, Level, Notice
from eps.core.lifetime import Cut, Lifetimes
from eps.core.names import Operator
from eps.core.recent import Recent
from eps.datastores.state_file import read_state, write_state

VERSION = 1

AT_ONCE = 2.0
"""Seconds after a cut within which the next tunnel must stand for the cut to count: a program that was restarted needs
about one to be back, but then some attempt has failed in between, if there was any."""

CRASH_SECONDS = 0.5
"""How long the next tunnel must outlive the one that was cut: what ends both is no habit of the proxy."""

MAX_OPEN_CUTS = 1_000
"""Peers whose last cut is not judged yet; as many as proxies of which something is remembered."""


class Lessons:
    """The file, and what of it is in memory.

    Args:
        path: the file; None keeps nothing.

    Attributes:
        lifetimes: what is known.
    """

    def __init__(self, path: Path | None, emit: Emit) -> None:
        self.lifetimes = Lifetimes()
        self._open_cuts: Recent[Operator, tuple[Operator, Cut]] = Recent(MAX_OPEN_CUTS)
        self._path = path
        self._emit = emit
        self._written = self._text()
        self._writing = threading.Lock()
        self._complained = False

    # Which ends are lessons

    def was_cut(self, peer: Operator, proxy: Operator, cut: Cut) -> None:
        """The only tunnel to ``peer`` was cut: what becomes of the next one, says whether that is a lesson."""
        self._open_cuts.put(peer, (proxy, cut))

    async def was_cut_beside(self, standing: asyncio.Future[str], proxy: Operator, cut: Cut) -> None:
        """A tunnel was cut when the next one stood: whether that one lives on, shows what it was.

        Args:
            standing: done when the next one ends.
        """
        await asyncio.wait({standing}, timeout=CRASH_SECONDS)
        if not standing.done() and self.lifetimes.cut(proxy, cut):
            await self.save()

    def reached(self, peer: Operator, proxy: Operator, now: float) -> bool:
        """A tunnel to ``peer`` was made; whether that showed something about an earlier end."""
        of, cut = self._open_cuts.get(peer) or ("", None)
        self._open_cuts.drop(peer)
        return cut is not None and of == proxy and now - cut.at <= AT_ONCE and self.lifetimes.cut(proxy, cut)

    def not_reached(self, peer: Operator) -> None:
        """No tunnel to ``peer`` could be made."""
        self._open_cuts.drop(peer)

    # The file

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

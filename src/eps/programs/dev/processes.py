"""Server programs as child processes: started, watched by the events in their logs, and ended, all of them.

They end even if we are killed: ``programs.dev.child`` sees to it, in each of them.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eps.errors import StartError
from eps.programs.running.runtime import EXIT_CANNOT_START

STOP_GRACE = 15.0
"""Seconds that a program may take to stop after SIGTERM; above the servers' own grace for calls in flight."""

MAX_LINE = 1 << 20
"""Bytes of one log line; the programs cut their lines far below that."""

LAST_LINES = 5
"""Of a log, shown when its program has ended: what it died of, and what led to it."""

SHOWN_LINE = 300
"""Characters of each."""

LogLine = dict[str, Any]
"""One event of a program's JSON log."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start.

    Attributes:
        name: for messages and the log file (``hd-1``).
        arguments: behind ``python -m``.
        environment: added to our own.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


class Child:
    """One running program; its JSON log goes to a file and, line by line, to ``on_event``."""

    def __init__(self, program: Program, log_path: Path, on_event: Callable[[str, LogLine], None]) -> None:
        self.program = program
        self.log_path = log_path
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)

    async def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches us first and we end it in order.

        Raises:
            StartError: the system starts no process.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "eps.programs.dev.child",
                *self.program.arguments,
                env={**os.environ, **self.program.environment},
                stdin=asyncio.subprocess.PIPE,  # never written to: its end tells the child that we are gone
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=MAX_LINE,
            )
        except OSError as error:
            text = f"{self.program.name} can't be started with {sys.executable}: {error.strerror or error}"
            raise StartError(text, hint="may this user run it, and start more processes (ulimit -u)?") from None
        self._reader = asyncio.create_task(self._read(), name=f"log of {self.program.name}")

    async def wait(self) -> int:
        """Its exit code, when it has ended and its log is read."""
        assert self._process is not None and self._reader is not None
        await asyncio.shield(self._reader)
        return await self._process.wait()

    async def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL after ``STOP_GRACE`` seconds."""
        if self._process is None or self._reader is None:
            return
        try:
            async with asyncio.timeout(STOP_GRACE):
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGTERM)
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        with self.log_path.open("wb") as file:
            async for line in self._process.stderr:
                file.write(line)
                file.flush()
                event = _event(line)
                self.last_lines.append(f"{event.get('level', '')} {event.get('message', '')}".strip()[:SHOWN_LINE])
                self._on_event(self.program.name, event)


class Children:
    """A set of programs that live and end together; use as an async context manager."""

    def __init__(self, log_folder: Path, on_event: Callable[[str, LogLine], None]) -> None:
        self._log_folder = log_folder
        self._on_event = on_event
        self._children: list[Child] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._ends: asyncio.Queue[StartError] = asyncio.Queue()

    async def __aenter__(self) -> "Children":
        self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        for watch in self._watches:
            watch.cancel()
        ends = await asyncio.gather(*(child.stop() for child in self._children), return_exceptions=True)
        for end in ends:  # only now, when all have ended
            if kind is None and isinstance(end, BaseException):
                raise end

    async def start(self, programs: Sequence[Program]) -> None:
        """Start ``programs`` side by side, beside those that run already."""
        new = [Child(program, self._log_folder / f"{program.name}.log", self._on_event) for program in programs]
        self._children += new
        starting = asyncio.gather(*(child.start() for child in new))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.gather(starting, return_exceptions=True)  # what is half started could not be ended
            raise
        for child in new:
            watch = asyncio.create_task(self._watch(child), name=f"end of {child.program.name}")
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)

    async def _watch(self, child: Child) -> None:
        try:
            self._ends.put_nowait(_ended(child, await child.wait()))
        except OSError as error:
            what = f"the log {child.log_path} can't be written: {error.strerror}"
            self._ends.put_nowait(StartError(what, hint="check whose the folder is, and whether the disk is full"))

    async def first_to_end(self) -> None:
        """Wait until a program, of those started by now or later, ends by itself; always raises.

        Raises:
            StartError: names it, how it ended, the last lines of its log, and what to do. Or its log can't be written.
        """
        raise await self._ends.get()


_WHAT_TO_DO = {
    EXIT_CANNOT_START: "mend what its log names",
    -signal.SIGKILL: "find out who killed it (was memory short? see dmesg)",
}


def _event(line: bytes) -> LogLine:
    """What a line of a program's log says, even if it is none of its JSON objects."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) else {"kind": "text", "message": line.decode(errors="replace").rstrip()}


def _ended(child: Child, code: int) -> StartError:
    head = f"{child.program.name} has ended by itself, {how_ended(code)}; the last lines of its log:"
    lines = [f"    {line}" for line in child.last_lines] or ["    (none: it is empty)"]
    what_to_do = _WHAT_TO_DO.get(code, "find out why")
    return StartError("\n".join([head, *lines]), hint=f"{what_to_do}, then start anew; the log is {child.log_path}")


def how_ended(code: int) -> str:
    """In words, from an exit code as ``subprocess`` has it: negative for a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal
        return f"by signal {-code}"

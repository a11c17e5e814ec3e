"""Server programs as child processes: started, watched by the events in their logs, and ended, all of them.

They end even if we are killed: ``programs.child`` sees to it, in each of them.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eps.errors import StartError

STOP_GRACE = 8.0
"""Seconds that a program may take to stop after SIGTERM; above the servers' own grace for calls in flight."""

MAX_LINE = 1 << 20
"""Bytes of one log line; the programs cut their lines far below that."""

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
        self.last_message = ""

    async def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches us first and we end it in order."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "eps.programs.child",
            *self.program.arguments,
            env={**os.environ, **self.program.environment},
            stdin=asyncio.subprocess.PIPE,  # never written to: its end tells the child that we are gone
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=MAX_LINE,
        )
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
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"kind": "text", "message": line.decode(errors="replace").rstrip()}
                self.last_message = event.get("message") or self.last_message
                self._on_event(self.program.name, event)


class Children:
    """A set of programs that live and end together; use as an async context manager."""

    def __init__(self, log_folder: Path, on_event: Callable[[str, LogLine], None]) -> None:
        self._log_folder = log_folder
        self._on_event = on_event
        self._children: list[Child] = []

    async def __aenter__(self) -> "Children":
        self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        ends = await asyncio.gather(*(child.stop() for child in self._children), return_exceptions=True)
        for end in ends:  # only now, when all have ended
            if isinstance(end, BaseException):
                raise end

    async def start(self, programs: Sequence[Program]) -> None:
        """Start ``programs`` side by side."""
        for program in programs:
            child = Child(program, self._log_folder / f"{program.name}.log", self._on_event)
            self._children.append(child)
        starting = asyncio.gather(*(child.start() for child in self._children))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.gather(starting, return_exceptions=True)  # what is half started could not be ended
            raise

    async def first_to_end(self) -> None:
        """Wait until a program ends by itself; always raises.

        Raises:
            StartError: names it, its last words and its log.
        """
        waits = {asyncio.create_task(child.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            ended = waits[next(iter(done))]
            raise StartError(
                f"{ended.program.name} has ended: {ended.last_message or 'it said nothing'}",
                hint=f"its log is {ended.log_path}",
            )
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

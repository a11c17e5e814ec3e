"""The audit log of an EPS server: one line for each call, chained and signed (``core.audit``), in a file of its own.

    broker → AuditLog (the event loop makes lines and heads) → LineQueue (a thread writes them) → the file

Theory of operation. Nothing waits for the file. A line gets its place in the chain when it has room in the queue, so
none is missing behind it. Where there is no room, the call counts as lost, and a line says how many were; or, where
settings say ``refuse``, calls are refused before, as long as there is none for the lines of all that are under way, or
while writing fails. The file may be moved away at any time: the chain goes on in the new one, whose first line is a
head.
"""

import asyncio
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from eps.broker.audited import AuditedCall
from eps.core.audit import BEGINS, FORMAT, HEAD_LINES, MAX_LINE_CHARS, Chain, Head, LineKeys, read_line
from eps.core.event import AuditLinesLost, CallFinished, Emit, Level, Notice
from eps.core.told import quoted
from eps.datastores.private import make_folder, open_private
from eps.errors import NotAudited, StartError
from eps.programs.running.log_queue import LineQueue

HEAD_SECONDS = 1.0
"""Between two heads, if there were lines."""

MAX_WAITING_CHARS = 8 * 1024 * 1024
"""Of lines that wait for the disk: those of some 10,000 calls; 32 MiB at the most, where callers choose characters of
four bytes. With ``refuse``, room for 2,000 calls under way."""

REFUSED_CHARS = 100
"""Of what callers choose, where the call was refused before anything of it was read: they need no right for that."""

TAIL_BYTES = 1024 * 1024
"""Of a log's end that a start reads: its last line is there, also before what a power cut has left."""

HINT = "its disk may be full; calls go on without lines (audit.when_failing: warn)"
LAST_HINT = "calls that were answered have no line in it: keep the server's log, which has them"
REFUSE_HINT = "its disk may be full; calls are refused until it can be written (audit.when_failing: refuse)"


class SignHead(Protocol):
    """Signs a head; gives the signature in hex."""

    def __call__(self, head: Head) -> str: ...


@dataclass(frozen=True, slots=True)
class AuditFile:
    """What an audit log is made of.

    Attributes:
        path: the file; made if it is missing.
        operator: whose log it is.
        keys: make the lines' keys.
        sign: signs heads.
        refuse: no call without a line.
    """

    path: str
    operator: str
    keys: LineKeys
    sign: SignHead
    refuse: bool


def _now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """Writes it; a part of a server.

    Args:
        now: the wall clock, in UTC.

    Attributes:
        lost: calls whose lines were not written.
    """

    def __init__(self, file: AuditFile, emit: Emit, now: Callable[[], datetime] = _now) -> None:
        self._file = file
        self._emit = emit
        self._now = now
        self._chain = Chain()
        self._queue: LineQueue | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._signed_at = 0
        self._under_way = 0
        self._untold = 0
        self._is_told = False
        self._path = file.path  # where it is now
        self._held = -1  # the file, which no other process may have
        self._told_lost = 0
        self.lost = 0

    @property
    def path(self) -> str:
        """Where it is."""
        return self._file.path

    @property
    def failing(self) -> bool:
        """Whether lines can't be written now."""
        return self._queue is None or bool(self._queue.trouble) or not self._has_room(0)

    # A server's part

    async def start(self) -> None:
        """Open the file and go on from its last line.

        Raises:
            StartError: it can't be opened, or is no audit log.
        """
        await self._go_on(self._file.path)
        self._ticking = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Sign what is there, and have it written."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
            self._ticking = None
        queue, self._queue = self._queue, None
        await self._end(queue, self._chain, self._signed_at)
        self._release()

    async def let_go(self) -> None:
        """Another process goes on with the file: what is still under way here has its lines in one beside it."""
        try:
            await self._go_on(f"{self._file.path}.{os.getpid()}")
        except StartError as error:  # the other process starts all the same: it has the file, and the calls that come
            hint = "calls that this process still answers have no line"
            self._emit(Notice(level=Level.ERROR, text=error.message, hint=hint, reason="audit-failed", side="ours"))
            before, self._queue = (self._queue, self._chain, self._signed_at), None
            self._path = ""
            await self._end(*before)
            self._release()

    async def take_back(self) -> None:
        """It did not come: go on with the file, unless it was never let go."""
        if self._path != self._file.path:
            await self._go_on(self._file.path)

    async def _go_on(self, path: str) -> None:
        """In that file, behind its last line; no call ends in between. What was written to before is closed."""
        loop = asyncio.get_running_loop()

        def moved() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._begin_file)

        held = -1
        try:
            held = _held(path)
            end = await asyncio.to_thread(_end_of, path)
            queue = LineQueue(path, _never, moved, MAX_WAITING_CHARS)
        except OSError as error:
            hint = "see audit.file; the program's user must be able to write there"
            _close(held)
            raise StartError(f"the audit log {path} can't be opened: {error.strerror or error}", hint=hint) from None
        except BaseException:
            _close(held)
            raise
        queue.__enter__()
        before, held_before = (self._queue, self._chain, self._signed_at), self._held
        self._held, self._path = held, path
        self._queue, self._chain, self._signed_at = queue, end.chain, end.chain.count
        if end.torn:
            queue.write("\n")
        if not end.chain.count:
            end.chain.log = secrets.token_hex(8)
            self._write("begin", {"format": FORMAT, "operator": self._file.operator})
        if end.torn:
            self._write("torn", end.torn)
        try:
            await self._end(*before)
        finally:
            _close(held_before)

    async def _end(self, queue: LineQueue | None, chain: Chain, signed_at: int) -> None:
        """Sign the end of what was written there, and close it; what the disk did not take is told."""
        if queue is None:
            return
        if self._untold:
            queue.write(chain.line(self._now(), "lost", self._untold))
            self._untold = 0
        if chain.count > signed_at:
            self._sign_into(queue, chain)
        await asyncio.to_thread(queue.__exit__)
        if queue.waiting or queue.trouble:
            text = (
                f"the last lines of the audit log {self._file.path} could not be written: {queue.trouble or 'too slow'}"
            )
            self._emit(Notice(level=Level.ERROR, text=text, hint=LAST_HINT, reason="audit-failed", side="ours"))

    def _release(self) -> None:
        held, self._held = self._held, -1
        _close(held)

    def _begin_file(self) -> None:
        """The file was moved away: a new one begins with a head, so that a start finds where the log is."""
        self._release()
        with suppress(OSError, StartError):  # told where it can't be written
            self._held = _held(self._path)
        self._sign()

    # Calls

    def begin(self) -> AuditedCall:
        """A call comes; see ``broker.audited.Audit``."""
        if self._file.refuse and (self._queue is None or self._queue.trouble or not self._has_room(self._under_way)):
            raise NotAudited(
                f"{self._file.operator} can't write its audit log at present, and takes no calls without",
                hint="its administrators read in its log what is wrong with the file; try again later",
            )
        self._under_way += 1
        return AuditedCall(self._file.keys)

    def ended(self, call: AuditedCall, event: CallFinished, call_id: str) -> None:
        """It has ended."""
        self._under_way -= 1
        if not self._has_room(0):
            self.lost += 1
            self._untold += 1
            return
        self._write_lost()
        most = None if "params" in call.macs else REFUSED_CHARS
        told = {
            "caller": event.sender,
            "callee": quoted(event.recipient)[:most],
            "method": quoted(event.method)[:most],
            "outcome": event.outcome,
            "reason": event.reason,
            "id": quoted(call_id)[:most],
            "trace": event.trace,
            "salt": call.salt,
        }
        self._write("call", told | call.macs)
        if self._chain.count - self._signed_at >= HEAD_LINES:
            self._sign()

    def _write_lost(self) -> None:
        if self._untold and self._has_room(0):
            lost, self._untold = self._untold, 0
            self._write("lost", lost)

    def _has_room(self, others: int) -> bool:
        """Whether there is some for a line, and for those of ``others`` that are under way."""
        wanted = (others + 2) * MAX_LINE_CHARS
        return self._queue is not None and self._queue.waiting + wanted <= MAX_WAITING_CHARS

    def _write(self, kind: str, what: object) -> None:
        if self._queue is not None:
            self._queue.write(self._chain.line(self._now(), kind, what))

    def _sign(self) -> None:
        if self._queue is not None:
            self._sign_into(self._queue, self._chain)
            self._signed_at = self._chain.count

    def _sign_into(self, queue: LineQueue, chain: Chain) -> None:
        """A head; it says nothing new where nothing came since the last one, but in a new file."""
        head = chain.head(self._now())
        queue.write(chain.line(self._now(), "head", {"at": head.at, "signature": self._file.sign(head)}))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(HEAD_SECONDS)
            self._write_lost()
            if self._chain.count > self._signed_at and self._has_room(0):
                self._sign()
            self._tell()

    def _tell(self) -> None:
        """Tell the log what has become of the file."""
        trouble = self._queue.trouble if self._queue is not None else ""
        if not trouble and not self._has_room(0):
            trouble = "the disk is too slow for so many calls"
        if bool(trouble) is not self._is_told:
            self._is_told = bool(trouble)
            path, hint = self._file.path, REFUSE_HINT if self._file.refuse else HINT
            if trouble:
                text = f"the audit log {path} can't be written: {trouble}"
                self._emit(Notice(level=Level.ERROR, text=text, hint=hint, reason="audit-failed", side="ours"))
            else:
                self._emit(Notice(text=f"the audit log {path} is written again"))
        if self.lost > self._told_lost:
            self._emit(AuditLinesLost(lines=self.lost - self._told_lost))
            self._told_lost = self.lost


def _never(lost: int) -> str:
    """Lines are counted before the queue would lose them."""
    raise AssertionError(lost)


@dataclass(frozen=True, slots=True)
class _End:
    """Where the log in a file is.

    Attributes:
        chain: behind its last line.
        torn: bytes behind that line which are none.
    """

    chain: Chain
    torn: int = 0


def _end_of(path: str) -> _End:
    """Where the log in a file is; at its beginning, if there is none.

    Raises:
        OSError: the file can't be read.
        StartError: it holds something else.
    """
    file = open_private(path, os.O_RDONLY)
    with os.fdopen(file, "rb") as opened:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise _no_audit_log(path)
        size = found.st_size
        opened.seek(max(size - TAIL_BYTES, 0))
        text = opened.read(TAIL_BYTES)
    whole, _, torn = text.rpartition(b"\n")
    if not whole and len(torn) == size:  # it is empty, or not even its first line was written
        if torn and not torn.startswith(BEGINS):
            raise _no_audit_log(path)
        return _End(Chain(), len(torn))
    line = read_line(whole.rpartition(b"\n")[2])
    if line is None:
        raise _no_audit_log(path)
    return _End(Chain(line.number, line.hash, line.log), len(torn))


def _close(file: int) -> None:
    if file >= 0:
        os.close(file)


def _held(path: str) -> int:
    """The file, held: whoever else writes to it would break the chain.

    Raises:
        OSError: it can't be opened, or made.
        StartError: another process has it.
    """
    make_folder(Path(path).absolute().parent)
    file = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        hint = "stop that one, or name another file as audit.file; each server has a log of its own"
        raise StartError(f"another process writes the audit log {path}", hint=hint) from None
    return file


def _no_audit_log(path: str) -> StartError:
    return StartError(
        f"{path} is no audit log, or its last line was altered",
        hint="move it away, and look at it (eps audit verify); a new log begins then",
    )

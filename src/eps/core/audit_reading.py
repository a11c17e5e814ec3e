"""Whether an audit log is whole: what was altered, taken out or moved, and how far signed heads reach. Pure.

Theory of operation. Lines are taken one by one, over all files in order. Each has to have the next number and the hash
of the one before it; where it hasn't, that is a finding, and the reading goes on from what it says itself, so that the
next fault is found, too. A line that can't be read is one that was torn, by a crash or a full disk, where it is the
last, or where the next one says so and follows from the one before it; else it was altered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eps.core.audit import HEAD_LINES, START, Head, Line, read_line
from eps.core.wording import counted

MAX_UNCOVERED = 2 * HEAD_LINES
"""Lines at the end that no head covers: a server signs behind half as many, and a torn end may lack a head."""

MAX_FINDINGS = 20
"""Told one by one; a log that was written over has as many as lines."""

Signed = Callable[[Head, str], bool]
"""Whether that is our signature over a head."""


@dataclass(slots=True)
class Reading:
    """What was found of a log.

    Args:
        signed: tells whether a signature over a head is of the key that it has to be.
        known: heads that were handed to somebody: the log has to have them.

    Attributes:
        lines, calls, lost: how many; ``lost`` are calls whose lines could not be written.
        torn: where lines are that were torn.
        back: lines whose time is before that of the line before them.
        findings: what is wrong, as sentences; ``more`` are those beyond :data:`MAX_FINDINGS`.
        first: the first line's number; 1 where the log is there from its beginning.
        head: the last one, and its signature.
    """

    signed: Signed
    known: Sequence[Head] = ()
    lines: int = 0
    calls: int = 0
    lost: int = 0
    back: int = 0
    torn: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    more: int = 0
    first: int = 0
    head: tuple[Head, str] | None = None
    _last: Line | None = None
    _unread: tuple[str, int] | None = None

    def take(self, text: bytes, place: str, *, is_whole: bool = True) -> Line | None:
        """The next line of the log, without its end.

        Args:
            place: file and number, for what is found.
            is_whole: it has an end.
        """
        line = read_line(text)
        if line is None or not is_whole:
            self._leave_unread()
            self._unread = (place, len(text))
            return None
        self._settle_unread(line)
        self._compare(line, place)
        self._keep(line, place)
        return line

    def end(self) -> None:
        """There are no more lines."""
        if self._unread is not None:
            self.torn.append(f"{self._unread[0]}: the last line is torn, and says nothing")
            self._unread = None
        last = self._last.number if self._last is not None else 0
        for head in self.known:
            if head.count > last:
                self._find(f"the log ends at line {last}, a head of {head.count} lines was handed out: its end is gone")
            elif head.count < self.first - 1:
                self._find(
                    f"a head of {head.count} lines was handed out, and these files begin behind it: name older ones"
                )
        if self.uncovered > MAX_UNCOVERED:
            self._find(
                f"no signed head covers the last {self.uncovered} lines, which may be forged: heads were taken out"
            )

    @property
    def uncovered(self) -> int:
        """Lines at the end that no signed head covers: nobody can tell whether those are all, and as they were."""
        if self._last is None:
            return 0
        return self._last.number - (self.head[0].count + 1 if self.head is not None else self.first - 1)

    @property
    def last(self) -> Line | None:
        """The last line."""
        return self._last

    def _settle_unread(self, line: Line) -> None:
        """What can't be read was torn if the next line says that, and lost nothing that lines hang on."""
        if self._unread is not None and line.kind in ("begin", "torn") and self._follows(line):
            self.torn.append(f"{self._unread[0]}: the line is torn, and the next one says so")
            self._unread = None
        self._leave_unread()

    def _leave_unread(self) -> None:
        if self._unread is not None:
            self._find(f"{self._unread[0]}: can't be read, so it was altered: it is no line of an audit log")
            self._unread = None

    def _follows(self, line: Line) -> bool:
        last = self._last
        return last is None or (line.number == last.number + 1 and line.previous == last.hash)

    def _compare(self, line: Line, place: str) -> None:
        last = self._last
        if last is not None and line.at < last.at:
            self.back += 1
        if last is None:
            self.first = line.number
            if line.number == 1 and (line.previous != START or line.kind != "begin"):
                self._find(f"{place}: line 1 is not how a log begins: it was altered")
        elif line.log != last.log or (line.kind == "begin" and line.number == 1):
            self._find(f"{place}: another log begins here, which doesn't follow from line {last.number}")
        elif line.number > last.number + 1:
            self._find(f"{place}: {_missing(last.number + 1, line.number - 1)} before line {line.number}")
        elif line.number <= last.number:
            self._find(f"{place}: line {line.number} stands behind line {last.number}: it was moved, or is there twice")
        elif line.previous != last.hash:
            which = f"line {last.number} or {line.number}"
            self._find(f"{place}: line {line.number} does not follow from what is before it: {which} was altered")

    def _keep(self, line: Line, place: str) -> None:
        self._last = line
        self.lines += 1
        self._compare_known(line, place)
        if line.kind == "call":
            self.calls += 1
        elif line.kind == "lost":
            self.lost += line.what if type(line.what) is int else 0
        elif line.kind == "head":
            self._head(line, place)

    def _compare_known(self, line: Line, place: str) -> None:
        """With the heads that were handed out of the lines up to here; and, of a part of a log, up to its beginning."""
        for head in self.known:
            is_here = head.count == line.number and (head.log, head.hash) != (line.log, line.hash.hex())
            is_before = self.lines == 1 and head.count == line.number - 1 and head.hash != line.previous.hex()
            if is_here or is_before:
                self._find(f"{place}: up to line {head.count} the log is another than when its head was handed out")

    def _head(self, line: Line, place: str) -> None:
        told = head_in(line)
        if told is None or not self.signed(*told):
            self._find(f"{place}: the head at line {line.number} is not signed with the log's key")
            return
        self.head = told

    def _find(self, text: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(text)
        else:
            self.more += 1


def head_in(line: Line) -> tuple[Head, str] | None:
    """The head that a line is, and its signature; None if it is none."""
    what = line.what
    if line.kind != "head" or not isinstance(what, dict):
        return None
    at, signature = what.get("at"), what.get("signature")
    if not isinstance(at, str) or not isinstance(signature, str):
        return None
    return Head(line.log, line.number - 1, line.previous.hex(), at), signature


def _missing(first: int, last: int) -> str:
    lines = counted(last - first + 1, "line is", "lines are")
    return f"{lines} missing ({first})" if first == last else f"{lines} missing ({first} to {last})"

"""Events as log lines on standard error: for people (``text``), for old log readers (``iris``), for scripts (``json``).

Three renderers of one line each stand here rather than a logging library: events are structured already, and a
program that is started by hand should be up in a blink.
"""

import codecs
import json
import logging
import os
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

import orjson

from eps.core.event import CallFinished, Event, Level, Notice
from eps.core.warn_rate import WarnRate

SEVERITY = {level: rank for rank, level in enumerate(Level)}
"""0 is the most severe."""

COLOURS = {Level.PANIC: 31, Level.FATAL: 31, Level.ERROR: 31, Level.WARN: 33, Level.DEBUG: 2, Level.TRACE: 2}
"""ANSI codes, on terminals only."""


HANG = len("12:00:01.234 ")
"""Where further lines of an event begin at a terminal: below its level, so that a fingerprint fits into 80 columns."""

LEAST_COLUMNS = 40
"""A terminal that is narrower breaks lines as it likes."""

DIGITS = 6
"""Behind the point in JSON: microseconds. What a float has beyond is no measurement."""


def terminal_columns() -> int:
    """Of the terminal that standard error leads to; it may be another size by the next line."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):  # it has been closed, say
        return 80


class Format(StrEnum):
    """The words of ``--format``."""

    TEXT = "text"
    IRIS = "iris"
    JSON = "json"


class Stream(Protocol):
    """What of a text stream is needed here."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...

    def isatty(self) -> bool: ...


class LogWriter:
    """Writes the events of one program; an ``Emit``.

    Args:
        service: ``EPS``, ``PRO`` or ``SD_`` (PROTOCOL.md section 1).
        level: the least severe level that is written.
        style: how.
        columns: of the terminal, if the log is read at one.
    """

    def __init__(
        self,
        service: str,
        level: Level,
        style: Format,
        *,
        stream: Stream | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        columns: Callable[[], int] = terminal_columns,
    ) -> None:
        self._service = service
        self._least = SEVERITY[level]
        self._stream: Stream = stream if stream is not None else sys.stderr
        self._now = now
        self._columns = columns
        self._is_read = style is Format.TEXT and self._stream.isatty()
        self._render = {Format.TEXT: self._text, Format.IRIS: self._iris, Format.JSON: self._json}[style]

    def __call__(self, event: Event) -> None:
        """Write ``event`` if its level is asked for. A closed stream (a pipe whose reader left) is no reason to end."""
        if SEVERITY[event.level] > self._least:
            return
        try:
            self._stream.write(self.line(event))
            self._stream.flush()
        except (OSError, ValueError):
            return

    def set_level(self, level: Level) -> None:
        """The least severe level that is written from now on."""
        self._least = SEVERITY[level]

    def line(self, event: Event) -> str:
        """``event`` as it is written, with the line's end, whatever its level."""
        return self._render(event) + "\n"

    def _text(self, event: Event) -> str:
        time = self._now().astimezone().strftime("%H:%M:%S.%f")[:-3]
        line = f"{time} {event.level.value:<5} {one_line(event.line())}"
        if not self._is_read:
            return line  # one for each event: who searches a file finds it whole
        code, folded = COLOURS.get(event.level), _folded(line, self._columns())
        return f"\x1b[{code}m{folded}\x1b[0m" if code else folded

    def _iris(self, event: Event) -> str:
        time = self._now().isoformat(timespec="seconds").replace("+00:00", "Z")
        head = f"{time} {event.level.value.upper()} {os.getpid()} {self._service} [nan] {event.kind}"
        return f"{head} : {one_line(event.line())}"

    def _json(self, event: Event) -> str:
        values = {name: _rounded(getattr(event, name)) for name in _field_names(type(event))}
        line = {
            "time": self._now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "pid": os.getpid(),
            "service": self._service,
            "kind": event.kind,
            **values,
            "message": event.line(),
        }
        if not event.left_out:
            del line["left_out"]
        if isinstance(event, CallFinished):
            line["peer"] = event.peer
        try:
            written = orjson.dumps(line)
        except orjson.JSONEncodeError:  # half a surrogate pair, say
            return json.dumps(line)
        # In ASCII: no character that some reader takes for the end of a line.
        return written.decode().encode("ascii", _ESCAPE).decode()


def _folded(line: str, columns: int) -> str:
    """``line`` broken at spaces; words that are longer, which are copied, stay whole."""
    if len(line) <= columns or columns < LEAST_COLUMNS:
        return line
    indent = " " * HANG
    lines = textwrap.wrap(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _rounded(value: object) -> object:
    return round(value, DIGITS) if isinstance(value, float) else value


_ESCAPE = "eps.json"
"""The name of :func:`_escaped` among the codecs' ways to treat what can't be encoded."""


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """As JSON writes characters in ASCII (RFC 8259, section 7)."""
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(_ESCAPE, _escaped)

_names: dict[type[Event], tuple[str, ...]] = {}


def _field_names(kind: type[Event]) -> tuple[str, ...]:
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = tuple(field.name for field in fields(kind))
    return names


def one_line(text: str) -> str:
    """``text`` without line breaks and control characters: what a peer sends must not forge log lines."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


class LibraryLogs(logging.Handler):
    """Passes on what the libraries log, as events; warnings and worse only.

    What they warn of is often another's doing, a collector's that refuses everything, say: of each logger's warnings
    and errors one a second keeps its level.

    Args:
        clock: seconds; see :class:`~eps.core.warn_rate.WarnRate`.
    """

    def __init__(self, emit: Callable[[Event], None], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._emit = emit
        self._clock = clock
        self._rate = WarnRate()

    def emit(self, record: logging.LogRecord) -> None:
        level = Level.ERROR if record.levelno >= logging.ERROR else Level.WARN
        text = f"{record.name}: {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({record.exc_info[1]!r})"
        # An error is not left out for a warning before it.
        judged, left_out = self._rate.judge(self._clock(), f"{level} {record.name}")
        if judged is Level.DEBUG:
            level = judged
        self._emit(Notice(level=level, text=text, left_out=left_out))


def adopt_library_logs(emit: Callable[[Event], None]) -> None:
    """From now on the libraries' warnings go to ``emit`` and nowhere else."""
    root = logging.getLogger()
    root.handlers = [LibraryLogs(emit)]
    root.setLevel(logging.WARNING)

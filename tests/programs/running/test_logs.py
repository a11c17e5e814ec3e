"""Events as log lines, in each style."""

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from eps.core.event import CallFinished, Event, Level, Notice, Step
from eps.programs.running.logs import (
    SEVERITY,
    Format,
    LibraryLogs,
    LogWriter,
    adopt_library_logs,
    one_line,
    terminal_columns,
)
from support.testing import Terminal

NOON = datetime(2026, 11, 22, 12, 0, 1, 234567, tzinfo=UTC)


def line(event: Event, style: Format, *, level: Level = Level.TRACE, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    LogWriter("EPS", level, style, stream=stream, now=lambda: NOON)(event)
    return stream.getvalue()


def test_text_for_people() -> None:
    local = NOON.astimezone().strftime("%H:%M:%S")
    assert line(Notice(text="hello", hint="wave"), Format.TEXT) == f"{local}.234 info  hello (wave)\n"
    assert line(Notice(text="hello", level=Level.PANIC), Format.TEXT) == f"{local}.234 panic hello\n"


LONG = Notice(text=f"a peer's certificate is not pinned: {'ab' * 32} is what it shows, and nobody here knows it")


def at_terminal(event: Event, columns: int) -> list[str]:
    shown = Terminal()
    LogWriter("EPS", Level.TRACE, Format.TEXT, stream=shown, now=lambda: NOON, columns=lambda: columns)(event)
    return shown.getvalue().splitlines()


def test_at_a_terminal_long_lines_are_broken_between_words() -> None:
    whole = line(LONG, Format.TEXT)
    assert whole.count("\n") == 1, "in a file each event has one line"
    for columns in (80, 100):
        first, *others = lines = at_terminal(LONG, columns)
        assert others and all(len(one) <= columns for one in lines)
        assert all(one.startswith(" " * 13) and one[13] != " " for one in others)
        assert " ".join([first, *(one.strip() for one in others)]) == whole.rstrip()
        assert any("ab" * 32 in one for one in lines), "what is copied stays whole"
    assert len(at_terminal(LONG, 300)) == len(at_terminal(LONG, 20)) == 1


def test_how_wide_a_terminal_is() -> None:
    assert terminal_columns() == 80 or os.isatty(sys.stderr.fileno())


def test_calls_in_json_say_who_the_other_is_and_numbers_are_rounded() -> None:
    call = {"sender": "hd-1", "recipient": "hd-2", "method": "m", "outcome": "ok", "call_id": "7", "trace": "1" * 32}
    for direction, peer in (("local", "hd-2"), ("incoming", "hd-1")):
        event = CallFinished(direction=direction, seconds=0.00123456789, there=1 / 3, **call)
        told = json.loads(line(event, Format.JSON))
        assert (told["peer"], told["seconds"], told["there"]) == (peer, 0.001235, 0.333333)
        assert (told["call_id"], told["trace"], told["stage"], told["reason"]) == ("7", "1" * 32, "", "")


@pytest.mark.parametrize(("level", "code"), [(Level.ERROR, 31), (Level.WARN, 33), (Level.DEBUG, 2), (Level.INFO, None)])
def test_colours_on_terminals_only(level: Level, code: int | None) -> None:
    shown = line(Notice(text="x", level=level), Format.TEXT, stream=Terminal())
    assert (re.fullmatch(r"\x1b\[(\d+)m.*\x1b\[0m\n", shown) is not None) == (code is not None)
    if code is not None:
        assert shown.startswith(f"\x1b[{code}m")
    assert "\x1b" not in line(Notice(text="x", level=level), Format.TEXT)
    assert "\x1b" not in line(Notice(text="x", level=level), Format.IRIS, stream=Terminal())


def test_iris_as_older_servers_wrote() -> None:
    assert (
        line(Notice(text="hello"), Format.IRIS) == f"2026-11-22T12:00:01Z INFO {os.getpid()} EPS [nan] notice : hello\n"
    )
    stream = io.StringIO()
    zone = timezone(timedelta(hours=1))
    LogWriter("SD_", Level.INFO, Format.IRIS, stream=stream, now=lambda: NOON.astimezone(zone))(Notice(text="x"))
    assert stream.getvalue().startswith("2026-11-22T13:00:01+01:00 INFO ")


def test_json_for_scripts() -> None:
    step = Step(step=2, operator="hd-1", peer="hd-2", text="asks", seconds=0.5)
    assert json.loads(line(step, Format.JSON)) == {
        "time": "2026-11-22T12:00:01.234567Z",
        "pid": os.getpid(),
        "service": "EPS",
        "kind": "step",
        "level": "info",
        "step": 2,
        "operator": "hd-1",
        "peer": "hd-2",
        "joined_to": "",
        "text": "asks",
        "seconds": 0.5,
        "trace": "",
        "message": "step 2 of 6: asks in 500.0 ms",
    }


@pytest.mark.parametrize("style", list(Format))
def test_a_line_says_how_many_like_it_were_left_out(style: Format) -> None:
    event = Notice(text="x", left_out=1_025)
    assert "x; 1,025 more lines of this kind are in the debug log only" in line(event, style)
    if style is Format.JSON:
        assert json.loads(line(event, style))["left_out"] == 1_025


@pytest.mark.parametrize("style", list(Format))
def test_what_peers_send_forges_no_lines(style: Format) -> None:
    evil = CallFinished(
        direction="incoming",
        sender="a\n12:00:00.000 fatal all is lost",
        recipient="b\r\x1b[2J\x85\u2028",
        method="\x00m",
        outcome="ok",
        seconds=0,
    )
    assert len(line(evil, style).splitlines()) == 1
    assert "\x1b" not in line(evil, style)


def test_one_line() -> None:
    assert one_line("a\tb\nc\u202ed Grüße 界") == "a b c d Grüße 界"


@pytest.mark.parametrize("least", list(Level))
def test_levels(least: Level) -> None:
    written = [level for level in Level if line(Notice(text="x", level=level), Format.TEXT, level=least)]
    assert written == [level for level in Level if SEVERITY[level] <= SEVERITY[least]]


def test_a_stream_that_is_gone_ends_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    LogWriter("EPS", Level.INFO, Format.TEXT, stream=Gone())(Notice(text="x"))
    closed = io.StringIO()
    writer = LogWriter("EPS", Level.INFO, Format.TEXT, stream=closed)
    closed.close()
    writer(Notice(text="x"))


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.usefixtures("root_logger")
def test_libraries_log_through_us() -> None:
    events: list[Event] = []
    adopt_library_logs(events.append)
    logger = logging.getLogger("library")
    logger.info("nothing of interest")
    logger.warning("look at %s", "this")
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("it failed")
    assert events == [
        Notice(level=Level.WARN, text="library: look at this"),
        Notice(level=Level.ERROR, text="library: it failed (ValueError('inside'))"),
    ]


def test_a_library_that_repeats_itself_does_not_fill_the_log() -> None:
    """One a second of each logger and level; what is left out is counted."""
    events: list[Event] = []
    seconds = [0.0]
    handler = LibraryLogs(events.append, lambda: seconds[0])

    def log(name: str, level: int, at: float) -> None:
        seconds[0] = at
        handler.handle(logging.LogRecord(name, level, "", 0, "refused", None, None))

    for at in (0.0, 0.1, 0.9):
        log("exporter", logging.ERROR, at)
    log("exporter", logging.WARNING, 0.9)
    log("other", logging.ERROR, 0.9)
    log("exporter", logging.ERROR, 1.0)
    debug = Notice(level=Level.DEBUG, text="exporter: refused")
    assert events == [
        Notice(level=Level.ERROR, text="exporter: refused"),
        debug,
        debug,
        Notice(level=Level.WARN, text="exporter: refused"),
        Notice(level=Level.ERROR, text="other: refused"),
        Notice(level=Level.ERROR, text="exporter: refused", left_out=2),
    ]

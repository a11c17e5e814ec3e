"""``eps trace``: what servers saw of a call, as a timeline. Each tells what it saw itself; operators give each other
their exports, and these are merged here."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from eps.core.names import Object
from eps.core.trace import is_trace, seconds_in
from eps.core.wording import counted, plain
from eps.errors import BadParams, SettingsError
from eps.programs.diagnosis.paper import Paper
from eps.programs.running.control import ask, heard
from eps.programs.running.remembered import MAX_TOLD, TRACE

TELL_SECONDS = 5.0
"""For each packet of a running server."""

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Of an export: a hundred events have some tens of kilobytes."""

ROOM = 36
"""Columns that a text needs beside time and server; where there are fewer, it stands below them."""

MAX_SHOWN = 400
"""Characters of each text that another operator's file holds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that a server saw.

    Attributes:
        at: when it was over, in seconds since 1970, by that server's clock.
        seconds: it took; None: not known.
        opened_by: the trace for which the connection was opened that a call went over.
        there: seconds that the other server says a call took; None: not told.
        peer: who was called, where it was a call of our own to somebody else.
    """

    at: float
    server: str
    text: str
    seconds: float | None = None
    trace: str = ""
    opened_by: str = ""
    there: float | None = None
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Export:
    """What one server tells of a trace.

    Attributes:
        more: events beyond those that it tells.
    """

    server: str
    trace: str
    events: tuple[Seen, ...]
    more: int = 0

    def to_json(self) -> Object:
        """For ``--json``, and to be given to others."""
        events = [{key: getattr(one, key) for key in _KEYS} for one in self.events]
        return {"server": self.server, "trace": self.trace, "events": events, "more": self.more}


_KEYS = ("at", "text", "seconds", "trace", "opened_by", "there", "peer")


async def asked(folder: Path, socket: str, trace: str) -> Export | None:
    """What the server with that state folder remembers; None if none runs.

    Args:
        trace: "": its last calls.

    Raises:
        StartError: it does not tell.
    """
    session = ask(folder, socket, {"command": TRACE, "id": trace})
    if session is None:
        return None
    events: list[object] = []

    def take(message: Object) -> int:
        events.extend(message.get("events", []))
        return len(events)

    last = await heard(
        session, take, "the running server does not tell what it saw", most=MAX_TOLD, seconds=TELL_SECONDS
    )
    return export_of({**last, "trace": trace, "events": events})


def read_export(path: Path) -> Export:
    """A file that ``eps trace ID --json`` printed, perhaps another operator's.

    Raises:
        SettingsError: it is none.
    """
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_FILE_BYTES))
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}", hint="check the path") from None
    except (ValueError, RecursionError):  # neither JSON nor anything that is nested so deep is one
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("events"), list):
        raise SettingsError(f"{path}: is no export of a trace", hint="make it with eps trace ID --json > FILE")
    return export_of(value)


def export_of(value: Object) -> Export:
    """What may be of another operator: texts are cut, and of characters that do no harm; what is odd is left out."""
    server = _text(value.get("server"), 100)
    seen = [_seen(one, server) for one in value["events"][:MAX_TOLD] if isinstance(one, dict)]
    more = value.get("more")
    return Export(
        server,
        _trace(value.get("trace")),
        tuple(one for one in seen if one is not None),
        more if isinstance(more, int) and 0 <= more < 10**9 else 0,
    )


def _seen(value: Object, server: str) -> Seen | None:
    at = value.get("at")
    if not isinstance(at, int | float) or not 0 <= at < 2**33:
        return None
    trace, opened_by = _trace(value.get("trace")), _trace(value.get("opened_by"))
    seconds, there = seconds_in(value.get("seconds")), seconds_in(value.get("there"))
    text, peer = _text(value.get("text"), MAX_SHOWN), _text(value.get("peer"), 100)
    return Seen(float(at), server, text, seconds, trace, opened_by, there, peer)


def _trace(value: object) -> str:
    return value if isinstance(value, str) and is_trace(value) else ""


def _text(value: object, most: int) -> str:
    return plain(value[:most]) if isinstance(value, str) else ""


def check_trace(text: str) -> str:
    """The id of a trace; raises BadParams if it is none."""
    found = text.lower()
    if not is_trace(found):
        hint = (
            "take it from a traceparent, or from the key «trace» of a log line; without one, the last calls are listed"
        )
        raise BadParams(f"{text[:80]!r} is no trace: 32 hex digits", hint=hint)
    return found


def is_file(text: str) -> bool:
    """Whether an argument names a file rather than a trace."""
    return not is_trace(text.lower()) and (text.endswith(".json") or os.path.exists(text))


# Showing


def timeline(exports: Sequence[Export], paper: Paper) -> str:
    """Everything in the order of time, each by its server's clock, from the first event's begin."""
    events = sorted((one for export in exports for one in export.events), key=lambda one: one.at)
    trace = next((export.trace for export in exports if export.trace), "")
    servers = list(dict.fromkeys(export.server for export in exports))
    if not events:
        return f"trace {trace}: nothing is remembered of it by {' and '.join(servers)} (any more)"
    begin = min(one.at - (one.seconds or 0.0) for one in events)
    at = datetime.fromtimestamp(begin, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")
    lines = [paper.styled(f"trace {trace}", "bold"), paper.folded(f"from {at}, as {' and '.join(servers)} saw it", 0)]
    lines += list(_lines(events, begin, trace, paper))
    if len(servers) > 1:
        lines.append(paper.folded("each time is by that server's own clock: theirs may differ", 0, styles=("dim",)))
    lines += [f"{export.server}: {counted(export.more, 'more event')}" for export in exports if export.more]
    return "\n".join(lines)


def _lines(events: Sequence[Seen], begin: float, trace: str, paper: Paper) -> Iterator[str]:
    widest = max(len(one.server) for one in events)
    for one in events:
        offset = f"{(one.at - begin) * 1000:9.1f} ms  "
        columns = len(offset) + widest + 2
        server, gap = paper.styled(one.server, "cyan"), " " * (widest - len(one.server) + 2)
        head = paper.styled(offset, "dim") + server + gap
        if paper.width - columns < ROOM:
            yield head.rstrip()
            head, columns = " " * 6, 6
        yield paper.folded(_said(one, trace), columns, head)


def _said(one: Seen, trace: str) -> str:
    took = f" ({one.seconds * 1000:.1f} ms)" if one.seconds is not None else ""
    more = ""
    if one.peer and one.peer != one.server:
        there = "not told" if one.there is None else f"{one.there * 1000:.1f} ms"
        more += f"; of these at {one.peer}: {there}"
    if one.opened_by and one.opened_by != trace:
        more += f"; over the connection that trace {one.opened_by} opened"
    elif one.opened_by and one.trace != trace:
        more += f"; trace {one.trace or 'not told'}, over the connection that was opened for this one"
    return f"{one.text}{took}{more}"


def listed(export: Export, paper: Paper) -> str:
    """The last calls, each with its trace."""
    if not export.events:
        return f"{export.server} remembers no call yet"
    lines = []
    for one in export.events:
        at = datetime.fromtimestamp(one.at, UTC).strftime("%H:%M:%S")
        lines.append(f"{paper.styled(one.trace, 'bold')}  {at}")
        lines.append(paper.folded(_said(one, one.trace), 4, styles=("dim",)))
    return "\n".join(lines)

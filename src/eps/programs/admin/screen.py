"""Results as people read them at a terminal: in few lines, and where they are more than a screen, shortened."""

import json
import shutil
import sys
from dataclasses import dataclass

from eps.core import record_text

SPARE_LINES = 4
"""Of a screen, for the command line, what is said of the shortening, and the next prompt."""

MAX_COLUMNS = 100
"""Wider lines are hard to read."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A result for a screen.

    Attributes:
        lines: how many all of it would take; 0 if it is all there.
    """

    text: str
    lines: int = 0


def show(value: object, *, whole: bool) -> None:
    """Print a result as JSON: all of it to files, pipes, and whoever wants it whole; a screen of it to a terminal."""
    if whole or not sys.stdout.isatty():
        print(record_text.dumps(value, indent=True).decode())
        return
    columns, lines = shutil.get_terminal_size()
    shown = fitted(value, min(columns - 1, MAX_COLUMNS), max(lines - SPARE_LINES, 1))
    print(shown.text, flush=True)
    if shown.lines:
        print(f"shortened: --all shows all {shown.lines} lines", file=sys.stderr)


def fitted(value: object, columns: int, lines: int) -> Shown:
    """``value`` as JSON in so many lines: whole if it can be, else without what fills screens, cut at the worst."""
    whole = record_text.dumps(value, indent=True).decode()
    for text in (whole, compact(value, width=columns)):
        if text.count("\n") < lines:
            return Shown(text)
    rows = compact(shortened(value), width=columns).splitlines()
    return Shown("\n".join(rows if len(rows) <= lines else [*rows[: lines - 1], "…"]), whole.count("\n") + 1)


def shortened(value: object, key: str = "") -> object:
    """``value`` without what fills screens, and in the order in which people read: names first."""
    if isinstance(value, list) and value and key in ("records", "certificates", "settings"):
        return f"… {len(value)} {'signed records' if key == 'records' else key}"
    if isinstance(value, dict) and key == "entry":
        return "… its directory entry"
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: READING_ORDER.get(item[0], 9))
        short = {name: shortened(item, name) for name, item in ordered}
        return {name: item for name, item in short.items() if item not in (None, "", [], {})}
    if isinstance(value, list):
        if all(isinstance(item, dict) and set(item) >= {"name", "permissions"} for item in value):
            return [item["name"] for item in value]
        return [shortened(item) for item in value]
    return value


READING_ORDER = {"serverInfo": 0, "name": 1, "groups": 2, "type": 2, "services": 3, "channels": 4}
"""Which keys of an answer come first."""


def compact(value: object, indent: int = 0, width: int = 79) -> str:
    """``value`` as JSON on few lines: what fits into a line stands in one."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + indent <= width or not isinstance(value, dict | list) or not value:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {compact(item, indent + 2, width)}" for key, item in value.items()]
        return "{\n" + ",\n".join(pad + item for item in items) + "\n" + " " * indent + "}"
    items = [compact(item, indent + 2, width) for item in value]
    return "[\n" + ",\n".join(pad + item for item in items) + "\n" + " " * indent + "]"

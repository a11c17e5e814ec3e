"""Results as people read them at a terminal: in few lines, and where they are more than a screen, shortened.

Files and pipes get all. So does who asked for it, by --all, -n or --json. What another program or person is to take as
it is, is never shortened: a slip, a signature, a script; nor is what a doctor finds.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
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


ALL = "--all"
"""How to see all, where a command has this option."""

PIPE = "| less"
"""How to see all of every command."""

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def show_lines(
    lines: Iterable[str], *, whole: bool = False, rest: str = ALL, last: bool = False, beside: int = 0
) -> None:
    """Print a result: all of it to files, pipes, and whoever wants it whole; a screen of it to a terminal.

    Args:
        lines: some may hold several.
        rest: what shows all, for who sees that it is not.
        last: the end is what people look for, not the beginning.
        beside: lines of the screen that hold something else.
    """
    rows = "\n".join(lines).split("\n")
    shown = rows if whole or not at_screen() else on_screen(rows, *_screen(beside), last=last)
    if rows != [""]:
        print("\n".join(shown), flush=True)
    _tell_shortened(len(rows) if len(shown) < len(rows) else 0, rest)


def on_screen(rows: Sequence[str], columns: int, lines: int, *, last: bool = False) -> list[str]:
    """As many of ``rows``, from the first one on or up to the last one, as take so many lines of a terminal."""
    fitting: list[str] = []
    for row in reversed(rows) if last else rows:
        lines -= max(-(-len(_STYLE.sub("", row)) // columns), 1)
        if lines < 0 and fitting:
            break
        fitting.append(row)
    return fitting[::-1] if last else fitting


def at_screen() -> bool:
    """Whether somebody reads at a terminal."""
    return sys.stdout.isatty()


def _screen(beside: int = 0) -> tuple[int, int]:
    """Columns and lines for a result."""
    columns, lines = shutil.get_terminal_size()
    return columns, max(lines - SPARE_LINES - beside, 1)


def _tell_shortened(lines: int, rest: str) -> None:
    if lines:
        print(f"shortened: {rest} shows all {lines} lines", file=sys.stderr)


def show(value: object, *, whole: bool, rest: str = ALL) -> None:
    """Print a result as JSON: all of it to files, pipes, and whoever wants it whole; a screen of it to a terminal."""
    if whole or not at_screen():
        print(record_text.dumps(value, indent=True).decode())
        return
    columns, lines = _screen()
    shown = fitted(value, min(columns - 1, MAX_COLUMNS), lines)
    print(shown.text, flush=True)
    _tell_shortened(shown.lines, rest)


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


def compact(value: object, indent: int = 0, width: int = 79, key: str = "") -> str:
    """``value`` as JSON on few lines: what fits into a line, with its ``key`` and a comma, stands in one."""
    flat = json.dumps(value, ensure_ascii=False)
    if indent + len(key) + len(flat) + len(",") <= width or not isinstance(value, dict | list) or not value:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        named = ((f"{json.dumps(name)}: ", item) for name, item in value.items())
        items = [f"{name}{compact(item, indent + 2, width, name)}" for name, item in named]
        return "{\n" + ",\n".join(pad + item for item in items) + "\n" + " " * indent + "}"
    items = [compact(item, indent + 2, width) for item in value]
    return "[\n" + ",\n".join(pad + item for item in items) + "\n" + " " * indent + "]"

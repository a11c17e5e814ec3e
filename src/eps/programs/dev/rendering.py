"""What ``eps demo`` shows, as text: which steps are due, a line for each, and answers as people read them."""

import json
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from eps.programs.dev.processes import LogLine

HOLD = 0.04
"""Seconds that a step is held back before it is shown, so that steps of different programs come in order."""


def seconds_of(line: LogLine) -> float:
    """The time of a log line, in seconds since the epoch."""
    return datetime.fromisoformat(str(line["time"])).timestamp()


def ripe_steps(steps: Sequence[LogLine], shown: int, now: float) -> list[LogLine]:
    """Those of ``steps`` whose turn it is, in order.

    Two operators do steps 5 and 6 at the same moment, and may log them the other way round; a step whose predecessor
    is missing waits a little longer for it.

    Args:
        shown: the highest step that was shown before.
        now: seconds since the epoch.
    """
    ripe = []
    for step in sorted(steps, key=lambda line: (line.get("step", 0), seconds_of(line))):
        number, age = step.get("step", 0), now - seconds_of(step)
        if age >= (HOLD if number <= shown + 1 else 2 * HOLD):
            ripe.append(step)
            shown = max(shown, number)
    return ripe


def render_step(step: LogLine, asked: float, width: int | None = None) -> Text:
    """One line of the show: which step, how long after the call, who, what.

    Args:
        asked: when the call was made, in seconds since the epoch.
        width: of the terminal: what doesn't fit goes on below; None leaves it in one line.
    """
    line = Text(f"  {step.get('step', '·')}  ", style="bold cyan")
    line.append(f"{(seconds_of(step) - asked) * 1000:6.1f} ms  ", style="dim")
    line.append(f"{step['operator']:<18} ", style="bold")
    room = max(width - len(line) - 1, 20) if width is not None else sys.maxsize
    rest = textwrap.wrap(str(step["text"]), room, break_long_words=False, break_on_hyphens=False)
    line.append(("\n" + " " * len(line)).join(rest))
    return line


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

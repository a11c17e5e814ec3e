"""What ``eps demo`` shows, as text: steps in their order, a line for each."""

import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from eps.programs.dev.processes import LogLine

NARROW = 80
"""Columns below which what happened stands under who did it."""

NARROW_INDENT = " " * 7


def seconds_of(line: LogLine) -> float:
    """The time of a log line, in seconds since the epoch."""
    return datetime.fromisoformat(str(line["time"])).timestamp()


def in_order(steps: Sequence[LogLine]) -> list[LogLine]:
    """Steps of several programs, whose logs come by different pipes, as they follow from each other.

    Two operators do steps 5 and 6 at the same moment, and may log them the other way round; and what a TLS client
    causes has no numbers: there the joining is what the others led to.
    """

    def place(line: LogLine) -> tuple[int, bool, float]:
        number = line.get("step", 0)
        return number, not number and str(line["text"]).startswith("joined"), seconds_of(line)

    return sorted(steps, key=place)


def render_step(step: LogLine, asked: float, width: int | None = None) -> Text:
    """One line of the show: which step, how long after the call, who, what.

    Args:
        asked: when the call was made, in seconds since the epoch.
        width: of the terminal: what doesn't fit goes on below; None leaves it in one line.
    """
    line = Text(f"  {step.get('step', '·')}  ", style="bold cyan")
    line.append(f"{(seconds_of(step) - asked) * 1000:6.1f} ms  ", style="dim")
    line.append(f"{step['operator']:<18} ", style="bold")
    indent = len(line)
    if width is not None and width < NARROW:
        indent = len(NARROW_INDENT)
        line.rstrip()
        line.append("\n" + NARROW_INDENT)
    room = max(width - indent - 1, 20) if width is not None else sys.maxsize
    line.append(("\n" + " " * indent).join(folded(str(step["text"]), room)))
    return line


def folded(text: str, width: int) -> list[str]:
    """The lines of one paragraph; long words stay whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

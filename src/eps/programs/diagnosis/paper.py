"""Lines for a terminal of any width, with colour or without: texts wrap under where they began. Pure, but for
:func:`terminal`, which looks what is there."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

from eps.core.wording import plain

NARROWEST = 40
"""Columns below which lines are not folded any more: words would be torn."""

WIDEST = 120
"""Columns above which nobody finds the beginning of the next line; a wider terminal stays empty on the right."""

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
"""Of ECMA-48, section 8.3.117."""


@dataclass(frozen=True, slots=True)
class Paper:
    """What is written on.

    Attributes:
        width: columns.
        colour: whether styles are shown.
    """

    width: int = 80
    colour: bool = False

    def styled(self, text: str, *styles: str) -> str:
        """``text`` in those styles."""
        codes = ";".join(_CODES[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.colour and codes and text else text

    def folded(self, text: str, indent: int, first: str = "", styles: Iterable[str] = ()) -> str:
        """``text`` within the width, and without what could move a terminal's cursor: it may be strangers' words.

        Args:
            indent: columns before every line.
            first: what stands in them before the first line; styles don't count as columns.
            styles: of the text.
        """
        room = max(self.width - indent, NARROWEST // 2)
        text = plain(re.sub(r"[\t\n\v\f\r]", " ", text))
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        shown = [self.styled(line, *styles) for line in lines]
        return (first or " " * indent) + ("\n" + " " * indent).join(shown)

    def row(self, label: str, text: str, columns: int, *styles: str) -> str:
        """A label in ``columns`` columns, and what is to be said under it."""
        name = label.strip()
        shown = label.replace(name, self.styled(name, "cyan")) if name else label
        return self.folded(text, columns, shown + " " * max(columns - len(label), bool(name)), styles)


def terminal(stream: TextIO | None = None) -> Paper:
    """What ``stream`` (default: standard output) leads to. Colour only at a terminal, and where nobody objects
    (no-color.org)."""
    stream = stream or sys.stdout
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Paper(max(min(shutil.get_terminal_size().columns, WIDEST), NARROWEST), colour)

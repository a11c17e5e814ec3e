"""Where a value stands inside another, ``.a[0].b``: for those who walk through deep values, or deep text, by a loop."""

import re
from typing import Any

from eps.core.json_tokens import INSIDE

Path = tuple[Any, str]
"""The path of what holds the value, or None, and the value's own step. A linked list, since few are ever shown."""

MAX_KEY_BYTES = 200
"""Of a key that is shown: places are cut for messages anyway."""

# Strings, those with a colon behind them being keys, brackets and commas: all that says where one is in JSON text.
_STEP = re.compile(b'"(' + INSIDE + rb')"([ \t\r\n]*+:)?|[\[\]{},]', re.DOTALL)


def where(path: Path | None) -> str:
    """The place for a message: all steps in a row."""
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(step)
    return "".join(reversed(steps))


def place_below(text: bytes, most: int) -> str:
    """Where in JSON text the first object or list lies that has ``most`` others around it; empty if there is none.

    The text may be malformed behind it: it is not looked at further. Keys stand as they are written, escapes included.
    """
    steps: list[str | int] = []  # of each open container: its present key or index
    for match in _STEP.finditer(text):
        token = match[0][:1]
        if token in (b"[", b"{"):
            if len(steps) == most:
                return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
            steps.append(0 if token == b"[" else "")
        elif token in (b"]", b"}"):
            steps = steps[:-1]
        elif steps:
            inner = steps[-1]
            if isinstance(inner, int):
                steps[-1] = inner + (token == b",")
            elif match[2]:
                steps[-1] = match[1][:MAX_KEY_BYTES].decode("utf-8", "replace")
    return ""

"""What a call's params and results may hold, so that they arrive as they were: one rule for JSON and for gRPC.

Integers within ±2^53, finite numbers, whole characters, at most :data:`~eps.core.limits.MAX_NESTING` objects and lists
inside each other. :func:`travels` looks whether all is well, quickly; where it is not, :func:`first_problem` says which
value it is and why. Neither calls itself, however deep a value is.
"""

import math
from collections.abc import Iterator
from typing import Any

from eps.core.limits import MAX_EXACT_INTEGER, MAX_NESTING
from eps.core.place import Path, where
from eps.errors import BadParams, BadRequest, TooDeep

SHOWN_CHARS = 120
"""How much of somebody else's text a message of ours repeats."""

TOO_DEEP_AT = "too deep at "
"""What the message for too deep a value begins with; its place follows. Others begin with their place."""

FLATTER = "send a flatter structure"
AS_STRING = "send it as a string"
AS_NULL = "send null in its place"


def cut(text: str) -> str:
    """``text``, shortened for a message."""
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"


def too_deep(place: str) -> TooDeep:
    """The error for what is nested too deep; ``place`` is where the first such value lies."""
    most = f"at most {MAX_NESTING} objects and lists inside each other can travel"
    return TooDeep(f"{TOO_DEEP_AT}{cut(place)}: {most}", hint=FLATTER)


def travels(value: Any, most: int) -> bool:
    """Whether a value that JSON text was parsed to holds neither integers nor numbers beyond the limits, and no more
    than ``most`` objects and lists inside each other."""
    layer = [value] if type(value) is dict or type(value) is list else [[value]]
    left = most if layer[0] is value else most + 1
    while layer:
        left -= 1
        if left < 0:
            return False
        below: list[Any] = []
        for container in layer:
            for item in container.values() if type(container) is dict else container:
                kind = type(item)
                if kind is int:
                    if not -MAX_EXACT_INTEGER <= item <= MAX_EXACT_INTEGER:
                        return False
                elif kind is float:
                    if not math.isfinite(item):
                        return False
                elif kind is dict or kind is list:
                    below.append(item)
        layer = below
    return True


def first_problem(value: Any, place: str, most: int) -> BadRequest | None:
    """The error for the first value in ``value`` that can't travel; None if all can.

    Args:
        place: where ``value`` stands, for the message; empty at the top.
        most: objects and lists that may be inside each other.
    """
    inside: Iterator[tuple[str, Any]] = iter([(place, value)])
    path: Path | None = None
    outer: list[tuple[Iterator[tuple[str, Any]], Path | None]] = []  # those around it that are not at their end
    while True:
        for step, item in inside:
            here = (path, step)
            if not isinstance(item, dict | list | tuple):
                problem = _scalar_problem(item, here)
            elif len(outer) == most:
                problem = too_deep(shown(here))
            else:
                problem = _key_problem(item, here) if isinstance(item, dict) else None
                outer.append((inside, path))
                inside, path = _steps(item), here
            if problem is not None:
                return problem
            if path is here:
                break
        else:
            if not outer:
                return None
            inside, path = outer.pop()


def shown(path: Path | None) -> str:
    """A place for a message."""
    text = where(path).removeprefix(".").encode(errors="replace").decode()
    return cut(text) or "the value"


def _steps(container: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """One by one: a list may have two million values, of which as many steps would take 400 MiB."""
    if isinstance(container, dict):
        return ((f".{key}", item) for key, item in container.items())
    return ((f"[{index}]", item) for index, item in enumerate(container))


def _key_problem(item: dict[Any, Any], path: Path | None) -> BadRequest | None:
    for key in item:
        if not isinstance(key, str):
            return BadParams(f"{shown(path)}: a key is not a string")
        if _is_broken(key):
            return BadParams(f"{shown(path)}: holds a lone surrogate, which is not a character")
    return None


def _scalar_problem(item: Any, path: Path | None) -> BadRequest | None:
    if isinstance(item, str):
        lone = "holds a lone surrogate, which is not a character"
        return BadParams(f"{shown(path)}: {lone}") if _is_broken(item) else None
    if item is None or isinstance(item, bool):
        return None
    if isinstance(item, float):
        if math.isnan(item):
            return BadRequest(f"{shown(path)}: NaN is no number", hint=AS_NULL)
        beyond = "the number is beyond what a double can hold"
        return None if math.isfinite(item) else BadRequest(f"{shown(path)}: {beyond}", hint=AS_STRING)
    if not isinstance(item, int):
        return BadParams(f"{shown(path)}: {type(item).__name__} is not a JSON value")
    if -MAX_EXACT_INTEGER <= item <= MAX_EXACT_INTEGER:
        return None
    return BadRequest(f"{shown(path)}: the integer is beyond ±2^53", hint=AS_STRING)


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False

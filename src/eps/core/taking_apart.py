"""Forgetting a large JSON value piece by piece: Python frees two million lists in one go, and holds its lock meanwhile,
some 80 ms in which no other thread goes on.

Theory of operation. A container is taken from a list and emptied bit by bit; what it held goes to the list, if that is
a container. One that somebody else has, too, is left as it is (``sys.getrefcount`` says so): a part that was taken out
of the value, or a directory entry that is shared. For a thread, or a step at a time. Pure.
"""

import sys
from collections.abc import Generator
from typing import Any

STEP_VALUES = 512
"""Forgotten between two steps; some 50 µs."""

MAX_LEFT = 8
"""Of the containers that somebody else has, those that are told: who takes parts out of a value takes one or two."""

_OURS = 2
"""References to a container that nobody else has: a variable's, and that of ``getrefcount`` itself."""


def take_apart(values: list[Any], *, wholly: bool = False) -> Generator[None, None, list[Any]]:
    """Forget the ``values``, as a generator: each ``next`` is a step. The list is empty afterwards.

    Args:
        wholly: containers that somebody else has are emptied, too: where that is only a frame of what has failed.

    Returns:
        Some containers that somebody else has, at most MAX_LEFT.
    """
    left: list[Any] = []
    forgotten = 0
    while values:
        value = values.pop()
        kind = type(value)
        if kind is not dict and kind is not list:
            continue
        if not wholly and sys.getrefcount(value) > _OURS:
            if len(left) < MAX_LEFT:
                left.append(value)
            continue
        while value:
            if kind is list:
                part = value[-STEP_VALUES:]
                del value[-STEP_VALUES:]
            else:
                part = [value.popitem()[1] for _ in range(min(STEP_VALUES, len(value)))]
            values += [item for item in part if item and (type(item) is dict or type(item) is list)]
            forgotten += len(part)
            del part
            if forgotten >= STEP_VALUES:
                forgotten = 0
                yield
    return left


def forget(value: Any) -> None:
    """Take apart what was made of a text that is refused: nobody else has any of it but frames of what has failed."""
    for _ in take_apart([value], wholly=True):
        pass


def forget_rest(container: Any) -> None:
    """Empty an object or a list; what somebody else has of it stays, all else is taken apart."""
    values = list(container.values() if type(container) is dict else container)
    container.clear()
    for _ in take_apart(values):
        pass

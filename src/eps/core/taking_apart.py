"""Forgetting a large JSON value piece by piece: Python frees two million lists in one go, and holds its lock meanwhile,
some 80 ms in which no other thread goes on.

Theory of operation. A container is taken from a list and emptied bit by bit; what it held goes to the list, if that is
a container. One that somebody else has, too, is left as it is (``sys.getrefcount`` says so): a part that was taken out
of the value, or a directory entry that is shared. For a thread, or a step at a time. Pure.

What ``getrefcount`` says of a value that nobody else has depends on the interpreter: later ones count fewer of their
own references. So it is tried out when this is loaded, and where it can't tell, nothing is taken apart.
"""

import sys
from collections.abc import Generator
from typing import Any, NamedTuple

from eps.core.steps import exhaust

STEP_VALUES = 512
"""Forgotten between two steps; some 50 µs."""

MAX_LEFT = 8
"""Of the containers that somebody else has, those that are told: who takes parts out of a value takes one or two."""


class Forgotten(NamedTuple):
    """What came of taking values apart.

    Attributes:
        left: some containers that somebody else has, at most MAX_LEFT, the largest.
        containers: that were forgotten.
    """

    left: list[Any]
    containers: int


_alone = 2
"""References to a container that nobody else has: a variable's, and that of ``getrefcount`` itself."""


def take_apart(values: list[Any], *, wholly: bool = False) -> Generator[None, None, Forgotten]:
    """Forget the ``values``, as a generator: each ``next`` is a step. The list is empty afterwards.

    Args:
        wholly: containers that somebody else has are emptied, too: where that is only a frame of what has failed.
    """
    left: list[Any] = []
    forgotten = containers = 0
    while values:
        value = values.pop()
        kind = type(value)
        if kind is not dict and kind is not list:
            continue
        if not wholly and sys.getrefcount(value) > _alone:
            left.append(value)
            if len(left) > MAX_LEFT:
                left.remove(min(left, key=len))
            continue
        containers += 1
        while value:
            if kind is list:
                part = value[-STEP_VALUES:]
                del value[-STEP_VALUES:]
            else:
                part = [value.popitem()[1] for _ in range(min(STEP_VALUES, len(value)))]
            inner = [item for item in part if type(item) is dict or type(item) is list]
            full = [item for item in inner if item]
            values += full
            containers += len(inner) - len(full)
            forgotten += len(part)
            del part, inner, full
            if forgotten >= STEP_VALUES:
                forgotten = 0
                yield
    return Forgotten(left, containers)


def forget(value: Any) -> None:
    """Take apart what was made of a text that is refused: nobody else has any of it but frames of what has failed."""
    exhaust(take_apart([value], wholly=True))


def forget_rest(container: Any) -> None:
    """Empty an object or a list; what somebody else has of it stays, all else is taken apart."""
    values = list(container.values() if type(container) is dict else container)
    container.clear()
    exhaust(take_apart(values))


def is_alone(values: list[Any], index: int) -> bool:
    """Whether nobody but this list has the container there."""
    return sys.getrefcount(values[index]) <= _alone


def tells_who_is_alone() -> bool:
    """Whether this interpreter's counts are as they are used here: with one more for whoever else has a container."""
    shared: list[Any] = [1]
    values: list[Any] = [[[shared], [[1]]]]
    left, containers = exhaust(take_apart(values))
    return left == [[1]] and containers == 4 and is_alone([[1]], 0) and not is_alone([shared], 0)


_alone = _alone if tells_who_is_alone() else -1  # every count is above it, so nothing is taken apart

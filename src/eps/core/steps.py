"""Long computations as generators: each ``next`` is a step, of some 10 µs to a millisecond. Pure."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def exhaust(steps: Generator[None, None, T]) -> T:
    """What ``steps`` return at their end, taken one right behind the other: for a thread."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value

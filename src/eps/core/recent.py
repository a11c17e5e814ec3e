"""A bounded memory: what nobody has asked for or put in for longest is forgotten for what is new."""

from collections.abc import Callable, Hashable, ItemsView
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A dictionary that forgets.

    Args:
        limit: how much it remembers: keys, or what ``size`` makes of them in all.
        size: what a key counts; default: 1.
    """

    __slots__ = ("_items", "_limit", "_size", "_taken")

    def __init__(self, limit: int, size: Callable[[K], int] = lambda key: 1) -> None:
        self._limit = limit
        self._size = size
        self._items: dict[K, V] = {}  # used longest ago first
        self._taken = 0

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K) -> V | None:
        """What was put in under ``key``, which thereby is the newest; None if nothing is remembered."""
        found = self._items.pop(key, None)
        if found is not None:
            self._items[key] = found
        return found

    def put(self, key: K, value: V) -> None:
        """Remember ``value`` (which is not None), in place of the oldest ones if there are too many."""
        if self._items.pop(key, None) is None:
            self._taken += self._size(key)
        self._items[key] = value
        while self._taken > self._limit:
            self.drop(next(iter(self._items)))

    def drop(self, key: K) -> None:
        """Forget ``key``, if it is there."""
        if self._items.pop(key, None) is not None:
            self._taken -= self._size(key)

    def items(self) -> ItemsView[K, V]:
        """All that is remembered, used longest ago first."""
        return self._items.items()

"""Large values of calls: decoded beside the event loop, and forgotten there, piece by piece, when nobody has them.

Theory of operation. Who lets the last reference to a value go frees all of it at once, and who that is nobody knows
beforehand: a task that ends, an exception, the cycle collector. So another reference is kept here. Every LOOK_SECONDS
it is looked whether it is the last; then the value is taken apart in the thread (``core.taking_apart``). Parts that
somebody has taken out of it are watched further.

How many objects those values have is told to the cycle collector (``programs.running.collector``): it would look at
each of them, and find nothing.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from eps.core.json_pieces import has_few
from eps.core.steps import exhaust
from eps.core.taking_apart import is_alone, take_apart
from eps.transport.aside import aside, behind

LOOK_SECONDS = 0.02
"""A value stays so much longer than somebody has it; a look takes a microsecond."""

COUNTED_SECONDS = 60.0
"""For so long its objects are nothing for the cycle collector, and looks are frequent: as long as a call may take."""

WATCHED_SECONDS = 600.0
"""Whoever has a part for longer keeps it for good: nobody looks any more."""

SLOW_LOOK_SECONDS = 1.0
"""Between two looks at what somebody keeps."""

LEAST_OBJECT_BYTES = 2
"""Of encoded text, for an object or a list."""

T = TypeVar("T")


class _Watched:
    """One value, or what is left of it.

    Attributes:
        parts: it; nothing before it is decoded, and while it is taken apart.
        objects: objects and lists in it; before it is decoded, as many as there may be.
        busy: it is being decoded, or taken apart.
        since: when it came, by ``time.monotonic()``.
    """

    __slots__ = ("busy", "objects", "parts", "since")

    def __init__(self, objects: int, since: float) -> None:
        self.parts: list[Any] = []
        self.objects = objects
        self.busy = True
        self.since = since

    def keep(self, values: list[Any]) -> None:
        """Watch those that are large; in the thread, at the end of what it does."""
        self.parts += [value for value in values if not has_few(value)]
        self.busy = False

    def take_apart(self, values: list[Any]) -> None:
        """In the thread."""
        left, containers = exhaust(take_apart(values))
        self.objects = max(self.objects - containers, 0)
        self.keep(left)

    def unowned(self) -> list[Any]:
        """The parts that nobody else has, once."""
        parts = self.parts
        return [parts.pop(at) for at in reversed(range(len(parts))) if is_alone(parts, at)]


class LargeValues:
    """Those of this process: there is one, :data:`LARGE_VALUES`.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._watched: list[_Watched] = []
        self._looks: asyncio.AbstractEventLoop | None = None  # that is going to look
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many are not forgotten yet."""
        return len(self._watched)

    @property
    def objects(self) -> int:
        """Objects and lists in all of them that somebody may have for a call."""
        return sum(watched.objects for watched in self._lately())

    def _lately(self) -> Iterator[_Watched]:
        since = self._clock() - COUNTED_SECONDS
        return (watched for watched in self._watched if watched.since > since)

    async def decoded(self, size: int, decode: Callable[[], T], value_of: Callable[[T], Any]) -> T:
        """What ``decode`` returns or raises; it is called beside the loop. The value in it is watched from then on.

        Args:
            size: bytes that are decoded.
            value_of: finds the value in what ``decode`` returns.
        """
        watched = _Watched(size // LEAST_OBJECT_BYTES, self._clock())
        self._watched.append(watched)
        self._look_later(asyncio.get_running_loop())
        begun = False

        def work() -> T:
            nonlocal begun
            begun, before = True, gc.get_count()[0]
            values: list[Any] = []
            try:
                decoded = decode()
                values.append(value_of(decoded))
                watched.objects = max(gc.get_count()[0] - before, 0)
                return decoded
            finally:
                watched.keep(values)

        try:
            return await aside(work)
        finally:
            watched.busy = watched.busy and begun  # who is cancelled may have waited for the thread

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Unless a look is due before; seldom where only such are watched as somebody keeps."""
        at = loop.time() + (LOOK_SECONDS if any(self._lately()) else SLOW_LOOK_SECONDS)
        if self._looks is loop and self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._looks, self._timer = loop, loop.call_at(at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = self._timer = None
        for watched in self._watched:
            if not watched.busy and (values := watched.unowned()):
                watched.busy = True
                behind(watched.take_apart, values)
        since = self._clock() - WATCHED_SECONDS
        self._watched = [one for one in self._watched if one.busy or (one.parts and one.since > since)]
        if self._watched:
            self._look_later(loop)


LARGE_VALUES = LargeValues()

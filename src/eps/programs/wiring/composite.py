"""Parts that are started in order and closed in the reverse: what every server of ours is."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

from eps.core.event import Started
from eps.core.host_port import parse_host_port, render_host_port
from eps.core.names import Object
from eps.programs.running.draining import Work
from eps.programs.running.health import Part
from eps.programs.running.tally import Numbers

if TYPE_CHECKING:
    from eps.programs.status.server import StatusServer


class Startable(Protocol):
    """What can be started and closed."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


Apply = Callable[[], Awaitable[None]]
"""Takes prepared settings over: what could fail has been done."""


async def apply_all(steps: Iterable[Callable[[], object]]) -> None:
    """An :data:`Apply` of plain steps, with :func:`functools.partial`."""
    for step in steps:
        step()


_OURS = ("metrics", "status")
"""What is no business of peers, and is named last."""


class Composite:
    """Parts that are started in order and closed in the reverse; what had started is closed if a later one fails.

    Args:
        title: what it is, for the log.
        short: the same where there is little room; by default no shorter.

    Attributes:
        cut: how many of the things that it was at had not ended in time when it was closed.
    """

    def __init__(self, title: str, short: str = "") -> None:
        self.title = title
        self.short = short or title
        self.cut = 0
        self._listening: list[tuple[str, str, Callable[[], int]]] = []
        self._steps: list[tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]] = []
        self._stack = AsyncExitStack()
        self.page: StatusServer | None = None
        self._up = False
        self._started: Started | None = None
        self._stops = False

    def add(self, part: Startable) -> None:
        """Another part, started behind those that are here."""
        self.add_steps(part.start, part.close)

    def add_steps(self, start: Callable[[], Awaitable[None]], close: Callable[[], Awaitable[None]]) -> None:
        """As :meth:`add`, for what is no object with both methods."""
        self._steps.append((start, close))

    def add_open(self, close: Callable[[], Awaitable[None]]) -> None:
        """As :meth:`add`, for what needs no start."""
        self._steps.append((_nothing, close))

    def listens(self, what: str, bind_address: str, port: Callable[[], int]) -> None:
        """Tell the log that ``what`` listens on ``bind_address``; ``port`` gives the real one, once started."""
        self._listening.append((what, parse_host_port(bind_address)[0] or "*", port))

    def started(self) -> Started:
        """Who this is and what it has open; while it is being closed, too, what it had."""
        if self._started is None:
            ordered = sorted(self._listening, key=lambda item: item[0] in _OURS)
            listening = tuple(f"{what} {render_host_port(host, port())}" for what, host, port in ordered)
            self._started = Started(name=self.title, listening=listening)
        return self._started

    def status(self) -> Object:
        """What its administrator's commands are told of it."""
        started = self.started()
        return {"name": started.name, "listening": list(started.listening)}

    def numbers(self) -> Numbers:
        """What it is at, for the metrics; see ``running.families.STANDING``."""
        return {}

    def picture(self) -> Object:
        """What it shows of itself besides, for the status page; see ``status.pictures``."""
        return {}

    def stopping(self) -> None:
        """It is about to be closed: what runs ends, and nothing new should come."""
        self._stops = True

    def health(self) -> list[Part]:
        """Whether it can serve calls, by its parts; see ``running.health``."""
        why = "it is being stopped" if self._stops else "" if self._up else "it is being started"
        return [Part("program", why)]

    @property
    def is_up(self) -> bool:
        """Whether all parts are started."""
        return self._up

    async def start(self) -> None:
        """Start all parts; raises what the first failing one does, after closing the others."""
        async with AsyncExitStack() as stack:
            for start, close in self._steps:
                stack.push_async_callback(close)
                await start()
            self._stack = stack.pop_all()
        self._up = True

    def work(self) -> Work:
        """What it is at. By default nothing that would go on for long."""
        return Work(0, "request", 0.0)

    def take_over(self) -> None:
        """Another process serves until this one has started; before ``start``."""

    async def let_go(self) -> None:
        """Let the stores go that no two processes can have, for another that takes over."""

    async def take_back(self) -> None:
        """Have them again."""

    async def close(self) -> None:
        """Close all parts."""
        self._up = False
        await self._stack.aclose()


async def _nothing() -> None:
    """The start of what needs none."""

"""What the pool keeps for each operator, along which route, and for how long."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eps.channels.siblings import Siblings
from eps.core.defaults import TUNNEL_IDLE_SECONDS
from eps.core.event import Level, Notice
from eps.core.names import Fingerprint, Operator
from eps.errors import EpsError
from eps.grpc.connection import ClientConnection


@dataclass(frozen=True, slots=True)
class Route:
    """How an operator is reached, as the directory has it. Two equal routes share a connection.

    Attributes:
        address: host:port to dial; for a tunnel the address of the proxy's operator.
        proxy: the operator that brokers the tunnel; empty where the operator is dialled.
        pins: the recipient's certificates.
        others: the same through other proxies, for when that one fails. That they change, moves no connection.
    """

    address: str
    proxy: Operator
    pins: frozenset[Fingerprint]
    others: "tuple[Route, ...]" = field(default=(), compare=False)

    @property
    def proxies(self) -> tuple[Operator, ...]:
        """The operators that may broker a tunnel; one of them is empty where the operator is dialled."""
        return (self.proxy, *(other.proxy for other in self.others))


@dataclass(slots=True)
class Slot:
    """What is kept for one operator.

    Attributes:
        route: the connection's.
        wanted: of the one that is being opened, or was opened last.
        begun_at: when it was begun to open the connection.
        renewed: the connection that is, or was, to be replaced in good time.
        leaving: the connection that drains as soon as the next one stands, since its proxy stops.
    """

    connection: ClientConnection | None = None
    route: Route | None = None
    wanted: Route | None = None
    opening: asyncio.Task[ClientConnection] | None = None
    last_used: float = 0.0
    begun_at: float = 0.0
    renewed: ClientConnection | None = None
    leaving: ClientConnection | None = None


Opener = Callable[[Operator, Route], Coroutine[Any, Any, ClientConnection]]
"""Opens a connection along a route; raises NotSent kin."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How connections are kept.

    Attributes:
        idle_timeout: seconds without a call after which one is closed.
        lessons: the file that remembers how long each proxy's tunnels live; None: it is learned anew each time.
        siblings: the other servers of our operator, where it has several.
    """

    idle_timeout: float = TUNNEL_IDLE_SECONDS
    lessons: Path | None = None
    siblings: Siblings | None = None


async def outlasts(connection: ClientConnection, opening: "asyncio.Task[ClientConnection]", doubt: float) -> bool:
    """A tunnel is in its doubtful age, for ``doubt`` seconds more, and the next is being made: whether calls have to go
    on with it, since the next can't be made, or not in that time."""
    waited_for: set[asyncio.Future[Any]] = {opening, connection.closed}
    await asyncio.wait(waited_for, timeout=max(doubt, 0.0), return_when=asyncio.FIRST_COMPLETED)
    stands = opening.done() and not opening.cancelled() and opening.exception() is None
    return not stands and connection.usable


def retrieve(task: "asyncio.Task[ClientConnection]") -> None:
    """Mark the exception as seen: if every caller has given up waiting, nobody else does."""
    if not task.cancelled():
        task.exception()


def not_there_yet(operator: Operator, route: Route, error: EpsError) -> Notice:
    """The directory names another way to ``operator``, which leads nowhere so far."""
    way = f"through {route.proxy}" if route.proxy else f"at {route.address}"
    text = f"the directory says that {operator} is reached {way} now; until that works, the former connection is used"
    return Notice(level=Level.WARN, text=f"{text}: {error.message}", hint=error.hint)


def remaining(deadline: float) -> float:
    """Seconds of the event loop's clock that are left until ``deadline``."""
    return max(deadline - asyncio.get_running_loop().time(), 0.0)

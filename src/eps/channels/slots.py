"""What the pool keeps for each operator, along which route, and for how long."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from eps.core.defaults import TUNNEL_IDLE_SECONDS
from eps.core.names import Fingerprint, Operator
from eps.grpc.connection import ClientConnection


@dataclass(frozen=True, slots=True)
class Route:
    """How an operator is reached, as the directory has it. Two equal routes share a connection.

    Attributes:
        address: host:port to dial; for a tunnel the address of the proxy's operator.
        proxy: the operator that brokers the tunnel; empty where the operator is dialled.
        pins: the recipient's certificates.
    """

    address: str
    proxy: Operator
    pins: frozenset[Fingerprint]


@dataclass(slots=True)
class Slot:
    """What is kept for one operator.

    Attributes:
        route: of both the connection and the one that is being opened.
        begun_at: when it was begun to open the connection.
        renewed: the connection that is, or was, to be replaced in good time.
        leaving: the connection that drains as soon as the next one stands, since its proxy stops.
    """

    connection: ClientConnection | None = None
    route: Route | None = None
    opening: asyncio.Task[ClientConnection] | None = None
    last_used: float = 0.0
    begun_at: float = 0.0
    renewed: ClientConnection | None = None
    leaving: ClientConnection | None = None


Opener = Callable[[Operator, Route], Awaitable[ClientConnection]]
"""Opens a connection along a route; raises NotSent kin."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How connections are kept.

    Attributes:
        idle_timeout: seconds without a call after which one is closed.
        lessons: the file that remembers how long each proxy's tunnels live; None: it is learned anew each time.
    """

    idle_timeout: float = TUNNEL_IDLE_SECONDS
    lessons: Path | None = None

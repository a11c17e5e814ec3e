"""The five ways into and out of an EPS server (PROTOCOL.md section 2).

A call flows  jsonrpc_server → broker → grpc_client → (tunnel) → grpc_server → broker → jsonrpc_client
and its answer returns the same way. Channels don't know each other: an inbound one is given ``deliver`` when it is
started, an outbound one is asked by the broker.

jsonrpc_server   our applications call           jsonrpc_client   calls our application       (both: eps.jsonrpc)
                                                 (turns: how many calls it gets at once)
grpc_client      calls other operators: pool keeps the connections in slots; held_streams keeps our streams to
                 others (lessons remembers how long each proxy's tunnels live; alternatives: which of several proxies)
grpc_server      other operators call: connected calls those that hold a stream to us
siblings         the other servers of our operator, where it has several: what is passed on to each other (passed_on
                 takes it; lone_streams: of which streams there can be only one for all of us)
absences         why an operator holds no stream to us, as far as we have seen
own_pin          whether the directory pins the certificate that we show to others
under_way        calls of our applications, which they may cancel
stdout           prints calls for us             peers            what the two gRPC channels share

gRPC itself, on one HTTP/2 connection, is ``eps.grpc``.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from eps.core.message import Request, Response, Unread
from eps.core.names import Operator, Token

Deliver = Callable[[Request | Unread, Operator], Awaitable[Response]]
"""Hand a request and its (authenticated) sender to the broker. Never raises but for cancellation: failures are
answers. The response's ``id`` is the request's address as it came in."""


class Inbound(Protocol):
    """A channel that accepts requests: grpc_server, jsonrpc_server, and grpc_client (the streams it holds)."""

    async def start(self, deliver: Deliver) -> None:
        """Bind and begin; raises StartError when it can't (port taken, certificate missing)."""
        ...

    async def stop(self) -> None:
        """Take no new calls; those that run go on, and their answers still leave."""
        ...

    async def close(self) -> None:
        """Stop accepting, let calls in flight end within a grace time, end all tasks and sockets."""
        ...


Way = Callable[[Request, Operator, float], Awaitable[Response]]
"""Deliver a request of a sender, and wait for the answer, that many seconds at most. Raises DeliveryError, or its kin
in eps.errors, if no answer came; its ``outcome`` says what is known of the call."""


class Outbound(Protocol):
    """A channel that delivers requests: grpc_client, grpc_server (over streams), jsonrpc_client, stdout."""

    def way_to(self, operator: Operator) -> Way | None:
        """The way to ``operator`` through this channel, to be used at once; None if there is none now. Cheap, no
        I/O."""
        ...


class TunnelAcceptor(Protocol):
    """A channel that can be reached through a proxy (PROTOCOL.md section 7, step 4): grpc_server."""

    async def accept_tunnel(self, endpoint: str, token: Token, via: Operator) -> None:
        """Dial ``endpoint``, write the token, and treat the socket as a newly accepted connection.

        Returns when the token is written.

        Raises:
            EpsError: the endpoint is not one that ``via`` may name, or it can't be reached.
        """
        ...


class Brokered(Protocol):
    """A channel that has connections through proxies: grpc_client (those it opened), grpc_server (those that came)."""

    def through(self, proxy: Operator) -> bool:
        """Whether one of the connections that stand was brokered by ``proxy``."""
        ...

    def leave(self, proxy: Operator) -> int:
        """Begin to replace the connections that ``proxy`` has brokered, since it is about to stop; how many.

        New calls go over another connection as soon as it stands; those that run end where they are.
        """
        ...

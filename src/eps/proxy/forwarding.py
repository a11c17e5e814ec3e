"""Where a private proxy hands over the connections that come through a public proxy (PROTOCOL.md section 8).

    Forwarder   ←  RawForwarder      here: bytes as they are; TLS ends in the internal server
                ←  HttpForwarder     proxy.http_forwarding: TLS ends here, HTTP goes on
                ←  JsonRpcForwarder  proxy.jsonrpc_forwarding: TLS ends here, JSON-RPC calls go on

A forwarder owns each socket that it is given, and every one of them ends in one outcome, which it reports.
"""

import asyncio
import socket
import time
from typing import Protocol

from eps.core.defaults import RELAY_IDLE_SECONDS
from eps.core.event import Emit, Level, Notice, TunnelFinished
from eps.core.names import Operator
from eps.core.rendezvous import TunnelOutcome
from eps.core.warn_rate import sparing
from eps.errors import Unreachable
from eps.transport.dial import connect
from eps.transport.splice import Relay, SpliceResult, sum_of

CONNECT_SECONDS = 10.0
"""For a connection to the internal server, which is near."""


class Forwarder(Protocol):
    """What a private proxy gives its connections to."""

    @property
    def open(self) -> int:
        """How many connections it has."""
        ...

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes that these have brought so far from inside and from outside."""
        ...

    async def start(self) -> None:
        """Get ready; raises StartError for a setting that can't be used."""
        ...

    async def forward(self, sock: socket.socket, domain: str, via: Operator) -> None:
        """Take over a connection whose next byte is the first of a TLS client's hello.

        Args:
            sock: non-blocking, without a transport; the forwarder's from here on, also if this raises.
            domain: which was asked for.
            via: the public proxy's operator.
        """
        ...

    async def stop(self) -> None:
        """End each connection as soon as nothing is in progress on it."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


class RawForwarder:
    """Joins each connection to one of the internal server's.

    Args:
        address: the internal server, ``HOST:PORT``.
        idle_timeout: seconds without a byte after which a connection is closed.
        connect_seconds: for connecting to it.
    """

    def __init__(
        self,
        address: str,
        *,
        idle_timeout: float = RELAY_IDLE_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        emit: Emit,
    ) -> None:
        self._address = address
        self._idle_timeout = idle_timeout
        self._connect_seconds = connect_seconds
        self._emit = sparing(emit, time.monotonic)
        self._relays: set[Relay] = set()

    @property
    def open(self) -> int:
        """How many connections are joined."""
        return len(self._relays)

    @property
    def moved(self) -> tuple[int, int]:
        """See :class:`Forwarder`."""
        return sum_of(relay.moved for relay in self._relays)

    async def start(self) -> None:
        """Nothing to do."""

    async def forward(self, sock: socket.socket, domain: str, via: Operator) -> None:
        began = asyncio.get_running_loop().time()
        try:
            inside = await connect(self._address, self._connect_seconds, name="the internal server")
        except Unreachable as error:
            sock.close()
            self._emit(Notice(level=Level.ERROR, text=f"{domain}: {error.message}", hint=error.hint))
            seconds = asyncio.get_running_loop().time() - began
            self._emit(ended(TunnelOutcome.NO_TARGET, domain, via, seconds))
            return
        except BaseException:  # also when cancelled: nobody else knows the socket
            sock.close()
            self._emit(ended(TunnelOutcome.STOPPED, domain, via))
            raise
        self._relay(sock, inside, domain, via)

    def _relay(self, outside: socket.socket, inside: socket.socket, domain: str, via: Operator) -> None:
        def finished(result: SpliceResult) -> None:
            self._relays.discard(relay)
            self._emit(ended(result.outcome, domain, via, result.seconds, result.first_bytes, result.second_bytes))

        relay = Relay(inside, outside, idle_timeout=self._idle_timeout, on_end=finished)
        self._relays.add(relay)
        relay.start()

    async def stop(self) -> None:
        """Nothing to do: what is in progress in them, only their ends know."""

    async def close(self) -> None:
        for relay in list(self._relays):
            relay.stop()


def ended(
    outcome: TunnelOutcome, domain: str, via: Operator, seconds: float = 0.0, inside: int = 0, outside: int = 0
) -> TunnelFinished:
    """The event for the end of a connection at a private proxy.

    Args:
        inside, outside: bytes forwarded from the internal server, and from the TLS client.
    """
    healthy = outcome in (TunnelOutcome.FINISHED, TunnelOutcome.RESET, TunnelOutcome.IDLE, TunnelOutcome.STOPPED)
    return TunnelFinished(
        outcome=outcome,
        seconds=seconds,
        caller=via,
        callee=domain,
        first_bytes=inside,
        second_bytes=outside,
        level=Level.INFO if healthy else Level.WARN,
    )

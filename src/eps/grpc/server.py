"""The server's side: accepted sockets become connections (:mod:`eps.grpc.accepted`), and all of them end in order."""

import asyncio
import socket
import ssl
import time
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from eps.core.event import Emit, Level, PeerChanged, Refused
from eps.core.names import Fingerprint, Operator
from eps.core.warn_rate import sparing
from eps.errors import TlsFailed
from eps.grpc.accepted import DIRECT, LAST_PING_TIMEOUT, Accepted, OnCall, OnStream, ServerLimits, Serving
from eps.grpc.admission import PeerMemory
from eps.grpc.link import Link
from eps.grpc.streams import ServerStream
from eps.transport.arrivals import SILENT, Arrival, SaidNothing
from eps.transport.incoming import Entrance
from eps.transport.tls import PeerIdentity, Pins, no_longer_pinned

RENEW_SECONDS = 20.0
"""Over how many seconds the clients are sent away whose connections are to be renewed, so that they don't all come back
at once. All is to be done within a minute, and what runs then may take 30 s."""

RENEWED = "the server has a new certificate"

__all__ = ["ServerConnection", "ServerEndpoint", "ServerLimits", "ServerStream"]


class ServerConnection:
    """An accepted connection, as others see it.

    Attributes:
        accepted: the connection itself, with its wire and what runs.
        peer: who it is.
        via: the operator through whose proxy it came; empty: directly.
        closed: resolved with the reason when the socket is gone.
    """

    def __init__(self, accepted: Accepted) -> None:
        link = accepted.link
        assert link.peer is not None
        self.accepted = accepted
        self.peer: PeerIdentity = link.peer
        self.via = accepted.via
        self.closed: asyncio.Future[str] = link.closed

    def drain(self, reason: str) -> None:
        """Send the client away; what runs is answered."""
        self.accepted.drain(reason)

    def abort(self, reason: str) -> None:
        """Cut it."""
        self.accepted.link.abort(reason)


class ServerEndpoint:
    """Everything that was accepted. The sockets come from a listener, or out of a tunnel.

    Args:
        context: TLS with the client's certificate required, ALPN h2.
        pins: whose certificates are known.
        on_call: answers a ``Call``. An EpsError becomes status UNKNOWN with its text.
        on_stream: serves a ``ServerCall`` until it returns; then the stream ends with status UNAVAILABLE.
    """

    def __init__(
        self,
        *,
        context: ssl.SSLContext,
        pins: Pins,
        on_call: OnCall,
        on_stream: OnStream,
        emit: Emit,
        limits: ServerLimits | None = None,
    ) -> None:
        self._pins = pins
        self._emit = sparing(emit, time.monotonic)
        self._context = context
        self._limits = limits or ServerLimits()
        self._serving = Serving(pins, on_call, on_stream, self._emit, self._memory_of, self._limits)
        self._accepted: set[Accepted] = set()
        self._stale: set[Accepted] = set()
        self._by_certificate: dict[Fingerprint, dict[Accepted, None]] = {}  # oldest first
        self._memory: WeakValueDictionary[Fingerprint, PeerMemory] = WeakValueDictionary()
        self._entrance = Entrance(self._limits.max_arriving, self._limits.handshake_timeout)
        self._closing = False

    def _memory_of(self, fingerprint: Fingerprint) -> PeerMemory:
        """What the connections with this certificate share, for as long as there is one."""
        return self._memory.setdefault(fingerprint, PeerMemory())

    @property
    def connections(self) -> list[ServerConnection]:
        """Those that are up."""
        return [ServerConnection(one) for one in self._accepted if not one.link.reason]

    async def accept(self, sock: socket.socket, via: Operator = DIRECT) -> None:
        """Serve a connected, non-blocking socket, which belongs to this endpoint from now on.

        Args:
            via: the operator through whose proxy it comes.

        Returns after the TLS handshake. Failures are events, not exceptions.
        """
        if self._closing:
            sock.close()
            return
        source, made, context = _source(sock), list[Accepted](), self._context

        def begin(arrival: Arrival) -> Link:
            made.append(Accepted(self._serving, source, arrival, via))
            return made[0].link

        try:
            await self._entrance.to_protocol(begin, sock, context, end=lambda _: self._gives_way(made[0]))
        except asyncio.CancelledError:
            sock.close()
            raise
        except TlsFailed as error:
            self._refused(source, error.why if isinstance(error, SaidNothing) else "tls", error.message)
            return
        self._shaken_hands(made[0], is_stale=context is not self._context)

    def _shaken_hands(self, one: Accepted, *, is_stale: bool) -> None:
        link = one.link
        link.closed.add_done_callback(lambda _: one.arrival.settle())
        if link.peer is None or self._closing:
            link.abort("the server is closing")
            if link.peer is None:
                self._refused(one.source, "pin", link.reason, one.shown)
            return
        self._adopt(one, link.peer)
        if is_stale and one in self._accepted:
            self._stale.add(one)
            one.drain(RENEWED)

    def _gives_way(self, one: Accepted) -> None:
        one.link.abort(f"{one.link.peer_name} asked for nothing: {self._entrance.arrivals.text}")
        self._refused(one.source, SILENT, one.link.reason)

    def _refused(self, source: str, why: str, detail: str, names: tuple[str, ...] = ()) -> None:
        self._emit(Refused(listener="grpc", why=why, source=source, detail=detail, names=names))

    def _adopt(self, one: Accepted, peer: PeerIdentity) -> None:
        link = one.link
        if link.closed.done():
            return
        # Who cuts connections when pins are withdrawn has not seen this one if that happened during the last moments.
        if not all(peer.fingerprint in self._pins(name) for name in peer.names):
            link.abort(no_longer_pinned(self._pins))
            self._refused(one.source, "pin", link.reason)
            return
        if not self._make_room(one, peer.fingerprint):
            link.abort(f"{link.peer_name} has {self._limits.max_connections} connections in use already")
            self._refused(one.source, "connections", link.reason)
            return
        self._accepted.add(one)
        self._emit(PeerChanged(link="incoming", peer=link.peer_name, up=True, level=Level.DEBUG))
        link.closed.add_done_callback(lambda _: self._lost(one, peer.fingerprint))

    def _make_room(self, one: Accepted, fingerprint: Fingerprint) -> bool:
        """Count a connection among those of its certificate, in place of an idle one if they are many already."""
        same = self._by_certificate.setdefault(fingerprint, {})
        if len(same) >= self._limits.max_connections:
            idle = next((other for other in same if not other.wire.streams), None)
            if idle is None:
                return False
            del same[idle]
            idle.drain("its operator has opened many newer connections")
        same[one] = None
        return True

    def _lost(self, one: Accepted, fingerprint: Fingerprint) -> None:
        self._accepted.discard(one)
        if not one.said_last.done():
            one.said_last.set_result(None)
        self._stale.discard(one)
        same = self._by_certificate.get(fingerprint, {})
        same.pop(one, None)
        if not same:
            self._by_certificate.pop(fingerprint, None)
        link = one.link
        self._emit(PeerChanged(link="incoming", peer=link.peer_name, up=False, detail=link.reason, level=Level.DEBUG))

    @property
    def stale(self) -> list[str]:
        """Whose connections are still those from before the last renewal."""
        return sorted(one.link.peer_name for one in self._stale & self._accepted)

    def renew(self, context: ssl.SSLContext) -> None:
        """Accept with ``context`` from now on, and send away, one by one, those who were accepted with another.

        Who is sent away (GOAWAY) opens the next connection first; what runs on the old one comes to its end.
        """
        self._context = context
        self._stale |= self._accepted
        old = [one for one in self._accepted if not one.link.leaving.done()]
        for number, one in enumerate(old):
            one.link.after("renew", RENEW_SECONDS * number / len(old), partial(one.drain, RENEWED))

    def stop(self) -> None:
        """Take no more connections, nor calls on those that are there: GOAWAY to everyone. What runs goes on."""
        self._closing = True
        for one in list(self._accepted):
            one.drain("the server is closing")

    async def told(self) -> None:
        """After :meth:`stop`, wait until no further call can come: those that were under way to us are here then."""
        waiting = [one for one in self._accepted if not one.said_last.done()]
        if waiting:
            ends: list[asyncio.Future[Any]] = [one.said_last for one in waiting]
            await asyncio.wait(ends, timeout=LAST_PING_TIMEOUT)

    async def close(self, grace: float) -> None:
        """Stop; what runs may finish within ``grace`` seconds. Nothing is left running afterwards."""
        self.stop()
        all_of_them = list(self._accepted)
        if all_of_them:
            await asyncio.wait([one.link.closed for one in all_of_them], timeout=max(grace, 0.0))
        tasks = [task for one in all_of_them for task in one.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in all_of_them:
            one.link.end("the server is closing")
        if all_of_them:
            await asyncio.wait([one.link.closed for one in all_of_them])


def _source(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "a peer that is gone"
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "a local socket"

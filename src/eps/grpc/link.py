"""The life of one connection: pinned TLS, deadlines, pings, and its one end. What flows over it is the wire's matter.

Whoever ends a connection gives a reason; the first one counts, and is what everyone who waits is told.
"""

import asyncio
import select
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from eps.errors import TlsFailed
from eps.grpc.guard import GuardLimits
from eps.transport.tls import PeerIdentity, peer_certificate

CLOSE_GRACE = 1.0
"""Seconds for the last bytes and TLS's goodbye; then the socket is aborted."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Times in seconds.

    Attributes:
        settings_timeout: from the end of the TLS handshake to the peer's first SETTINGS.
        write_timeout: how long the peer may leave our bytes unread before it counts as frozen.
        stall_timeout: how long it may take nothing of a message on one stream, though it reads others: longer than its
            handlers may keep it busy.
        ping_interval: we ping that long after the last ping or the last byte received.
        ping_timeout: no byte for that long after a ping: the peer is dead.
        tick: how often the above are looked at.
    """

    settings_timeout: float = 10.0
    write_timeout: float = 30.0
    stall_timeout: float = 60.0
    ping_interval: float = 30.0
    ping_timeout: float = 15.0
    tick: float = 2.5
    guard: GuardLimits = field(default_factory=GuardLimits)


class Link(asyncio.Protocol):
    """An asyncio protocol over TLS. Subclasses speak over it.

    Args:
        verify: given the peer's leaf (DER, or None), says who it is or raises TlsFailed. Called before anything is
            written.
        peer_name: how messages call the peer until it is known.
        limits: see there.

    Attributes:
        up: resolved with None at the peer's first SETTINGS; fails with TlsFailed or ConnectionError.
        closed: resolved with the reason when the socket is gone. Wait for it under asyncio.shield.
        leaving: resolved with the reason as soon as the connection takes no new streams. As ``closed``.
        graceful: whether it was leaving, by a GOAWAY or by our own will, before it ended.
    """

    def __init__(self, *, verify: Callable[[bytes | None], PeerIdentity], peer_name: str, limits: WireLimits) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = self.loop.time
        self.peer_name = peer_name
        self.limits = limits
        self.peer: PeerIdentity | None = None
        self.up: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[str] = self.loop.create_future()
        self.leaving: asyncio.Future[str] = self.loop.create_future()
        self.graceful = False
        self.created_at = self.clock()
        self._verify = verify
        self._transport: asyncio.Transport | None = None
        self._hang_up = select.poll()
        self._reason = ""
        self._writable = True
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last_received = self.clock()
        self._last_ping = 0.0
        self._ping_unanswered = False

    # -- what subclasses say

    def begin(self) -> None:
        """The peer is who it should be: the first bytes may be written."""

    def receive(self, data: bytes) -> None:
        """Bytes came in."""

    def flush(self) -> None:
        """Hand what is collected to the transport."""

    def send_ping(self, payload: bytes) -> None:
        """Ask for a sign of life: any byte is one."""

    def on_writable(self) -> None:
        """The transport takes more again."""

    def on_lost(self, reason: str) -> None:
        """The connection is over, or about to be closed: nothing more can be sent."""

    def on_tick(self, now: float) -> None:
        """Every ``limits.tick`` seconds."""

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        ssl_object = transport.get_extra_info("ssl_object")
        try:
            self.peer = self._verify(peer_certificate(ssl_object))
            _require_h2(ssl_object, self.peer_name)
        except TlsFailed as error:
            self._fail_up(error)
            self.abort(error.message)
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._hang_up.register(sock.fileno(), select.POLLRDHUP)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begin()
        timeout = self.limits.settings_timeout
        self.after(
            "settings", timeout, lambda: self.abort(f"{self.peer_name} sent no HTTP/2 settings within {timeout:g} s")
        )
        self.after("tick", self.limits.tick, self._tick)

    def data_received(self, data: bytes) -> None:
        if not self._reason:
            self._last_received = self.clock()
            self._ping_unanswered = False
            self.receive(data)

    def eof_received(self) -> bool | None:
        return None  # the transport closes itself: with TLS there is no half-closed connection

    def pause_writing(self) -> None:
        self._writable = False
        timeout = self.limits.write_timeout
        self.after("write", timeout, lambda: self.abort(f"{self.peer_name} did not read for {timeout:g} s"))

    def resume_writing(self) -> None:
        self._writable = True
        self.cancel_timer("write")
        self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(_loss(self.peer_name, exc), exc)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(self._reason)

    # -- the ends of a connection

    @property
    def usable(self) -> bool:
        """Whether new streams may be opened or accepted."""
        return self.up.done() and not self.leaving.done()

    @property
    def reason(self) -> str:
        """Why the connection ended; empty while it lives."""
        return self._reason

    def describe_tls(self) -> str:
        """Version, cipher and the peer's certificate, for the log."""
        ssl_object = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        cipher = ssl_object.cipher() if ssl_object is not None else None
        mark = self.peer.fingerprint[:16] if self.peer is not None else "none"
        return f"{ssl_object.version()}, {cipher[0]}, certificate {mark}…" if ssl_object and cipher else "no TLS"

    def leave(self, reason: str) -> None:
        """Take no new streams from now on."""
        if not self.leaving.done():
            self.graceful = not self._reason
            self.leaving.set_result(reason)

    def look_for_end(self) -> None:
        """Leave if the peer has ended the connection, though the event loop has not told yet: what is sent now would be
        lost. Answers that lie before the end still come, and so may a goodbye: it does not count as cut."""
        if self._transport is not None and not self._transport.is_closing() and self._hang_up.poll(0):
            self.leave(f"{self.peer_name} closed the connection")

    def abort(self, reason: str) -> None:
        """End at once, without a word: for a peer that failed or froze."""
        self._lost(reason, None)
        if self._transport is not None:
            self._transport.abort()

    @property
    def writable(self) -> bool:
        """Whether the transport takes more."""
        return self._writable and not self._reason

    def end(self, reason: str) -> None:
        """Send what is there to send, and close; abort if that takes long."""
        if not self._reason and self._transport is not None:
            self.flush()
            transport = self._transport
            transport.close()
            self.after("close", CLOSE_GRACE, transport.abort)
        self._lost(reason, None)

    def _lost(self, reason: str, exc: Exception | None) -> None:
        """Everyone who waits learns that the connection is over, and why; the first reason counts."""
        if self._reason:
            return
        self._reason = reason
        self.leave(reason)
        self._fail_up(self._up_error(reason, exc))
        self.on_lost(reason)

    def _up_error(self, reason: str, exc: Exception | None) -> Exception:
        """What ``up`` fails with when the connection ends before the peer's SETTINGS."""
        return ConnectionError(reason)

    def _fail_up(self, error: Exception) -> None:
        if not self.up.done():
            self.up.set_exception(error)
            self.up.exception()  # seen: whoever waits for it is told anyway, and nobody may wait

    # -- timers

    def after(self, name: str, seconds: float, action: Callable[[], object]) -> None:
        """Do something later, once; a second timer of the same name replaces the first."""
        self.cancel_timer(name)
        self._timers[name] = self.loop.call_later(seconds, action)

    def cancel_timer(self, name: str) -> None:
        """Forget a timer, if it is set."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _tick(self) -> None:
        if self._reason:
            return
        now = self.clock()
        if self._ping_unanswered:
            if now - self._last_ping >= self.limits.ping_timeout:
                self.abort(f"{self.peer_name} did not answer a ping within {self.limits.ping_timeout:g} s")
                return
        elif self.up.done() and now - max(self._last_ping, self._last_received) >= self.limits.ping_interval:
            self._last_ping = now
            self._ping_unanswered = True
            self.send_ping(struct.pack("!Q", int(now * 1e6)))
        self.on_tick(now)
        if not self._reason:
            self.after("tick", self.limits.tick, self._tick)


def _require_h2(ssl_object: ssl.SSLObject | None, peer_name: str) -> None:
    # PROTOCOL.md section 3: ALPN h2, accept a peer that offers none.
    chosen = ssl_object.selected_alpn_protocol() if ssl_object is not None else None
    if chosen not in (None, "h2"):
        raise TlsFailed(f"{peer_name} speaks {chosen}, not gRPC (h2)", hint="check the address and port")


def _loss(peer_name: str, exc: Exception | None) -> str:
    if exc is None:
        return f"{peer_name} closed the connection"
    text = str(exc) or type(exc).__name__
    return f"the connection with {peer_name} broke: {text}"

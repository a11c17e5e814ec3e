"""The life of one connection: pinned TLS, deadlines, pings, and its one end. What is said over it is its speaker's.
Whether the peer is still there, ``grpc.pulse`` judges.

Whoever ends a connection gives a reason; the first one counts, and is what everyone who waits is told.
"""

import asyncio
import errno
import math
import os
import select
import socket
import ssl
import struct
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol, cast

from eps.errors import TlsFailed
from eps.grpc.guard import GuardLimits
from eps.grpc.pulse import Diagnosis, Pulse, PulseLimits, Sent, judge_sent
from eps.transport.narrow import Measure
from eps.transport.sockets import UNSENT_BYTES, bound_unsent, last_acknowledged, unacknowledged, unsent
from eps.transport.tls import PeerIdentity, peer_certificate

CLOSE_GRACE = 1.0
"""Seconds for the last bytes and TLS's goodbye; then the socket is aborted."""

WAITING_BYTES = 16_384
"""Encrypted bytes that may wait for the socket before streams have to wait: what is below TLS goes out in its order,
however small and urgent what comes behind it is. Event loops allow 512 KiB: eight seconds at 64 kB/s. (uvloop's TLS has
64 KiB below what it counts; so the kernel is asked, too.)"""

MOST_AHEAD = 1 << 20
"""Bytes that a quick line is given between two questions whether it has sent them."""

QUICK_UNSENT = 128 * 1024
"""Bytes that may be unsent on a line that has shown to be quick: what it sends in a moment, and no reason to pause."""

LOOK_SECONDS = 0.05
"""Until the kernel is asked again where it can't tell by itself."""

_NO_WAY = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
"""How the kernel says that nothing comes through: no end that somebody has made."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Times in seconds.

    Attributes:
        settings_timeout: from the end of the TLS handshake to the peer's first SETTINGS.
        write_timeout: how long the peer may leave our bytes unread before it counts as frozen.
        stall_timeout: how long it may take nothing of a message on one stream, though it reads others: longer than its
            handlers may keep it busy.
        ping_interval: we ping that long after the last ping or the last byte received.
        held_interval: the same while a stream is held, which waits for calls; the second one for peers of our kind.
            Those in use tolerate a ping every 15 s (PROTOCOL.md section 3).
        pulse: how long silence is borne.
        tick: how often the above are looked at.
    """

    settings_timeout: float = 10.0
    write_timeout: float = 30.0
    stall_timeout: float = 60.0
    ping_interval: float = 30.0
    held_interval: tuple[float, float] = (15.0, 5.0)
    pulse: PulseLimits = field(default_factory=PulseLimits)
    tick: float = 2.5
    guard: GuardLimits = field(default_factory=GuardLimits)


class Speaker(Protocol):
    """What speaks over a link, which tells it what happens."""

    def begin(self) -> None:
        """The peer is who it should be: the first bytes may be written."""

    def receive(self, data: bytes) -> None:
        """Bytes came in."""

    def flush(self) -> None:
        """The connection is about to be closed: what is collected must be written now."""

    def send_ping(self, payload: bytes) -> None:
        """Ask the peer for a sign of life: any byte is one."""

    def on_writable(self) -> None:
        """The transport takes more again."""

    def on_doubt(self) -> None:
        """The peer may be gone: what has not been sent must not be sent here."""

    def on_lost(self, reason: str) -> None:
        """The connection is over, or about to be closed: nothing more can be sent."""

    def on_tick(self, now: float) -> None:
        """Every ``limits.tick`` seconds."""

    def on_gone(self) -> None:
        """The socket is gone, and so is its transport."""


def never_up(reason: str, _exc: Exception | None) -> Exception:
    """What ``up`` fails with where nobody knows better."""
    return ConnectionError(reason)


class Link(asyncio.Protocol):
    """An asyncio protocol over TLS, for one speaker.

    Args:
        speaker: is told what happens.
        verify: given the peer's leaf (DER, or None), says who it is or raises TlsFailed. Called before anything is
            written.
        peer_name: how messages call the peer until it is known.
        limits: see there.
        explain: given the reason of an end before the peer's SETTINGS, and what asyncio said if it did: the error that
            ``up`` fails with.

    Attributes:
        up: resolved with None at the peer's first SETTINGS; fails with TlsFailed or what ``explain`` says.
        closed: resolved with the reason when the socket is gone. Wait for it under asyncio.shield.
        leaving: resolved with the reason as soon as the connection takes no new streams. As ``closed``.
        graceful: whether it was leaving, by a GOAWAY or by our own will, before it ended, or ended because nothing came
            through any more: otherwise somebody has cut it.
        reason: why the connection ended; empty while it lives.
        timers: what is to be done later, by name.
        pulse: whether the peer is still there.
        sure: done while that is known, or the connection over. Wait for it under asyncio.wait.
        holds: whether a stream of ours is held on it.
    """

    def __init__(
        self,
        speaker: Speaker,
        *,
        verify: Callable[[bytes | None], PeerIdentity],
        peer_name: str,
        limits: WireLimits,
        explain: Callable[[str, Exception | None], Exception] = never_up,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = self.loop.time
        self.peer_name = peer_name
        self.limits = limits
        self.peer: PeerIdentity | None = None
        self.up: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[str] = self.loop.create_future()
        self.leaving: asyncio.Future[str] = self.loop.create_future()
        self.graceful = False
        self.reason = ""
        self.created_at = self.clock()
        self.pulse = Pulse(limits.pulse, self.created_at)
        self.sure: asyncio.Future[None] = self.loop.create_future()
        self.sure.set_result(None)
        self.holds = False
        self._speaker = speaker
        self._verify = verify
        self._explain = explain
        self._transport: asyncio.Transport | None = None
        self._hang_up = select.poll()
        self._takes_bytes = self._kernel_takes = True
        self._given, self._ahead = 0, UNSENT_BYTES
        self._measure: Measure | None = None  # while the kernel is waited for
        self._watch: int | None = None
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self._sock: socket.socket | None = None

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WAITING_BYTES)
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
            self._sock = sock
            self._hang_up.register(sock.fileno(), select.POLLRDHUP)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                bound_unsent(sock)
        self._speaker.begin()
        timeout = self.limits.settings_timeout
        self.after(
            "settings", timeout, lambda: self.abort(f"{self.peer_name} sent no HTTP/2 settings within {timeout:g} s")
        )
        self.after("tick", self.limits.tick, self._tick)

    def data_received(self, data: bytes) -> None:
        if not self.reason:
            self.pulse.heard(self.clock())
            if not self.sure.done():
                self.sure.set_result(None)
            self._speaker.receive(data)

    def eof_received(self) -> bool | None:
        return None  # the transport closes itself: with TLS there is no half-closed connection

    def pause_writing(self) -> None:
        self._takes_bytes = False
        self._expect_room()

    def _expect_room(self) -> None:
        timeout = self.limits.write_timeout
        self.after("write", timeout, lambda: self.abort(f"{self.peer_name} did not read for {timeout:g} s"))

    def resume_writing(self) -> None:
        self._takes_bytes = True
        self._has_room()

    def _has_room(self) -> None:
        if self._takes_bytes and self._kernel_takes:
            self.cancel_timer("write")
            self._speaker.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, OSError) and exc.errno in _NO_WAY:
            self.leave(_loss(self.peer_name, exc))  # nobody has cut it: the way there is gone
        self._lost(_loss(self.peer_name, exc), exc)
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        self._transport = self._sock = None
        self._let_watch_go()
        if not self.closed.done():
            self.closed.set_result(self.reason)
        self._speaker.on_gone()

    # -- the ends of a connection

    @property
    def usable(self) -> bool:
        """Whether new streams may be opened or accepted."""
        return self.up.done() and not self.leaving.done()

    def describe_tls(self) -> str:
        """Version, cipher and the peer's certificate, for the log."""
        ssl_object = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        cipher = ssl_object.cipher() if ssl_object is not None else None
        mark = self.peer.fingerprint[:16] if self.peer is not None else "none"
        return f"{ssl_object.version()}, {cipher[0]}, certificate {mark}…" if ssl_object and cipher else "no TLS"

    def leave(self, reason: str, *, announced: bool = True) -> None:
        """Take no new streams from now on.

        Args:
            announced: a side has said so, before the end; nobody has where only the end itself was seen.
        """
        self.graceful = self.graceful or (announced and not self.reason)
        if not self.leaving.done():
            self.leaving.set_result(reason)

    def look_for_end(self) -> None:
        """Leave if the peer has ended the connection, though the event loop has not told yet: what is sent now would be
        lost. Answers that lie before the end still come, and so may a goodbye; without one it was cut."""
        if self._transport is not None and not self._transport.is_closing() and self._hang_up.poll(0):
            self.leave(f"{self.peer_name} closed the connection", announced=False)

    def abort(self, reason: str) -> None:
        """End at once, without a word: for a peer that failed or froze. Our own will: nobody has cut it."""
        self.leave(reason)
        self._lost(reason, None)
        if self._transport is not None:
            self._transport.abort()

    @property
    def writable(self) -> bool:
        """Whether the transport takes more."""
        return self._takes_bytes and self._kernel_takes and not self.reason

    @property
    def connected(self) -> bool:
        """Whether there is a transport: not before the TLS handshake, and not when the socket is gone."""
        return self._transport is not None

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport; they are dropped when it is closing."""
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            self._given += len(data)
            if self._given > self._ahead and self._kernel_takes and self._sock is not None:
                self._kernel_takes = False
                self.loop.call_soon(self._look_at_kernel)  # uvloop writes at the end of its turn

    def _look_at_kernel(self) -> None:
        """Wait until the kernel has begun to send what it was given. It is asked once for so many bytes, not for each
        small message, and the more seldom the quicker the line is: at most twice as many each time, since what routers
        keep for a narrow line goes out as quickly as on any other."""
        if self._sock is None or self._transport is None or self._transport.is_closing():
            return  # uvloop closes sockets before it says so
        self._given, now = self._unsent(), self.loop.time()
        if self._given <= (QUICK_UNSENT if self._ahead == MOST_AHEAD else UNSENT_BYTES):
            self._kernel_takes, self._ahead = True, min(2 * self._ahead, MOST_AHEAD)
            if self._measure is not None:
                self._measure.waited(now)
                self._ahead, self._measure = min(self._ahead, self._measure.most), None
            self._has_room()
            return
        if self._measure is None:
            self._measure = Measure()
            self._measure.waits(self._given, now)
            self._expect_room()
        try:
            self._watch = os.dup(self._sock.fileno()) if self._watch is None else self._watch
        except OSError:  # no descriptor is free
            self.loop.call_later(LOOK_SECONDS, self._look_at_kernel)
        else:
            self.loop.add_writer(self._watch, self._on_kernel_takes)  # the event loop has the socket's own

    def _unsent(self) -> int:
        assert self._sock is not None
        try:
            return unsent(self._sock)
        except OSError:  # it is gone, which the event loop is about to say
            return 0

    def _on_kernel_takes(self) -> None:
        if self._watch is not None:
            self.loop.remove_writer(self._watch)
        self._expect_room()  # anew: it has taken something
        self.loop.call_soon(self._look_at_kernel)  # behind the event loop, which may have more to write

    def _let_watch_go(self) -> None:
        if self._watch is not None:
            self.loop.remove_writer(self._watch)
            os.close(self._watch)
            self._watch = None

    def end(self, reason: str) -> None:
        """Send what is there to send, and close; abort if that takes long."""
        if not self.reason and self._transport is not None:
            self._speaker.flush()
            transport = self._transport
            transport.close()
            self.after("close", CLOSE_GRACE, transport.abort)
        self._lost(reason, None)

    def _lost(self, reason: str, exc: Exception | None) -> None:
        """Everyone who waits learns that the connection is over, and why; the first reason counts."""
        if self.reason:
            return
        self.reason = reason
        self.leave(reason)
        if not self.sure.done():
            self.sure.set_result(None)
        self._fail_up(self._explain(reason, exc))
        self._speaker.on_lost(reason)

    def _fail_up(self, error: Exception) -> None:
        if not self.up.done():
            self.up.set_exception(error)
            self.up.exception()  # seen: whoever waits for it is told anyway, and nobody may wait

    def came_up(self) -> None:
        """The peer's SETTINGS are there."""
        if not self.up.done():
            self.cancel_timer("settings")
            self.up.set_result(None)

    def let_go(self) -> None:
        """The socket is gone, and nothing is asked of the speaker any more: strangers' connections, which may be very
        many, go at once, not when somebody looks for cycles."""
        del self._speaker, self._verify

    # -- timers

    def after(self, name: str, seconds: float, action: Callable[[], object]) -> None:
        """Do something later, once; a second timer of the same name replaces the first."""
        self.cancel_timer(name)
        self.timers[name] = self.loop.call_later(seconds, action)

    def cancel_timer(self, name: str) -> None:
        """Forget a timer, if it is set."""
        timer = self.timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _tick(self) -> None:
        if self.reason:
            return
        now, pulse = self.clock(), self.pulse
        interval = min(self.limits.held_interval[pulse.ours] if self.holds else math.inf, self.limits.ping_interval)
        if pulse.asked_at is None and self.up.done() and now - max(pulse.pinged_at, pulse.heard_at) >= interval:
            self._ask(now)
        self._speaker.on_tick(now)
        if not self.reason:
            self.after("tick", self.limits.tick, self._tick)

    # -- whether the peer is still there

    def expect(self, who: Hashable) -> None:
        """An answer is waited for from now on, until :meth:`expected`."""
        self.pulse.waits(who, self.clock())
        if "pulse" not in self.timers:
            self.after("pulse", self.limits.pulse.ask_after, self._look)

    def expected(self, who: Hashable) -> None:
        """Nobody waits for it any more."""
        self.pulse.done(who)

    def _look(self) -> None:
        """What the silence means by now. There is one timer for all that wait, and none while nobody does."""
        del self.timers["pulse"]
        if self.reason or not self.up.done():
            return
        now, pulse = self.clock(), self.pulse
        if pulse.since is None:
            return
        was_sure = not pulse.doubtful
        match pulse.judge(now, self._sent(now - pulse.since)):
            case Diagnosis.DEAD:
                self.abort(f"{self.peer_name} did not answer a ping within {now - pulse.since:.1f} s, so it was cut")
                return
            case Diagnosis.ASK:
                self._ask(now)
            case Diagnosis.DOUBT if was_sure:
                self.sure = self.loop.create_future()
                self._speaker.on_doubt()
        self._look_later(now)

    def _sent(self, since: float) -> Sent:
        sock = self._sock
        return Sent.QUIET if sock is None else judge_sent(unacknowledged(sock), last_acknowledged(sock), since)

    def _look_later(self, now: float) -> None:
        due = self.pulse.due(now)
        if due is not None and not self.reason:
            self.after("pulse", due, self._look)

    def _ask(self, now: float) -> None:
        self.pulse.asked(now)
        self._speaker.send_ping(struct.pack("!Q", int(now * 1e6)))
        self._look_later(now)


def _require_h2(ssl_object: ssl.SSLObject | None, peer_name: str) -> None:
    # PROTOCOL.md section 3: ALPN h2, accept a peer that offers none.
    chosen = ssl_object.selected_alpn_protocol() if ssl_object is not None else None
    if chosen not in (None, "h2"):
        raise TlsFailed(f"{peer_name} speaks {chosen}, not gRPC (h2)", hint="check the address and port")


def _loss(peer_name: str, exc: Exception | None) -> str:
    if exc is None:
        return f"{peer_name} closed the connection"
    text = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return f"the connection with {peer_name} broke" + f": {text}" * bool(text)

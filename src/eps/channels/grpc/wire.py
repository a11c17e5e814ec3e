"""One HTTP/2 connection over pinned mutual TLS, as an asyncio protocol: what client and server have in common.

Theory of operation. Bytes come in through :class:`~eps.channels.grpc.guard.FrameGuard`, whole frames go to h2, h2's
events go to the :class:`WireStream` that they concern. Each stream has one owner (a call, a handler), which waits on it
and releases it. Whoever ends the connection gives a reason; the first one counts, and every stream learns it at once.

Memory that a peer can make us hold, per connection: the frame that is coming in (16 KiB), 64 KiB for each of its
streams, MAX_BUFFERED_BYTES for the messages that are longer than that and were admitted, and what we are sending
(each owner bounds that). A message over 64 KiB is given, when its length is known and while there is room, all the
window it needs in one piece; those that find no room wait for their turn. So admitted messages always complete.

Written on h2 itself and not on grpclib: a graceful GOAWAY, refusals before buffering, and deadlines that never cancel
somebody else's task would have needed a dozen hooks into its private parts. There are none into h2's.
"""

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from eps.channels.grpc.framing import FramingError, Headers, headers_map
from eps.channels.grpc.guard import FrameGuard, GoAway, GuardLimits, Violation
from eps.channels.grpc.wire_stream import STREAM_WINDOW_BYTES, StreamLost, WireStream
from eps.errors import TlsFailed
from eps.transport.tls import PeerIdentity, peer_certificate

CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
"""Never the bottleneck: opened again as the bytes arrive. The streams' windows bound what is buffered."""

MAX_BUFFERED_BYTES = 32 * 1024 * 1024
"""Eight messages of the greatest size may come in at once on a connection; the next ones wait."""

MAX_STREAMS = 1_000
"""What we tell peers (SETTINGS_MAX_CONCURRENT_STREAMS); h2's 100 is less than our own broker sends at busy times."""

MAX_HEADER_LIST_BYTES = 16_384
"""Twice what gRPC peers accept from us; ids and names travel in messages, not in headers."""

HEADER_TABLE_BYTES = 4_096
"""HPACK's default table for what we send. A peer may offer more; h2 would take any amount."""

FLUSH_BYTES = 65_536
"""What is collected before it is handed to the transport within one turn of the event loop."""

CLOSE_GRACE = 1.0
"""Seconds for the last bytes and TLS's goodbye; then the socket is aborted."""


class _H2(H2Connection):
    """h2 with smaller memories."""

    DEFAULT_MAX_HEADER_LIST_SIZE = MAX_HEADER_LIST_BYTES
    MAX_CLOSED_STREAMS = 512  # of how streams ended, for frames that cross; 65,536 by default, for each connection


class _Silent:
    """A logger for h2, which calls one a dozen times per frame: the standard one costs a tenth of all our time."""

    def debug(self, *_args: object) -> None:
        pass

    def trace(self, *_args: object) -> None:
        pass


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Times in seconds.

    Attributes:
        settings_timeout: from the end of the TLS handshake to the peer's first SETTINGS.
        write_timeout: how long the peer may leave our bytes unread before it counts as frozen.
        ping_interval: we ping that long after the last ping or the last byte received.
        ping_timeout: no byte for that long after a ping: the peer is dead.
        tick: how often the above are looked at.
    """

    settings_timeout: float = 10.0
    write_timeout: float = 30.0
    ping_interval: float = 30.0
    ping_timeout: float = 15.0
    tick: float = 2.5
    guard: GuardLimits = field(default_factory=GuardLimits)


class Wire(asyncio.Protocol):
    """The connection. Subclasses say what a new stream, a GOAWAY and a tick mean.

    Args:
        client: whether we are the client.
        verify: given the peer's leaf (DER, or None), says who it is or raises TlsFailed. Called before anything is
            written.
        peer_name: how messages call the peer until it is known.
        limits: see there.

    Attributes:
        up: resolved with None at the peer's first SETTINGS; fails with TlsFailed or ConnectionError.
        closed: resolved with the reason when the socket is gone.
        leaving: resolved with the reason as soon as the connection takes no new streams.
        graceful: whether it was leaving, by a GOAWAY or by our own will, before it ended.
    """

    def __init__(
        self,
        *,
        client: bool,
        verify: Callable[[bytes | None], PeerIdentity],
        peer_name: str,
        limits: WireLimits,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = self.loop.time
        self.client = client
        self.peer_name = peer_name
        self.limits = limits
        self.peer: PeerIdentity | None = None
        self.up: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[str] = self.loop.create_future()
        self.leaving: asyncio.Future[str] = self.loop.create_future()
        self.graceful = False
        self.guard = FrameGuard(server=not client, clock=self.clock, limits=limits.guard)
        self.streams: dict[int, WireStream] = {}
        self.blocked: set[WireStream] = set()
        self.created_at = self.clock()
        self.h2 = self._make_h2()
        self._verify = verify
        self._transport: asyncio.Transport | None = None
        self._reason = ""
        self._writable = True
        self._flush_planned = False
        self._pending = 0
        self._extra = b""
        self._owed = 0
        self._buffered = 0
        self._admissions: deque[WireStream] = deque()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last_received = self.clock()
        self._last_ping = 0.0
        self._ping_unanswered = False

    def _make_h2(self) -> _H2:
        # header_encoding None: bytes, which can't fail to decode. Outbound headers are our own, and right.
        config = H2Configuration(
            client_side=self.client,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            logger=_Silent(),  # type: ignore[arg-type]  # what h2 calls of a logger, which is all its documentation asks
        )
        connection = _H2(config)
        connection.local_settings = Settings(
            client=self.client,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
            },
        )
        return connection

    # -- what subclasses say

    def on_request(self, stream: WireStream) -> None:
        """The peer opened a stream; its headers are there. A client never gets here: h2 refuses pushed streams."""

    def on_goaway(self, goaway: GoAway) -> None:
        """The peer said GOAWAY; its refused streams have learnt it."""

    def on_ping_ack(self, payload: bytes) -> None:
        """The peer answered a ping of ours."""

    def on_tick(self, now: float) -> None:
        """Every ``limits.tick`` seconds."""

    def on_released(self) -> None:
        """A stream is gone: there is room for another."""

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
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - STREAM_WINDOW_BYTES)
        self.flush()
        timeout = self.limits.settings_timeout
        self.after(
            "settings", timeout, lambda: self.abort(f"{self.peer_name} sent no HTTP/2 settings within {timeout:g} s")
        )
        self.after("tick", self.limits.tick, self._tick)

    def data_received(self, data: bytes) -> None:
        if self._reason:
            return
        self._last_received = self.clock()
        self._ping_unanswered = False
        try:
            for piece in self.guard.feed(data):
                if isinstance(piece, GoAway):
                    self._handle_goaway(piece)
                else:
                    for event in self.h2.receive_data(piece):
                        self._handle(event)
                if self._reason:
                    return
        except Violation as violation:
            self.cut(violation.code, f"{self.peer_name} was cut off: {violation}")
        except ProtocolError as error:
            self.end(f"{self.peer_name} broke the HTTP/2 protocol: {error}")  # h2 has its GOAWAY ready
        except Exception as error:  # noqa: BLE001 - whatever bytes a peer finds to upset h2 with, only its connection ends
            self.cut(ErrorCodes.INTERNAL_ERROR, f"{self.peer_name} sent what HTTP/2 does not allow: {error!r}")
        else:
            self._plan_flush()

    def eof_received(self) -> bool | None:
        return None  # the transport closes itself: with TLS there is no half-closed connection

    def pause_writing(self) -> None:
        self._writable = False
        timeout = self.limits.write_timeout
        self.after("write", timeout, lambda: self.abort(f"{self.peer_name} did not read for {timeout:g} s"))

    def resume_writing(self) -> None:
        self._writable = True
        self.cancel_timer("write")
        self._wake_blocked()

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

    def abort(self, reason: str) -> None:
        """End at once, without a word: for a peer that failed or froze."""
        self._lost(reason, None)
        if self._transport is not None:
            self._transport.abort()

    def cut(self, code: ErrorCodes, reason: str) -> None:
        """End with a GOAWAY that names an error."""
        if not self._reason:
            self._collect_goaway(code, self.h2.highest_inbound_stream_id)
            self.end(reason)

    def end(self, reason: str) -> None:
        """Send what is there to send, and close; abort if that takes long."""
        if not self._reason and self._transport is not None:
            self.flush()
            self._transport.close()
            transport = self._transport
            self.after("close", CLOSE_GRACE, transport.abort)
        self._lost(reason, None)

    def send_goaway(self, last_stream_id: int) -> None:
        """Say that streams above that one will not be processed; those up to it go on.

        Written by ourselves: h2's ``close_connection`` would end them all.
        """
        if not self._reason:
            self._collect_goaway(ErrorCodes.NO_ERROR, last_stream_id)
            self.flush()

    def _collect_goaway(self, code: ErrorCodes, last_stream_id: int) -> None:
        self._extra += GoAwayFrame(0, last_stream_id=last_stream_id, error_code=int(code)).serialize()

    def _lost(self, reason: str, exc: Exception | None) -> None:
        """Everyone who waits learns that the connection is over, and why; the first reason counts."""
        if self._reason:
            return
        self._reason = reason
        self.leave(reason)
        self._fail_up(self._up_error(reason, exc))
        for stream in list(self.streams.values()):
            stream.fail(StreamLost(reason))

    def _up_error(self, reason: str, exc: Exception | None) -> Exception:
        """What ``up`` fails with when the connection ends before the peer's SETTINGS."""
        return ConnectionError(reason)

    def _fail_up(self, error: Exception) -> None:
        if not self.up.done():
            self.up.set_exception(error)
            self.up.exception()  # seen: whoever waits for it is told anyway, and nobody may wait

    # -- events

    def _handle(self, event: h2.events.Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _on_request(self, event: h2.events.RequestReceived) -> None:
        stream = WireStream(self, event.stream_id)
        stream.headers = headers_map(event.headers)
        self.streams[stream.id] = stream
        self.on_request(stream)

    def _on_response(self, event: h2.events.ResponseReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.headers = headers_map(event.headers)
            stream.wake()

    def _on_trailers(self, event: h2.events.TrailersReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.trailers = headers_map(event.headers)

    def _on_data(self, event: h2.events.DataReceived) -> None:
        size = event.flow_controlled_length or 0
        self._owed += size
        if self._owed >= CONNECTION_WINDOW_BYTES // 4:
            self.h2.increment_flow_control_window(self._owed)
            self._owed = 0
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.feed(event.data or b"", size)

    def _on_stream_ended(self, event: h2.events.StreamEnded) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.finish()

    def _on_stream_reset(self, event: h2.events.StreamReset) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None and not event.remote_reset:
            stream.fail(StreamLost(f"{self.peer_name} broke the HTTP/2 protocol on the stream"))
        # gRPC servers may reset a stream behind its trailers: it has ended well then. Clients cancel so.
        elif stream is not None and not (stream.ended and self.client):
            code = int(event.error_code or 0)
            refused = code == ErrorCodes.REFUSED_STREAM
            text = f"{self.peer_name} broke off the stream ({_code_name(code)})"
            stream.fail(StreamLost(text, not_processed=refused))
        elif stream is not None:
            stream.sent_end = True  # what came in stays readable
            stream.wake()

    def _on_window(self, event: h2.events.WindowUpdated) -> None:
        if event.stream_id == 0:
            self._wake_blocked()
        elif (stream := self.streams.get(event.stream_id)) is not None and stream in self.blocked:
            stream.wake()

    def _on_ping_ack(self, event: h2.events.PingAckReceived) -> None:
        self.on_ping_ack(event.ping_data or b"")

    def _on_settings(self, event: h2.events.RemoteSettingsChanged) -> None:
        if not self.up.done():
            self.cancel_timer("settings")
            self.up.set_result(None)
        if self.h2.encoder.header_table_size > HEADER_TABLE_BYTES:
            self.h2.encoder.header_table_size = HEADER_TABLE_BYTES
        self._wake_blocked()

    def _handle_goaway(self, goaway: GoAway) -> None:
        name = _code_name(goaway.code)
        reason = f"{self.peer_name} ended the connection (GOAWAY {name}{': ' + goaway.text if goaway.text else ''})"
        self.leave(reason)
        for stream in list(self.streams.values()):
            if self.client and stream.id > goaway.last_stream_id:
                stream.fail(StreamLost(reason, not_processed=True))
        if goaway.code != ErrorCodes.NO_ERROR:
            # The peer closes now; if it doesn't, nothing more can be expected of it anyway.
            self.after("goaway", CLOSE_GRACE, lambda: self.abort(reason))
        self.on_goaway(goaway)

    # -- windows and memory

    def open_window(self, stream_id: int, more: int) -> None:
        """WINDOW_UPDATE for a stream; nothing if the stream is over."""
        if not self._reason and stream_id in self.h2.streams:
            try:
                self.h2.increment_flow_control_window(more, stream_id)
            except ProtocolError:
                return  # closed meanwhile
            self._plan_flush()

    def admit(self, stream: WireStream) -> None:
        """Give the stream the window that its message wants, now or when there is room."""
        self._admissions.append(stream)
        self._admit_waiting()

    def free(self, size: int) -> None:
        """An admitted message was taken."""
        self._buffered -= size
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        while self._admissions:
            stream = self._admissions[0]
            if self._buffered and self._buffered + stream.wanted > MAX_BUFFERED_BYTES:
                return
            self._admissions.popleft()
            if stream.wanted and stream.lost is None:
                self._buffered += stream.wanted
                more, stream.wanted = stream.wanted, 0
                stream.grant(more, reserve=True)

    # -- writing

    def write_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Headers or trailers on a stream that is open."""
        if self._reason:
            return
        if stream_id in self.h2.streams:
            try:
                self.h2.send_headers(stream_id, headers, end_stream=end)
            except ProtocolError:
                return  # the peer has closed the stream meanwhile
            self._plan_flush()

    def write_data(self, stream: WireStream, data: memoryview, *, end: bool) -> int:
        """Write as much of ``data`` as windows and the socket allow now; how much that was."""
        sent = 0
        while self._writable and not self._reason:
            try:
                room = min(
                    self.h2.local_flow_control_window(stream.id),
                    self.h2.max_outbound_frame_size,
                    FLUSH_BYTES,
                    len(data) - sent,
                )
                if room <= 0:
                    break
                last = sent + room == len(data)
                self.h2.send_data(stream.id, data[sent : sent + room], end_stream=end and last)
            except ProtocolError as error:
                stream.fail(StreamLost(f"the stream is over ({type(error).__name__})"))
                break
            self.guard.sent_data()
            sent += room
            self._pending += room
            if last:
                stream.sent_end = stream.sent_end or end
                break
            if self._pending >= FLUSH_BYTES:
                self.flush()
        self._plan_flush()
        return sent

    def write_reset(self, stream_id: int, code: ErrorCodes) -> None:
        """RST_STREAM, if h2 still knows the stream."""
        if not self._reason and stream_id in self.h2.streams:
            try:
                self.h2.reset_stream(stream_id, code)
            except ProtocolError:
                return  # closed meanwhile
            self._plan_flush()

    def flush(self) -> None:
        """Hand what h2 has collected to the transport."""
        self._flush_planned = False
        self._pending = 0
        if self._transport is None or self._transport.is_closing():
            return
        data = self.h2.data_to_send() + self._extra
        self._extra = b""
        if data:
            self._transport.write(data)

    def _plan_flush(self) -> None:
        """Flush at the end of this turn of the event loop: answers that are ready together share a TLS record."""
        if not self._flush_planned:
            self._flush_planned = True
            self.loop.call_soon(self.flush)

    def _wake_blocked(self) -> None:
        for stream in list(self.blocked):
            stream.wake()
        self.on_released()

    @property
    def writable(self) -> bool:
        """Whether the transport takes more."""
        return self._writable and not self._reason

    # -- streams

    def open_stream(self, headers: Headers) -> WireStream:
        """Open a stream with these headers (client).

        Raises:
            StreamLost: the connection has none left; it takes no new streams from now on.
        """
        try:
            stream = WireStream(self, self.h2.get_next_available_stream_id())
            self.h2.send_headers(stream.id, headers)
        except ProtocolError as error:
            self.leave(f"the connection with {self.peer_name} is used up")
            raise StreamLost(f"no stream left: {error}", not_processed=True) from error
        self.streams[stream.id] = stream
        self._plan_flush()
        return stream

    def forget(self, stream: WireStream) -> None:
        """The stream's owner is done with it."""
        self.streams.pop(stream.id, None)
        self.blocked.discard(stream)
        self.on_released()

    def refuse(self, stream: WireStream, error: FramingError) -> None:
        """A message on this stream is refused: end it before anything is buffered. Servers answer with a status."""
        stream.reset(ErrorCodes.ENHANCE_YOUR_CALM, str(error), refused=True)

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
            self.h2.ping(struct.pack("!Q", int(now * 1e6)))
            self.flush()
        self.on_tick(now)
        if not self._reason:
            self.after("tick", self.limits.tick, self._tick)


_HANDLERS: dict[type[h2.events.Event], Callable[..., None]] = {
    h2.events.RequestReceived: Wire._on_request,
    h2.events.ResponseReceived: Wire._on_response,
    h2.events.TrailersReceived: Wire._on_trailers,
    h2.events.DataReceived: Wire._on_data,
    h2.events.StreamEnded: Wire._on_stream_ended,
    h2.events.StreamReset: Wire._on_stream_reset,
    h2.events.WindowUpdated: Wire._on_window,
    h2.events.RemoteSettingsChanged: Wire._on_settings,
    h2.events.PingAckReceived: Wire._on_ping_ack,
}
"""Everything else (acknowledged settings, priorities, pings, which h2 answers, unknown frames) needs nothing of us."""


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


def _code_name(code: int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"

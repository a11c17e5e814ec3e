"""One HTTP/2 connection over a link: what client and server have in common.

Theory of operation. A wire has a :class:`~eps.grpc.link.Link`, over which it speaks, and belongs to somebody with
opinions (:class:`~eps.grpc.owner.Owner`: the client's side in ``dialled``, the server's in ``accepted``), who learns
what a stream or a GOAWAY means for it. Bytes come in through :class:`~eps.grpc.guard.FrameGuard`, whole frames go to
h2, h2's events go to the :class:`WireStream` that they concern. Each stream has one holder (a call, a handler), which
waits on it and releases it. When the connection ends, every stream learns it at once, with the reason.

Memory that a peer can make us hold. Per connection: the frame that is coming in (16 KiB), and twice 64 KiB for each of
its streams. Per peer, which is a connection where we are the client, and all connections with one certificate where we
are the server (:class:`~eps.grpc.admission.PeerMemory`): admission.MAX_BUFFERED_BYTES for longer messages. The
server bounds three things more for each peer: the streams of all its connections (server.MAX_PEER_STREAMS, so 64 KiB
each way and stream make 512 MiB at most), requests in the hands of handlers (admission.MAX_HANDLED_BYTES, some 1.2 GiB
as Python objects in the worst case, some 130 MiB of text), and unread answers (accepted.MAX_OUTGOING_BYTES).

A message over 64 KiB is given, when its length is known and while there is room, all the window it needs in one piece;
those that find no room wait for their turn. So admitted messages always complete. What was reserved for a message is
free again when its owner takes it.

Written on h2 itself and not on grpclib: a graceful GOAWAY, refusals before buffering, and deadlines that never cancel
somebody else's task would have needed a dozen hooks into its private parts. There are none into h2's.
"""

from collections.abc import Callable, Mapping

import h2.events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

from eps.grpc.admission import Admission
from eps.grpc.framing import FramingError, Headers, headers_map
from eps.grpc.guard import FrameGuard, GoAway, Violation
from eps.grpc.http2 import HEADER_TABLE_BYTES, forgotten, http2
from eps.grpc.link import CLOSE_GRACE, Link, WireLimits, never_up
from eps.grpc.owner import Owner
from eps.grpc.pace import Pace
from eps.grpc.streams import STREAMS_KEY
from eps.grpc.wire_stream import STREAM_WINDOW_BYTES, StreamLost, WireStream
from eps.transport.tls import PeerIdentity

CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
"""Never the bottleneck: opened again as the bytes arrive. The streams' windows bound what is buffered."""

PIECE_BYTES = 16_384
"""What a stream may write at a time while others wait: the largest frame of RFC 9113's default, and a TLS record. It is
also what is handed to the transport at once: what waits below TLS is late for everybody."""


class Wire:
    """HTTP/2 over a link: its speaker, and what carries its streams.

    Args:
        owner: is told what happens.
        client: whether we are the client.
        verify, peer_name, limits, explain: see Link.

    Attributes:
        link: what it speaks over.
        admission: room for long messages; an owner may put one there that several wires share.
        may_be_asked: whether the peer takes the questions of :class:`~eps.grpc.pace.Pace`: those in use take few.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        client: bool,
        verify: Callable[[bytes | None], PeerIdentity],
        peer_name: str,
        limits: WireLimits,
        explain: Callable[[str, Exception | None], Exception] = never_up,
    ) -> None:
        self.link = Link(self, verify=verify, peer_name=peer_name, limits=limits, explain=explain)
        self.client = client
        self.loop = self.link.loop
        self.clock = self.link.clock
        self.stall_timeout = limits.stall_timeout
        self.guard = FrameGuard(server=not client, clock=self.clock, limits=limits.guard)
        self.h2 = http2(client=client)
        self.streams: dict[int, WireStream] = {}
        self.blocked: dict[WireStream, None] = {}
        self._turns: dict[WireStream, None] = {}  # those of them that wait for the socket only, whoever is next first
        self.admission = Admission()
        self._pace = Pace()
        self.may_be_asked = False
        self._owner = owner
        self._flush_planned = False
        self._pending = 0
        self._extra = b""
        self._owed = 0

    @property
    def peer_name(self) -> str:
        """How messages call the peer."""
        return self.link.peer_name

    # -- the link's side

    def begin(self) -> None:
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - STREAM_WINDOW_BYTES)
        self.flush()

    def receive(self, data: bytes) -> None:
        try:
            for piece in self.guard.feed(data):
                if isinstance(piece, GoAway):
                    self._handle_goaway(piece)
                else:
                    for event in self.h2.receive_data(piece):
                        self._handle(event)
                if self.link.reason:
                    return
        except Violation as violation:
            self.cut(violation.code, f"{self.peer_name} was cut off: {violation}")
        except ProtocolError as error:
            self.link.end(f"{self.peer_name} broke the HTTP/2 protocol: {error}")  # h2 has its GOAWAY ready
        except Exception as error:  # noqa: BLE001 - whatever bytes a peer finds to upset h2 with, only its connection ends
            self.cut(
                ErrorCodes.INTERNAL_ERROR,
                f"{self.peer_name} sent what HTTP/2 does not allow: {error or 'no more is known'}",
            )
        else:
            self._plan_flush()

    def send_ping(self, payload: bytes) -> None:
        self.h2.ping(payload)
        self.flush()

    def on_writable(self) -> None:
        self._owner.on_writable()  # new calls first: most are small, and a large one waits behind its first piece
        self._next_turns()

    def _next_turns(self) -> None:
        for stream in list(self._turns):
            if stream in self.blocked:
                stream.wake()
            else:  # it was given up meanwhile
                del self._turns[stream]

    def on_doubt(self) -> None:
        self._owner.on_doubt()

    def on_lost(self, reason: str) -> None:
        for stream in list(self.streams.values()):
            stream.fail(StreamLost(reason))

    def on_tick(self, now: float) -> None:
        self._owner.on_tick(now)

    def on_gone(self) -> None:
        if not self.client and not self.streams:
            del self._owner
            self.link.let_go()
            self.h2 = forgotten(self.h2)

    # -- ends

    def end_if_idle(self) -> None:
        """End a connection that takes no new streams and has none left."""
        link = self.link
        if link.leaving.done() and not self.streams and not link.reason:
            link.end(link.leaving.result())

    def cut(self, code: ErrorCodes, reason: str) -> None:
        """End with a GOAWAY that names an error."""
        if not self.link.reason:
            self._owner.on_cut(reason)
            self._collect_goaway(code, self.h2.highest_inbound_stream_id)
            self.link.end(reason)

    def send_goaway(self, last_stream_id: int) -> None:
        """Say that streams above that one will not be processed; those up to it go on.

        Written by ourselves: h2's ``close_connection`` would end them all.
        """
        if not self.link.reason:
            self._collect_goaway(ErrorCodes.NO_ERROR, last_stream_id)
            self.flush()

    def _collect_goaway(self, code: ErrorCodes, last_stream_id: int) -> None:
        self._extra += GoAwayFrame(0, last_stream_id=last_stream_id, error_code=int(code)).serialize()

    # -- events

    def _handle(self, event: h2.events.Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _on_request(self, event: h2.events.RequestReceived) -> None:
        stream = WireStream(self, event.stream_id)
        stream.headers = headers_map(event.headers)
        self._look_whether_ours(stream.headers)
        self.streams[stream.id] = stream
        self._owner.on_request(stream)

    def _on_response(self, event: h2.events.ResponseReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.headers = headers_map(event.headers)
            self._look_whether_ours(stream.headers)
            stream.wake()

    def _look_whether_ours(self, headers: Mapping[str, str]) -> None:
        if STREAMS_KEY in headers:
            self.may_be_asked = self.link.pulse.ours = True

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
            # Whoever has begun to answer has looked at the request, whatever it says afterwards.
            refused = code == ErrorCodes.REFUSED_STREAM and stream.headers is None
            text = f"{self.peer_name} broke off the stream ({_code_name(code)})"
            stream.fail(StreamLost(text, not_processed=refused))
        elif stream is not None:
            stream.sent_end = True  # what came in stays readable
            stream.wake()

    def _on_window(self, event: h2.events.WindowUpdated) -> None:
        if event.stream_id == 0:
            self._turns.update(dict.fromkeys(self.blocked))  # whoever has a place keeps it
            self.on_writable()
        elif (stream := self.streams.get(event.stream_id)) is not None and stream in self.blocked:
            stream.wake()

    def _on_ping_ack(self, event: h2.events.PingAckReceived) -> None:
        payload = event.ping_data or b""
        if self._pace.answered(payload, self.clock()):
            self._ask_what_arrived()
            self._next_turns()
        else:
            self._owner.on_ping_ack(payload)

    def _on_settings(self, event: h2.events.RemoteSettingsChanged) -> None:
        self.link.came_up()
        if self.h2.encoder.header_table_size > HEADER_TABLE_BYTES:
            self.h2.encoder.header_table_size = HEADER_TABLE_BYTES
        self.on_writable()

    def _handle_goaway(self, goaway: GoAway) -> None:
        name = _code_name(goaway.code)
        reason = f"{self.peer_name} ended the connection (GOAWAY {name}{': ' + goaway.text if goaway.text else ''})"
        self.link.leave(reason)
        for stream in list(self.streams.values()):
            if self.client and stream.id > goaway.last_stream_id:
                stream.fail(StreamLost(reason, not_processed=stream.headers is None))
        if goaway.code != ErrorCodes.NO_ERROR:
            # The peer closes now; if it doesn't, nothing more can be expected of it anyway.
            self.link.after("goaway", CLOSE_GRACE, lambda: self.link.abort(reason))
        self._owner.on_goaway()

    # -- windows and memory

    def open_window(self, stream_id: int, more: int) -> None:
        """WINDOW_UPDATE for a stream; nothing if the stream is over."""
        if not self.link.reason and stream_id in self.h2.streams:
            try:
                self.h2.increment_flow_control_window(more, stream_id)
            except ProtocolError:
                return  # closed meanwhile
            self._plan_flush()

    # -- writing

    def write_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Headers or trailers on a stream that is open."""
        if self.link.reason:
            return
        if stream_id in self.h2.streams:
            try:
                self.h2.send_headers(stream_id, headers, end_stream=end)
            except ProtocolError:
                return  # the peer has closed the stream meanwhile
            self._plan_flush()

    def write_data(self, stream: WireStream, data: memoryview, *, end: bool) -> int:
        """Write as much of ``data`` as windows, the socket and the line's pace allow now, but one piece if others wait
        for the socket; how much that was."""
        paced = len(data) > PIECE_BYTES and self.may_be_asked
        allowed = min(len(data), self._pace.room(self.clock())) if paced else len(data)
        sent, room = 0, 1
        others = len(self._turns) > (stream in self._turns)
        while self.link.writable and sent < allowed and not (sent and others):
            try:
                room = min(
                    self.h2.local_flow_control_window(stream.id),
                    self.h2.max_outbound_frame_size,
                    PIECE_BYTES,
                    allowed - sent,
                )
                if room <= 0:
                    break
                last = sent + room == len(data)
                self.h2.send_data(stream.id, data[sent : sent + room], end_stream=end and last)
            except ProtocolError:
                stream.fail(StreamLost("the stream is over"))
                break
            self.guard.sent_data()
            sent += room
            self._pending += room
            if last:
                stream.sent_end = stream.sent_end or end
                break
            if self._pending >= PIECE_BYTES:
                self.flush()
        if paced and sent:
            self._pace.wrote(sent, self.clock())
            self._ask_what_arrived()
        self._wait_for_turn(stream, sent, waits=room > 0 and sent < len(data))
        self._plan_flush()
        return sent

    def _ask_what_arrived(self) -> None:
        now = self.clock()
        if self._pace.is_question_due(now):
            self.h2.ping(self._pace.ask(now))
            self.guard.sent_ping()
            self._plan_flush()

    def _wait_for_turn(self, stream: WireStream, sent: int, *, waits: bool) -> None:
        """Whoever wrote something goes to the end of those that wait, whoever came in vain keeps its place."""
        if sent or not waits:
            self._turns.pop(stream, None)
        if waits:
            self._turns.setdefault(stream)
            if self.link.writable and not self._pace.is_full:
                self.loop.call_soon(self._next_turns)

    def write_reset(self, stream_id: int, code: ErrorCodes) -> None:
        """RST_STREAM, if h2 still knows the stream."""
        if not self.link.reason and stream_id in self.h2.streams:
            try:
                self.h2.reset_stream(stream_id, code)
            except ProtocolError:
                return  # closed meanwhile
            self._plan_flush()

    def flush(self) -> None:
        """Hand what h2 has collected to the transport."""
        self._flush_planned = False
        self._pending = 0
        data = self.h2.data_to_send() + self._extra
        self._extra = b""
        self.link.write(data)

    def _plan_flush(self) -> None:
        """Flush at the end of this turn of the event loop: answers that are ready together share a TLS record."""
        if not self._flush_planned:
            self._flush_planned = True
            self.loop.call_soon(self.flush)

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
            self.link.leave(f"the connection with {self.peer_name} is used up")
            raise StreamLost(f"no stream left: {error}", not_processed=True) from error
        self.streams[stream.id] = stream
        self._plan_flush()
        return stream

    def forget(self, stream: WireStream) -> None:
        """The stream's holder is done with it."""
        self.blocked.pop(stream, None)
        self._turns.pop(stream, None)
        if self.streams.pop(stream.id, None) is not None:
            self._owner.on_released()

    def refuse(self, stream: WireStream, error: FramingError) -> None:
        """A message on this stream is refused."""
        self._owner.on_refused(stream, error)

    def messages_completed(self, number: int) -> None:
        """So many messages came in whole."""
        self.guard.messages_completed(number)


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


def _code_name(code: int) -> str:
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"

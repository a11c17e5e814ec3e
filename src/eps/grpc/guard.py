"""What a peer may make us do: frames are counted before h2 sees them, and before anything is buffered for long.

Theory of operation. h2 limits header lists, CONTINUATION frames and streams, and nothing else: half a megabyte of
RST_STREAM frames stalls an unguarded event loop for seconds. So every byte of a connection passes through a
:class:`FrameGuard` first. It splits the bytes into HTTP/2 frames (RFC 9113 section 4.1; nine bytes of header say all
that it needs), counts the kinds that cost more than they say, and hands on whole frames only. GOAWAY frames, which are
counted like the others, never reach h2, whose state machine ends the connection on any of them; RFC 9113 section 6.8
lets calls in flight finish.

Each counted kind has a bucket of tokens that fills again with time, so that a connection that lives for a day is not
cut for what it did in that day. Kinds that honest peers send in proportion to the data that flows (PING, for bandwidth
estimates; WINDOW_UPDATE) earn tokens with that data.

Bytes in, bytes out: no socket, and the clock is an argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from h2.errors import ErrorCodes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 section 3.4: what a client sends first."""

FRAME_HEADER_BYTES = 9

MAX_FRAME_BYTES = 16_384
"""RFC 9113's smallest allowed SETTINGS_MAX_FRAME_SIZE, and its default: we never raise ours. A longer frame is refused
as soon as its header is read; h2 would buffer up to 16 MiB of it first."""

MAX_HEADER_BLOCK_BYTES = 32_768
"""HEADERS and its CONTINUATIONs, compressed. Twice what we accept uncompressed (http2.MAX_HEADER_LIST_BYTES): coding
may add a little, never that much."""

HTTP_1 = b"HTTP/1."
"""How servers answer that know no HTTP/2. Their refusals reach us before anything else of theirs."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""RFC 9113 section 6, in the order of their type codes."""

END_STREAM = 0x1
PADDED = 0x8


class FrameKind(StrEnum):
    """What is counted."""

    RAPID_RESET = "rapid RST_STREAM"
    RESET = "RST_STREAM"
    PING = "PING"
    SETTINGS = "SETTINGS"
    PRIORITY = "PRIORITY"
    GOAWAY = "GOAWAY"
    EMPTY_DATA = "empty DATA"
    FRAGMENT = "tiny DATA"
    WINDOW_UPDATE = "WINDOW_UPDATE"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """How many frames of each kind a connection may send at once; as many again come free in each ``window`` seconds.

    A frame costs us 20–100 µs, a call that is begun and reset 300 µs: the worst mixture of these takes a few percent of
    a core for as long as it lasts.
    """

    window: float = 10.0
    rapid_resets: int = 500  # of streams opened within the last second (CVE-2023-44487); few deadlines are that short
    resets: int = 5_000  # all: a client with a thousand calls in flight resets them all when their deadline passes
    pings: int = 100  # plus one for each DATA or HEADERS frame, and each of ours: gRPC peers estimate bandwidth so
    settings: int = 50  # gRPC peers change their window size now and then
    priorities: int = 100  # gRPC peers send none
    goaways: int = 20  # RFC 9113 section 6.8: a warning, then the last stream, an error perhaps
    empty_data: int = 500  # C-core ends a stream with an empty DATA frame; with END_STREAM it is not counted
    fragments: int = 2_000  # DATA frames; 1 KiB of data earns one back, and so does a complete message
    window_updates: int = 2_000  # plus four for each DATA frame that we sent
    unknown: int = 200  # RFC 9113 section 4.1: unknown types are ignored (section 5.5 lets us treat floods as errors)

    def of(self, kind: FrameKind) -> int:
        """The limit of one kind."""
        return {
            FrameKind.RAPID_RESET: self.rapid_resets,
            FrameKind.RESET: self.resets,
            FrameKind.PING: self.pings,
            FrameKind.SETTINGS: self.settings,
            FrameKind.PRIORITY: self.priorities,
            FrameKind.GOAWAY: self.goaways,
            FrameKind.EMPTY_DATA: self.empty_data,
            FrameKind.FRAGMENT: self.fragments,
            FrameKind.WINDOW_UPDATE: self.window_updates,
            FrameKind.UNKNOWN: self.unknown,
        }[kind]


class Violation(Exception):
    """The peer did what no connection survives: it must be cut with ``code``. ``str()`` says why."""

    def __init__(self, code: ErrorCodes, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class GoAway:
    """A GOAWAY frame (RFC 9113 section 6.8): no stream above ``last_stream_id`` was or will be processed."""

    last_stream_id: int
    code: int
    text: str


class _Bucket:
    """Tokens for one kind of frame: ``limit`` at most, filling up within ``window`` seconds."""

    __slots__ = ("_at", "_limit", "_rate", "_tokens")

    def __init__(self, limit: int, window: float, now: float) -> None:
        self._limit = float(limit)
        self._rate = limit / window
        self._tokens = self._limit
        self._at = now

    def take(self, now: float) -> bool:
        self._tokens = min(self._limit, self._tokens + (now - self._at) * self._rate) - 1.0
        self._at = now
        return self._tokens >= 0.0

    def earn(self, tokens: float) -> None:
        self._tokens = min(self._limit, self._tokens + tokens)


RAPID_SECONDS = 1.0
"""A stream that is reset this soon after it was opened was hardly meant."""

_COUNTED = {
    RST_STREAM: FrameKind.RESET,
    PING: FrameKind.PING,
    SETTINGS: FrameKind.SETTINGS,
    PRIORITY: FrameKind.PRIORITY,
    WINDOW_UPDATE: FrameKind.WINDOW_UPDATE,
}


class FrameGuard:
    """The filter of one connection's incoming bytes.

    Args:
        server: whether we are the server, so that the client's preface comes first.
        clock: monotonic seconds.
        limits: see there.
    """

    def __init__(self, *, server: bool, clock: Callable[[], float], limits: GuardLimits | None = None) -> None:
        limits = limits or GuardLimits()
        self._clock = clock
        self._buffer = bytearray()
        self._preface_left = len(PREFACE) if server else 0
        self._block = 0
        self._server = server
        self._highest_stream = 0
        # Streams that the client opened within RAPID_SECONDS, and when; oldest first.
        self.young: dict[int, float] = {}
        self._buckets = {kind: _Bucket(limits.of(kind), limits.window, clock()) for kind in FrameKind}
        self._ping_bucket = self._buckets[FrameKind.PING]
        self._window_bucket = self._buckets[FrameKind.WINDOW_UPDATE]
        self._fragments = self._buckets[FrameKind.FRAGMENT]

    def _oversized(self, begin: bytearray) -> str:
        if begin == HTTP_1 and not self._server:
            return "it answers in HTTP/1, so what we dialled is no gRPC port; its JSON-RPC port, or metrics?"
        return f"a frame over {MAX_FRAME_BYTES} bytes"

    def feed(self, data: bytes) -> list[bytes | GoAway]:
        """Take what came in; return whole frames for h2, as few pieces as possible, with GOAWAYs in their place.

        An incomplete frame (at most 16 KiB) waits for the next call.

        Raises:
            Violation: the connection must be cut. Nothing of ``data`` is returned then.
        """
        self._buffer += data
        pieces: list[bytes | GoAway] = []
        if self._preface_left and not self._skip_preface(pieces):
            return pieces
        buffer = self._buffer
        start = position = 0
        while len(buffer) - position >= FRAME_HEADER_BYTES:
            end = (
                position
                + FRAME_HEADER_BYTES
                + (buffer[position] << 16 | buffer[position + 1] << 8 | buffer[position + 2])
            )
            if end - position - FRAME_HEADER_BYTES > MAX_FRAME_BYTES:
                raise Violation(ErrorCodes.FRAME_SIZE_ERROR, self._oversized(buffer[position : position + len(HTTP_1)]))
            if end > len(buffer):
                break
            if buffer[position + 3] == GOAWAY:
                self._count(FrameKind.GOAWAY)
                if start < position:
                    pieces.append(bytes(buffer[start:position]))
                pieces.append(_goaway(buffer[position:end]))
                start = end
            else:
                self._inspect(position, end)
            position = end
        if start < position:
            pieces.append(bytes(buffer[start:position]))
        del buffer[:position]
        return pieces

    def _count(self, kind: FrameKind) -> None:
        if not self._buckets[kind].take(self._clock()):
            raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, f"too many {kind.value} frames")

    def sent_data(self) -> None:
        """We sent a DATA frame: the peer answers with WINDOW_UPDATEs."""
        self._window_bucket.earn(4.0)

    def sent_ping(self) -> None:
        """We sent a PING: the peer answers with one."""
        self._ping_bucket.earn(1.0)

    def messages_completed(self, number: int) -> None:
        """The data so far completed messages: it was no dribble."""
        self._fragments.earn(number)

    def _skip_preface(self, pieces: list[bytes | GoAway]) -> bool:
        """Compare what is there of the preface; True when it is complete and handed on."""
        seen = bytes(self._buffer[: self._preface_left])
        if not PREFACE.startswith(seen):
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "not an HTTP/2 client")
        if len(seen) < len(PREFACE):
            return False
        pieces.append(seen)
        del self._buffer[: len(PREFACE)]
        self._preface_left = 0
        return True

    def _inspect(self, position: int, end: int) -> None:
        """Count one whole frame, which lies at ``position`` to ``end`` of the buffer."""
        buffer = self._buffer
        kind, flags, length = buffer[position + 3], buffer[position + 4], end - position - FRAME_HEADER_BYTES
        if kind == DATA:
            payload = length - 1 - buffer[position + FRAME_HEADER_BYTES] if flags & PADDED and length else length
            if payload > 0:
                self._ping_bucket.earn(1.0)
                self._fragments.earn(payload / 1024)
                self._count(FrameKind.FRAGMENT)
            elif not flags & END_STREAM:
                self._count(FrameKind.EMPTY_DATA)
        elif kind in (HEADERS, CONTINUATION):
            self._ping_bucket.earn(1.0)
            if self._server and kind == HEADERS:
                self._note_opened(int.from_bytes(buffer[position + 5 : position + 9], "big"))
            self._block = length if kind == HEADERS else self._block + length
            if self._block > MAX_HEADER_BLOCK_BYTES:
                raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, f"a header block over {MAX_HEADER_BLOCK_BYTES} bytes")
        elif kind != PUSH_PROMISE:
            if kind == RST_STREAM and self._is_young(int.from_bytes(buffer[position + 5 : position + 9], "big")):
                self._count(FrameKind.RAPID_RESET)
            self._count(_COUNTED.get(kind, FrameKind.UNKNOWN))

    def _note_opened(self, stream_id: int) -> None:
        if stream_id <= self._highest_stream:
            return  # trailers
        self._highest_stream = stream_id
        now = self._clock()
        while self.young and now - next(iter(self.young.values())) >= RAPID_SECONDS:
            del self.young[next(iter(self.young))]
        self.young[stream_id] = now

    def _is_young(self, stream_id: int) -> bool:
        opened = self.young.pop(stream_id, None)
        return opened is not None and self._clock() - opened < RAPID_SECONDS


def _goaway(frame: bytes | bytearray) -> GoAway:
    if len(frame) < FRAME_HEADER_BYTES + 8 or any(frame[5:9]):
        raise Violation(ErrorCodes.PROTOCOL_ERROR, "a malformed GOAWAY frame")
    last_stream_id = int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF
    text = bytes(frame[17:217]).decode("ascii", "replace")
    return GoAway(last_stream_id, int.from_bytes(frame[13:17], "big"), text)

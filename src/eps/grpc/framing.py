"""gRPC on top of HTTP/2: message frames, statuses and metadata, as bytes and values.

From the gRPC specification "gRPC over HTTP2" (PROTOCOL-HTTP2.md of the gRPC project).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import quote, unquote

from eps.core.limits import MAX_MESSAGE_BYTES

PREFIX_BYTES = 5
"""One byte of flags, four bytes of length."""

MAX_STATUS_TEXT_BYTES = 2048
"""Of ``grpc-message``: peers refuse header lists over 8 or 16 KiB, and percent encoding triples some bytes."""

Headers = list[tuple[bytes, bytes]]


class Status(IntEnum):
    """gRPC status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class FramingError(Exception):
    """A message that is refused; ``status`` is what the one who sent it is told. ``str()`` says why."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


def frame(message: bytes) -> bytes:
    """A message with its prefix, uncompressed.

    Raises:
        FramingError: it is over the limit.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise FramingError(Status.RESOURCE_EXHAUSTED, _too_long(len(message)))
    return b"\0" + len(message).to_bytes(4, "big") + message


class Assembler:
    """Messages out of DATA frames, cut anywhere. Refuses by the prefix, before the message is buffered."""

    __slots__ = ("_buffer", "_length", "messages_seen")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None
        self.messages_seen = 0

    @property
    def missing(self) -> int:
        """How many bytes of the message that has begun are still to come; 0 between messages."""
        if self._length is None:
            return PREFIX_BYTES - len(self._buffer) if self._buffer else 0
        return self._length - len(self._buffer)

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._length is not None or bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes.

        Raises:
            FramingError: one is compressed or declares more than 4 MiB.
        """
        self._buffer += data
        complete: list[bytes] = []
        while True:
            if self._length is None:
                if len(self._buffer) < PREFIX_BYTES:
                    return complete
                self._length = _length(self._buffer)
                del self._buffer[:PREFIX_BYTES]
            if len(self._buffer) < self._length:
                return complete
            complete.append(bytes(self._buffer[: self._length]))
            del self._buffer[: self._length]
            self._length = None
            self.messages_seen += 1


def _length(prefix: bytearray) -> int:
    length = int.from_bytes(prefix[1:PREFIX_BYTES], "big")
    if prefix[0] != 0:
        raise FramingError(Status.UNIMPLEMENTED, "the message is compressed, which was not agreed on")
    if length > MAX_MESSAGE_BYTES:
        raise FramingError(Status.RESOURCE_EXHAUSTED, _too_long(length))
    return length


def _too_long(length: int) -> str:
    return f"the message has {length:,} bytes, the limit is {MAX_MESSAGE_BYTES:,} (4 MiB)"


@dataclass(frozen=True, slots=True)
class StatusLine:
    """How a call ended: ``grpc-status`` and ``grpc-message``."""

    status: Status
    text: str


def request_headers(path: str, authority: str, timeout: float | None, metadata: Mapping[str, str]) -> Headers:
    """The headers that open a call. ``timeout`` in seconds goes along as ``grpc-timeout``."""
    headers: Headers = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"eps-grpc/1"),
    ]
    if timeout is not None:
        headers.append((b"grpc-timeout", _render_timeout(timeout)))
    headers.extend((key.encode(), value.encode()) for key, value in metadata.items())
    return headers


def response_headers(metadata: Mapping[str, str]) -> Headers:
    """The headers that open an answer."""
    headers: Headers = [(b":status", b"200"), (b"content-type", b"application/grpc")]
    headers.extend((key.encode(), value.encode()) for key, value in metadata.items())
    return headers


def trailers(status: Status, text: str = "") -> Headers:
    """What ends an answer."""
    headers: Headers = [(b"grpc-status", str(int(status)).encode())]
    if text:
        cut = text.encode("utf-8", "replace")[:MAX_STATUS_TEXT_BYTES].decode("utf-8", "ignore")
        headers.append((b"grpc-message", quote(cut, safe=_PLAIN).encode()))
    return headers


_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def read_status(headers: Mapping[str, str]) -> StatusLine:
    """The status in trailers, or in the headers of an answer that is nothing but a status."""
    number = headers.get("grpc-status", "")
    text = unquote(headers.get("grpc-message", ""), errors="replace")
    if not number.isascii() or not number.isdigit() or len(number) > 3:
        return StatusLine(Status.UNKNOWN, text or "the answer carries no gRPC status")
    known = int(number) in Status.__members__.values()
    return StatusLine(Status(int(number)) if known else Status.UNKNOWN, text)


def headers_map(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as text; the first of equal names counts."""
    result: dict[str, str] = {}
    for key, value in headers:
        result.setdefault(key.decode("latin-1"), value.decode("latin-1"))
    return result


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """What is left without HTTP's and gRPC's own headers."""
    own = {"te", "content-type", "user-agent", "content-length", "date"}
    return {key: value for key, value in headers.items() if key not in own and not key.startswith((":", "grpc-"))}


_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def read_timeout(value: str) -> float:
    """``grpc-timeout`` in seconds.

    Raises:
        FramingError: it is malformed.
    """
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise FramingError(Status.INVALID_ARGUMENT, f"malformed grpc-timeout {value[:20]!r}")
    return int(match[1]) * _UNITS[match[2]]


def _render_timeout(seconds: float) -> bytes:
    # Rounded up to whole seconds where that changes little: equal values are compressed to one byte.
    if seconds >= 10:
        return b"%dS" % min(-int(-seconds // 1), 99_999_999)
    return b"%dm" % max(1, int(seconds * 1000))

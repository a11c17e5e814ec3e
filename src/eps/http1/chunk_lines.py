"""The lines between a body's chunks (RFC 9112, section 7.1), before h11 parses them: what is refused, or mended.

h11 looks for CR LF alone: a line that ends otherwise would be waited for until a deadline, though it is there.

    size ─▶ data ─▶ its line end ─▶ size … ─▶ the size 0 ─▶ trailers ─▶ an empty line ─▶ what is behind
"""

import re
from collections.abc import Iterator
from enum import Enum, auto

from h11 import RemoteProtocolError

from eps.http1.heads import controls_in, without_space_before_colon

MAX_LINE = 16 * 1024
"""Bytes of a line between chunks: servers in use take 4 to 16 KiB, and what drips in is looked at with each byte."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,20})[ \t]*(?:;.*)?")
_FORBIDDEN = "a line between its chunks has characters or an end that HTTP forbids"
_BEGIN_OF_SIZE = re.compile(rb"[0-9A-Fa-f]")


class _Next(Enum):
    SIZE = auto()
    DATA = auto()
    LINE_END = auto()
    TRAILER = auto()
    OVER = auto()


class ChunkLines:
    """Of one body.

    Args:
        mends: lines may end with LF alone, and trailers have spaces before their colon: so in answers, as in their
            heads (``http1.heads``).
    """

    def __init__(self, *, mends: bool) -> None:
        self._mends = mends
        self._next = _Next.SIZE
        self._left = 0

    def take(self, received: bytearray) -> bytes:
        """What h11 can be given of ``received``, from which it is taken; a line only when it is whole.

        Raises:
            RemoteProtocolError: a line is none that may stand there.
        """
        return b"".join(self._parts(received))

    def _parts(self, received: bytearray) -> Iterator[bytes]:
        while received:
            size = self._left if self._next is _Next.DATA else len(received)
            is_line = self._next not in (_Next.DATA, _Next.OVER)
            if is_line and not (size := received.find(b"\n") + 1):
                return self._check_begin(received)
            part = bytes(received[:size])
            del received[:size]
            yield self._line(part) if is_line else self._data(part)

    def _data(self, part: bytes) -> bytes:
        self._left -= len(part)
        if self._next is _Next.DATA and not self._left:
            self._next = _Next.LINE_END
        return part

    def _line(self, line: bytes) -> bytes:
        if controls_in(line) or not (self._mends or line.endswith(b"\r\n")):
            raise RemoteProtocolError(_FORBIDDEN)
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if self._next is _Next.TRAILER:
            self._next = _Next.TRAILER if text else _Next.OVER
            return (without_space_before_colon(text) if self._mends else text) + b"\r\n"
        if self._next is _Next.LINE_END:
            if text:
                raise RemoteProtocolError("a chunk of its body is longer than was told")
            self._next = _Next.SIZE
            return b"\r\n"
        size = _SIZE.fullmatch(text)
        if size is None:
            raise RemoteProtocolError("a chunk of its body has no size")
        self._left = int(size[1], 16)
        self._next = _Next.DATA if self._left else _Next.TRAILER
        return text + b"\r\n"

    def _check_begin(self, received: bytearray) -> None:
        """Refuse what can't become a line any more: else it would be waited for."""
        if len(received) > MAX_LINE:
            raise RemoteProtocolError(f"a line between its chunks is longer than {MAX_LINE} bytes")
        if controls_in(received):
            raise RemoteProtocolError(_FORBIDDEN)
        if self._next is _Next.SIZE and not _BEGIN_OF_SIZE.match(received):
            raise RemoteProtocolError("a chunk of its body has no size")
        if self._next is _Next.LINE_END and received != b"\r":
            raise RemoteProtocolError("a chunk of its body is longer than was told")

"""The server name in a TLS client's first message, the ClientHello (PROTOCOL.md section 8; RFC 8446, RFC 6066).

    parser = ClientHelloParser()
    outcome = parser.feed(data)        again and again, with whatever the socket gave
      ├─ NEED_MORE      the hello has not ended yet
      ├─ ClientHello    done: the server name, and how many bytes of the stream the hello took
      └─ RefusedHello   this stream will never be served, and why

The first decision stands: later bytes change nothing, and how the stream is cut into pieces never matters. The parser
keeps no copy of the stream: the caller keeps every byte that it has fed, and forwards all of them as they came, those
behind the hello (early data) too.

What it reads is TLS records (RFC 8446, section 5.1) whose fragments, put together, are one handshake message. Each byte
is looked at once when it arrives, and the whole message once when it is complete.

What is decided, strictly:

- A stream whose first byte is not 22, the content type of a handshake record, is not TLS: plain HTTP, SSH, and also
  hellos of SSL 2, which begin with a length. One byte tells.
- Version fields of record and hello are ignored for all purposes (RFC 8446, section 5.1); so are values nobody knows,
  such as GREASE (RFC 8701), and the content of every extension but ``server_name``. With Encrypted Client Hello the
  outer, readable name counts: it is the one that a proxy can route by.
- Between the hello's records no others may stand, and no fragment is empty or over 16 KiB (section 5.1). The record
  that the hello ends in ends with it: nothing may follow a ClientHello before the server has answered but early data,
  which comes in records of its own.
- Lengths inside the hello must fit exactly, and no extension may occur twice (section 4.2).
- A ``server_name`` extension holds a list that is not empty. It may hold one host name; a second is forbidden, and
  names of other types are skipped (RFC 6066, section 3).
- A host name is a DNS name in ASCII of at most 253 characters: labels of 1 to 63 letters, digits, ``-`` and ``_`` (not
  allowed in host names, but in use). So it has no NUL, no space and no byte over 127. One final dot, which RFC 6066
  forbids and some clients send, is no part of it, and case means nothing. An IP address is no host name (section 3): a
  name whose last label is all digits is refused.

This module knows no time: whether a client is too slow is for the caller to say.
"""

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from eps.core.limits import MAX_NAME_CHARS

MAX_HELLO_BYTES = 16 * 1024
"""Of the handshake message, its header included. Hellos in use have 200 to 2,500 bytes; post-quantum key shares add one
or two thousand each, and this leaves room for several. It is also what one record can hold."""

MAX_STREAM_BYTES = 2 * MAX_HELLO_BYTES
"""Of the stream up to the hello's end: bounds what the caller keeps. Record headers of 5 bytes may so double a hello of
the greatest length, and a hello of up to 5,461 bytes may come in records of one byte each."""

MAX_FRAGMENT_BYTES = 2**14
"""Of a record, without its header (RFC 8446, section 5.1)."""

_HANDSHAKE_RECORD = 22
_RECORD_HEADER_BYTES = 5
_CLIENT_HELLO = 1
_MESSAGE_HEADER_BYTES = 4
_VERSION_AND_RANDOM_BYTES = 2 + 32
_SERVER_NAME = b"\0\0"
_HOST_NAME = 0

_DNS_NAME = re.compile(rb"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*+", re.IGNORECASE)
_ALL_DIGITS = re.compile(rb"(?:.*\.)?[0-9]+")


class HelloRefusal(StrEnum):
    """Why a stream is closed without being served. Counters carry these words."""

    NOT_TLS = "not_tls"
    """Its first byte begins no handshake record."""
    TOO_LONG = "too_long"
    """The hello, or the stream up to its end, is over the cap."""
    MALFORMED = "malformed"
    """TLS says that no client may send this."""
    NO_SERVER_NAME = "no_server_name"
    """A good hello that names no host. The parser never says this one: it returns a ``ClientHello`` whose name is
    empty, and the caller refuses it."""
    TOO_SLOW = "too_slow"
    """The hello did not come in time, or the client hung up before its end. The caller's, too."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """A whole hello has come.

    Attributes:
        server_name: the host that the client wants, ASCII letters in lower case; empty if it named none.
        size: bytes of the stream from its beginning to the hello's end, record headers included. What has been fed
            beyond them belongs to the stream as well.
    """

    server_name: str
    size: int


@dataclass(frozen=True, slots=True)
class RefusedHello:
    """The stream can't be served.

    Attributes:
        reason: never ``NO_SERVER_NAME`` or ``TOO_SLOW``.
        detail: what is wrong, for the log; holds nothing that the client wrote.
    """

    reason: HelloRefusal
    detail: str


class _NeedMore(Enum):
    NEED_MORE = "need more"


NEED_MORE: Final = _NeedMore.NEED_MORE
"""Neither done nor refused yet."""

HelloOutcome = ClientHello | RefusedHello | _NeedMore


class _Refused(Exception):
    """Ends the reading; it never leaves this module."""

    def __init__(self, detail: str, reason: HelloRefusal = HelloRefusal.MALFORMED) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason


class ClientHelloParser:
    """Reads the beginning of one stream. It holds at most ``MAX_HELLO_BYTES``, and only bytes that have come."""

    __slots__ = ("_fragment_left", "_header", "_message", "_message_size", "_size", "outcome")

    def __init__(self) -> None:
        self.outcome: HelloOutcome = NEED_MORE
        self._header = bytearray()  # of the record that is beginning
        self._fragment_left = 0  # bytes still to come of the record that has begun
        self._message = bytearray()
        self._message_size = 0  # when the message is complete; 0 while its header is not
        self._size = 0  # of the stream, up to where it has been read

    def feed(self, data: bytes) -> HelloOutcome:
        """Take the stream's next bytes, in pieces of any size; say what is known now.

        Never raises for what the bytes are. Once the outcome is another than ``NEED_MORE``, it stays.
        """
        position = 0
        try:
            while self.outcome is NEED_MORE and position < len(data):
                position += (
                    self._read_fragment(data, position) if self._fragment_left else self._read_header(data, position)
                )
        except _Refused as refused:
            self.outcome = RefusedHello(refused.reason, refused.detail)
            self._message.clear()
        return self.outcome

    def _read_header(self, data: bytes, position: int) -> int:
        """Take what there is of a record's header; return how many bytes that was."""
        piece = data[position : position + _RECORD_HEADER_BYTES - len(self._header)]
        self._header += piece
        if self._header[0] != _HANDSHAKE_RECORD:
            raise self._other_record()
        if len(self._header) == _RECORD_HEADER_BYTES:
            self._begin_fragment(int.from_bytes(self._header[3:5], "big"))
        return len(piece)

    def _other_record(self) -> _Refused:
        if self._size == 0:
            return _Refused("the stream does not begin with a TLS handshake record", HelloRefusal.NOT_TLS)
        return _Refused("another record comes before the hello's end")

    def _begin_fragment(self, length: int) -> None:
        if not 0 < length <= MAX_FRAGMENT_BYTES:
            raise _Refused("a record is empty or longer than 16 KiB")
        self._header.clear()
        self._fragment_left = length
        self._size += _RECORD_HEADER_BYTES + length
        if self._size > MAX_STREAM_BYTES:
            raise _Refused("the hello's records are longer than 32 KiB", HelloRefusal.TOO_LONG)
        self._check_end()

    def _read_fragment(self, data: bytes, position: int) -> int:
        """Take what there is of a record's content; return how many bytes that was."""
        piece = data[position : position + self._fragment_left]
        self._message += piece
        self._fragment_left -= len(piece)
        if not self._message_size:
            self._read_message_header()
        if len(self._message) == self._message_size:
            self.outcome = ClientHello(_server_name(bytes(self._message)), self._size)
            self._message.clear()
        return len(piece)

    def _read_message_header(self) -> None:
        if self._message[0] != _CLIENT_HELLO:
            raise _Refused("the first handshake message is no ClientHello")
        if len(self._message) < _MESSAGE_HEADER_BYTES:
            return
        self._message_size = _MESSAGE_HEADER_BYTES + int.from_bytes(self._message[1:4], "big")
        if self._message_size > MAX_HELLO_BYTES:
            raise _Refused("the hello is longer than 16 KiB", HelloRefusal.TOO_LONG)
        self._check_end()

    def _check_end(self) -> None:
        """The record that the hello ends in must end with it."""
        if self._message_size and len(self._message) + self._fragment_left > self._message_size:
            raise _Refused("the hello's record goes on behind the hello")


def _server_name(message: bytes) -> str:
    """The host name in a complete ClientHello, handshake header included; empty if there is none."""
    end = len(message)
    position = _MESSAGE_HEADER_BYTES + _VERSION_AND_RANDOM_BYTES
    start, position = _vector(message, position, 1, end)
    if position - start > 32:
        raise _Refused("the session id is longer than 32 bytes")
    start, position = _vector(message, position, 2, end)
    if position == start or (position - start) % 2:
        raise _Refused("the list of cipher suites is empty or cut")
    start, position = _vector(message, position, 1, end)
    if position == start:
        raise _Refused("the list of compression methods is empty")
    if position == end:
        return ""  # as old clients do: no extensions at all (RFC 5246, section 7.4.1.2)
    position, stop = _vector(message, position, 2, end)
    if stop != end:
        raise _Refused("the hello goes on behind its extensions")
    return _name_in_extensions(message, position, end)


def _name_in_extensions(message: bytes, position: int, end: int) -> str:
    name = ""
    seen = set()
    while position < end:
        kind = message[position : position + 2]
        start, position = _vector(message, position + 2, 2, end)
        if kind in seen:
            raise _Refused("an extension occurs twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _name_in_list(message, start, position)
    return name


def _name_in_list(message: bytes, position: int, end: int) -> str:
    """The host name in a ``server_name`` extension, which lies at ``position`` to ``end``."""
    position, stop = _vector(message, position, 2, end)
    if stop != end or position == end:
        raise _Refused("the list of server names is empty, or the extension goes on behind it")
    name = ""
    while position < end:
        kind = message[position]
        start, position = _vector(message, position + 1, 2, end)
        if kind == _HOST_NAME:
            if name:
                raise _Refused("there is more than one host name")
            name = _host_name(message[start:position])
    return name


def _host_name(name: bytes) -> str:
    name = name.removesuffix(b".")
    if len(name) > MAX_NAME_CHARS or not _DNS_NAME.fullmatch(name):
        raise _Refused("the server name is no DNS name in ASCII")
    if _ALL_DIGITS.fullmatch(name):
        raise _Refused("the server name is an IP address")
    return name.decode("ascii").lower()


def _vector(message: bytes, position: int, width: int, end: int) -> tuple[int, int]:
    """Where the content of a vector with a length of ``width`` bytes begins and ends (RFC 8446, section 3.4)."""
    start = position + width
    stop = start + int.from_bytes(message[position:start], "big")
    if start > end or stop > end:
        raise _Refused("a length inside the hello is wrong")
    return start, stop


def first_record_bytes(begun: bytes) -> int:
    """How many bytes of a stream must be there so that its first TLS record is whole; no more than are there if it is
    none, or a forbidden one: whoever reads it will refuse it.

    Args:
        begun: the stream's beginning, as far as it has come.
    """
    if begun and begun[0] != _HANDSHAKE_RECORD:
        return 1
    if len(begun) < _RECORD_HEADER_BYTES:
        return _RECORD_HEADER_BYTES
    size = int.from_bytes(begun[3:5])
    return _RECORD_HEADER_BYTES + (size if size <= MAX_FRAGMENT_BYTES else 0)

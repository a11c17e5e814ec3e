"""The head of an HTTP/1.1 message, before h11 parses it: where it ends, what is refused, and what is mended.

Requests are taken strictly: what two servers may read differently is how requests are smuggled past a proxy. Answers
come from servers that somebody chose, and what HTTP tells a client or a proxy to put up with is put up with.
"""

import re

from h11 import RemoteProtocolError

MAX_HEAD = 64 * 1024
"""Bytes of a message's first line and header fields. Servers in use take 8 to 32 KiB in all. What bounds it is
time: h11 reads the worst head of this size, 16,000 fields, in 20 ms, for which all other connections wait."""

_END = re.compile(rb"\n\r?\n")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?=[^\n])")
_BARE_LINE_END = re.compile(rb"(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")
_LENGTH = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)
_NO_ASCII = re.compile(rb"[\x80-\xff]")
_SPACE_BEFORE_COLON = re.compile(rb"^([^\s:]+)[ \t]+:", re.MULTILINE)
_BEGIN = b"HTTP/"
_TLS_ALERT = b"\x15"
_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] [0-9]{3}(?: .*)?\r?")
_FIELD_LINE = re.compile(rb"[^\s:]+[ \t]*:.*|[ \t].*|\r?", re.DOTALL)


def end_of_head(received: bytes | bytearray, seen: int = 0) -> int:
    """How many bytes the head takes, its empty line included; 0 if that has not come.

    Args:
        seen: bytes that an earlier call has looked at in vain.
    """
    found = _END.search(received, max(0, seen - 3))
    return found.end() if found else 0


def too_long(received: bytes | bytearray) -> RemoteProtocolError:
    """Why a head of which so much has come is refused: 414 if its first line alone is too long, else 431."""
    status = 431 if b"\n" in received[:MAX_HEAD] else 414
    return RemoteProtocolError(f"its head is longer than {MAX_HEAD} bytes", error_status_hint=status)


def tells_coding(head: bytes) -> bool:
    """Whether its message's body comes in chunks: h11 knows no other transfer coding, and refuses them."""
    return _CODING.search(head) is not None


def checked_request(head: bytes) -> bytes:
    """``head``, if everybody reads it alike (RFC 9112, sections 2.2, 5.2 and 6.3).

    Raw bytes from 0x80 on in its target, as curl sends them if they are typed, are percent-encoded: that is the same
    URI (RFC 3987, section 3.1), and h11 takes no others.

    Raises:
        RemoteProtocolError: it has control characters, lines that end or continue in forbidden ways, or more than one
            word about its body's length.
    """
    if controls_in(head) or _BARE_LINE_END.search(head) or _FOLDED.search(head):
        raise RemoteProtocolError("its head has characters or lines that HTTP forbids")
    lengths = _LENGTH.findall(head)
    if len(lengths) + tells_coding(head) > 1 or b"," in b"".join(lengths):
        raise RemoteProtocolError("it tells its body's length more than once")
    line, end, fields = head.partition(b"\r\n")
    if line.isascii():
        return head
    method, space, target = line.partition(b" ")
    return method + space + _NO_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), target) + end + fields


def check_begin_of_answer(received: bytearray, seen: int) -> None:
    """Refuse what can't become an answer's head any more: else the rest of it would be waited for.

    Args:
        seen: bytes that an earlier call has looked at.

    Raises:
        RemoteProtocolError: it is none.
    """
    if not received.startswith(_BEGIN[: len(received)]) and received != b"\r":
        what = "it speaks TLS" if received.startswith(_TLS_ALERT) else "it does not begin with HTTP/"
        raise RemoteProtocolError(what)
    if controls_in(received, seen):
        raise RemoteProtocolError("its head has control characters")
    begin = received.rfind(b"\n", 0, seen) + 1
    for line in bytes(received[begin : received.rfind(b"\n", seen) + 1]).split(b"\n")[:-1]:
        if not (_FIELD_LINE if begin else _STATUS_LINE).fullmatch(line):
            raise RemoteProtocolError("a line of its head is no field" if begin else "its first line has no status")
        begin += 1


def controls_in(text: bytes | bytearray, seen: int = 0) -> bool:
    """Whether it has control characters, or a CR that ends no line."""
    return _CONTROLS.search(text, max(0, seen - 1)) is not None


def mended_answer(head: bytes) -> bytes:
    """``head`` without spaces before colons, which a proxy must remove (RFC 9112, section 5.1).

    Raises:
        RemoteProtocolError: it has control characters.
    """
    if controls_in(head):
        raise RemoteProtocolError("its head has control characters")
    return without_space_before_colon(head)


def without_space_before_colon(lines: bytes) -> bytes:
    """Field lines as they should be."""
    return _SPACE_BEFORE_COLON.sub(rb"\1:", lines) if b" :" in lines or b"\t:" in lines else lines


_IN_PLAIN_WORDS = {
    "Received server": "it changes to another protocol (HTTP 101), which nobody asked for",
    "Only Transfer-Encoding": "its Transfer-Encoding is another than chunked",
}
"""Of what h11 says of answers, by its beginning: what speaks of h11 itself, or ends at its first colon."""


def no_http(error: Exception) -> str:
    """Why something is no answer. h11 quotes what it has read behind a colon."""
    said = str(error).partition(":")[0][:100]
    why = next((ours for theirs, ours in _IN_PLAIN_WORDS.items() if said.startswith(theirs)), said)
    return f"its answer is no HTTP that can be read: {why}"

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
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_BARE_LINE_END = re.compile(rb"(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")
_LENGTH = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)
_NO_ASCII = re.compile(rb"[\x80-\xff]")
_SPACE_BEFORE_COLON = re.compile(rb"(\n[^\s:]+)[ \t]+:")


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


def checked_request(head: bytes) -> bytes:
    """``head``, if everybody reads it alike (RFC 9112, sections 2.2, 5.2 and 6.3).

    Raw bytes from 0x80 on in its target, as curl sends them if they are typed, are percent-encoded: that is the same
    URI (RFC 3987, section 3.1), and h11 takes no others.

    Raises:
        RemoteProtocolError: it has control characters, lines that end or continue in forbidden ways, or more than one
            word about its body's length.
    """
    if _CONTROLS.search(head) or _BARE_LINE_END.search(head) or _FOLDED.search(head):
        raise RemoteProtocolError("its head has characters or lines that HTTP forbids")
    lengths = _LENGTH.findall(head)
    if len(lengths) + bool(_CODING.search(head)) > 1 or b"," in b"".join(lengths):
        raise RemoteProtocolError("it tells its body's length more than once")
    line, end, fields = head.partition(b"\r\n")
    if line.isascii():
        return head
    method, space, target = line.partition(b" ")
    return method + space + _NO_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), target) + end + fields


def mended_answer(head: bytes) -> bytes:
    """``head`` without spaces before colons, which a proxy must remove (RFC 9112, section 5.1).

    Raises:
        RemoteProtocolError: it has control characters.
    """
    if _CONTROLS.search(head):
        raise RemoteProtocolError("its head has control characters")
    return _SPACE_BEFORE_COLON.sub(rb"\1:", head) if b" :" in head or b"\t:" in head else head


def no_http(error: Exception) -> str:
    """Why something is no answer. h11 quotes what it has read behind a colon."""
    return f"its answer is no HTTP that can be read: {str(error).partition(':')[0][:100]}"

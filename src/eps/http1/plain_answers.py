"""Answers of the form that nearly all have: read in a fifth of the time that h11 takes over them.

Only where nothing is doubtful: a status that does not say where the answer ends, each field once and in one line, one
``Content-Length``, and all of it is there. Whatever else comes is h11's (``http1.exchange``). Of what is taken here,
both read the same; ``tests/http1/test_plain_answers.py`` compares them.
"""

import re
from dataclasses import dataclass

_HEAD = re.compile(
    rb"HTTP/1\.1 (200|400) [\t -~]{0,200}\r\n"
    rb"((?:[!#-'*+.0-9A-Z^-z|~-]{1,64}:[\t -~]{0,500}\r\n){1,32})\r\n"
)
"""What JSON-RPC is answered with. In all it stays far below ``http1.heads.MAX_HEAD``."""


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """A whole answer.

    Attributes:
        status: its code.
        fields: by their names in lower case, without space around.
        body: as its Content-Length bounds it.
        size: bytes of all of it; what follows belongs to something else.
    """

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    size: int


def plain_answer(received: bytes | bytearray) -> PlainAnswer | None:
    """The answer that ``received`` begins with, if it is such a one."""
    head = _HEAD.match(received)
    if head is None:
        return None
    lines = head[2].split(b"\r\n")[:-1]
    fields = {name.lower(): value.strip(b" \t") for name, _, value in (line.partition(b":") for line in lines)}
    length = fields.get(b"content-length", b"")
    if len(fields) != len(lines) or not length.isdigit() or len(length) > 9 or not _is_kept(fields):
        return None
    end = head.end() + int(length)
    return PlainAnswer(int(head[1]), fields, bytes(received[head.end() : end]), end) if end <= len(received) else None


def _is_kept(fields: dict[bytes, bytes]) -> bool:
    """Whether nothing is said of the connection but that it goes on."""
    return b"transfer-encoding" not in fields and fields.get(b"connection", b"keep-alive").lower() == b"keep-alive"

"""A process of its own that says which records are sound: ``python -m eps.directory.inspector``; see ``inspection``.

It is told whom to believe, then batches of records, and answers each batch with a byte per record: 1 where it is sound,
0 where whoever asks must look. It ends when its input does, and keeps nothing.

    a message: its length (4 bytes, big-endian), then so many bytes
    the first: PEM of the roots, NUL, PEM of the intermediates; it has no answer
    the others: records as JSON, a line each; the answer has as many bytes as that has lines, without a length
"""

import os
import signal
import struct
import sys
from typing import BinaryIO

from eps.core import record_text
from eps.core.limits import MAX_MESSAGE_BYTES
from eps.core.record import parse_signed_record
from eps.core.signature import TrustStore
from eps.core.soundness import is_sound
from eps.errors import EpsError

LENGTH = struct.Struct(">I")

NICENESS = 5
"""The server's calls go first."""

MAX_BATCH_BYTES = 256 * 1024 * 1024
"""More than ``inspection`` ever sends."""


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, whose end closes our input
    os.nice(NICENESS)
    serve(sys.stdin.buffer, sys.stdout.buffer)


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Read messages, answer them, end with the input."""
    authorities = _message(asked)
    if authorities is None:
        return
    roots, _, intermediates = authorities.partition(b"\0")
    trust = TrustStore.from_pem({"roots": roots}, {"intermediates": intermediates} if intermediates else {})
    while (batch := _message(asked)) is not None:
        answers.write(bytes(_sound(line, trust) for line in batch.split(b"\n")))
        answers.flush()


def _message(asked: BinaryIO) -> bytes | None:
    head = asked.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    if length > MAX_BATCH_BYTES:
        return None
    body = asked.read(length)
    return body if len(body) == length else None


def _sound(line: bytes, trust: TrustStore) -> bool:
    try:
        return is_sound(parse_signed_record(record_text.loads(line, max_bytes=2 * MAX_MESSAGE_BYTES)), trust)
    except EpsError:
        return False  # too large, too deep: whoever asks has it, and says what is wrong


if __name__ == "__main__":
    main()

"""Compressed bodies: what they hold, within a bound. Pure.

A body of 4 KiB may stand for 4 MiB of spaces, or for 4 GiB: it is unpacked slice by slice, and no further than allowed.
"""

import zlib
from collections.abc import Generator

from eps.errors import NotJson, TooLarge

SLICE_BYTES = 64 * 1024
"""Of packed and of unpacked bytes that are looked at in one step: a millisecond at most."""

MAX_MEMBERS = 16
"""Of a gzip body: they stand for one text, in as many parts. Libraries that flush write a few; each costs a copy."""

_GZIP, _ZLIB, _DEFLATE = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"
_OTHERS = ("br", "zstd", "compress", "x-compress")
"""Further codings that have a name. What else a server says is not repeated: it goes to whoever called."""

_HINT = "the application must send its answers uncompressed, as it was asked to (Accept-Encoding: identity)"


def coding_of(content_encoding: bytes) -> str:
    """What ``Content-Encoding`` says, as :func:`unpack` takes it; empty where it says that the body is as it is."""
    words = [word.strip().lower() for word in content_encoding.decode("latin-1").split(",")]
    return ", ".join(word for word in words if word not in ("", "identity"))


def unpack(packed: bytes, coding: str, max_bytes: int) -> Generator[None, None, bytes]:
    """What ``packed`` holds: a generator, each ``next`` is a step of a millisecond.

    Args:
        coding: ``gzip`` or ``deflate``, with zlib's frame or, as some write it, without (RFC 9110, section 8.4.1).

    Raises:
        TooLarge: more than ``max_bytes``.
        NotJson: another coding, or it is broken.
    """
    if coding.removeprefix("x-") not in ("gzip", "deflate"):
        how = f" ({coding})" if coding in _OTHERS else ""
        raise NotJson(f"its body is compressed{how}, which only gzip and deflate may be", hint=_HINT)
    try:
        return (yield from _unpacked(packed, _window(packed, coding), max_bytes))
    except zlib.error:
        raise NotJson(f"its body is not the {coding} that it says", hint=_HINT) from None


def _window(packed: bytes, coding: str) -> int:
    if coding != "deflate":
        return _GZIP
    return _ZLIB if packed[0] & 15 == zlib.DEFLATED and int.from_bytes(packed[:2], "big") % 31 == 0 else _DEFLATE


def _unpacked(packed: bytes, window: int, max_bytes: int) -> Generator[None, None, bytes]:
    parts: list[bytes] = []
    size, at, members = 0, 0, 1
    undo = zlib.decompressobj(window)
    while not undo.eof:
        given = undo.unconsumed_tail or packed[at : (at := at + SLICE_BYTES)]
        part = undo.decompress(given, SLICE_BYTES)
        if not (part or given):
            raise NotJson("its compressed body ends in the middle", hint=_HINT)
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise TooLarge(f"its body has more than {max_bytes} bytes when it is unpacked", hint="ask for less")
        if undo.eof and window == _GZIP and members < MAX_MEMBERS:
            behind = min(at, len(packed)) - len(undo.unused_data)
            if packed.startswith(_GZIP_MAGIC, behind):
                at, members, undo = behind, members + 1, zlib.decompressobj(window)
        yield
    return b"".join(parts)

"""Stores as other programs write them: the formats of PROTOCOL.md section 6, written down a second time."""

import json
import os
import struct
from collections.abc import Sequence
from typing import Any


def foreign_entry(value: Any, kind: int = 1, id: bytes | None = None) -> bytes:
    """An entry's bytes; its JSON looks as Go writes it."""
    id = os.urandom(16) if id is None else id
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return bytes((1, kind)) + struct.pack("<H", len(id)) + id + text.encode()


def foreign_chunks(entry: bytes) -> list[bytes]:
    """The chunks of one entry."""
    id = os.urandom(16)
    parts = [entry[at : at + 231] for at in range(0, len(entry), 231)]
    return [
        struct.pack("<BHHH", 1, len(parts), index, len(id)) + id + struct.pack("<H", len(part)) + part
        for index, part in enumerate(parts)
    ]


def foreign_file(entries: Sequence[bytes]) -> bytes:
    """One entry behind the other; the last two were written at once, so that their chunks are mixed."""
    chunked = [foreign_chunks(entry) for entry in entries]
    plain = [chunk for each in chunked[:-2] for chunk in each]
    *first, end = chunked[-2]
    second = chunked[-1]
    mixed = [chunk for pair in zip(first, second, strict=False) for chunk in pair]
    count = min(len(first), len(second) - 1)
    return b"".join([*plain, *mixed[: 2 * count], *first[count:], end, *second[count:]])

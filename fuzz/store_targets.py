"""Fuzz targets: what datastores hold, which other programs, and torn disks, may have written."""

import base64
from collections.abc import Hashable
from zlib import crc32

from engine import Target

from eps.core.chunks import ChunkReader, cut, lay_out
from eps.datastores import DataEntry, decode_entry, encode_entry
from support.vectors import load


def encoded_entries() -> list[bytes]:
    return [base64.b64decode(case["encoded_base64"]) for case in load("data_entry.json")]


def files() -> list[bytes]:
    """Files of chunks: one entry behind the other, a batch, interleaved, torn."""
    short, long = encoded_entries()[0], encode_entry(DataEntry(1, b"i" * 16, b"x" * 700))
    first, second = cut(long, b"a" * 16), cut(long[:500], b"b" * 5)
    mixed = b"".join(chunk.encode() for pair in zip(first, second, strict=False) for chunk in pair)
    batch = lay_out([(short, b"c" * 16), (long, b"d" * 16)])
    return [lay_out([(short, b"e" * 16)]) * 2, batch, batch[:-3], mixed, mixed + bytes(40), b""]


def run_file(data: bytes) -> Hashable:
    """Whole, and in two pieces: the same; and what was read can be written and read again."""
    reader, halves = ChunkReader(), ChunkReader()
    done = reader.feed(data)
    middle = crc32(data) % (len(data) + 1)
    assert halves.feed(data[:middle]) + halves.feed(data[middle:]) == done
    assert (halves.offset, halves.damage, halves.incomplete) == (reader.offset, reader.damage, reader.incomplete)
    assert reader.offset <= len(data) and (reader.damage is not None or data[reader.offset :] == reader.rest)
    again = ChunkReader()
    assert again.feed(lay_out([(entry, number.to_bytes(16)) for number, entry in enumerate(done)])) == done
    why = reader.damage.why[:20] if reader.damage is not None else ""
    return min(len(done), 4), min(reader.incomplete, 3), why, bool(reader.rest)


def run_entry(data: bytes) -> Hashable:
    entry = decode_entry(data)
    assert encode_entry(entry) == data
    return min(len(entry.id), 20), bool(entry.data)


TARGETS = [
    Target(
        "store_chunks", run_file, files, tokens=(b"\x01\x01\x00\x00\x00\x10\x00", b"\x02\x00", b"\xff\xff", b"\0\0")
    ),
    Target("store_entry", run_entry, encoded_entries, (ValueError,), tokens=(b"\x01\x01\x10\x00", b"\xff\xff")),
]

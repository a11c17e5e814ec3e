"""Entries cut into chunks, one behind the other in an append-only file: the store ``file`` (PROTOCOL.md section 6).

    01 · number of chunks u16 · index u16 · id length u16 · id · data length u16 · data      (little endian)

An entry's bytes are its chunks' data, by index. Its chunks need not stand together: the id tells whose each is. What
was never finished, because its writer was killed, stays in the file for ever and counts for nothing.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

FORMAT = 1
"""A chunk's first byte."""

MAX_DATA_BYTES = 231
"""Of one chunk: with an id of 16 bytes, it makes 256."""

MAX_CHUNKS = 0xFFFF
"""Of one entry; what the field holds."""

MAX_ENTRY_BYTES = MAX_CHUNKS * MAX_DATA_BYTES
"""15 MB: longer entries can't be written in this format."""

MAX_ID_BYTES = 1024
"""Of a chunk. Known ones have 16, and so nobody needs this many; a damaged length that asks for more is found out,
rather than taken for a chunk whose end was torn off."""

MAX_TOGETHER_BYTES = 64 * 1024 * 1024
"""Of a batch that :func:`lay_out` puts in so that it is complete at its end only: the largest submission."""

MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Of entries that have begun and not ended: such a batch, with what its chunks cost besides, twice."""

OVERHEAD_BYTES = 128
"""What each waiting chunk costs besides its data, so that many empty ones are bounded, too."""

_HEAD = struct.Struct("<BHHH")  # format, number of chunks, index, id length
_LENGTH = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk; ``number`` is how many the entry has."""

    number: int
    index: int
    id: bytes
    data: bytes

    def encode(self) -> bytes:
        """Its bytes in the file."""
        head = _HEAD.pack(FORMAT, self.number, self.index, len(self.id))
        return head + self.id + _LENGTH.pack(len(self.data)) + self.data

    @property
    def size(self) -> int:
        """How many bytes :meth:`encode` gives."""
        return _HEAD.size + len(self.id) + _LENGTH.size + len(self.data)


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a file stops being chunks, and why.

    Attributes:
        offset: bytes of whole chunks before it.
    """

    offset: int
    why: str


def cut(entry: bytes, id: bytes, least: int = 1) -> list[Chunk]:
    """An entry's chunks.

    Args:
        least: make at least so many, even if fewer could hold it.

    Raises:
        ValueError: the entry is longer than MAX_ENTRY_BYTES.
    """
    if len(entry) > MAX_ENTRY_BYTES:
        raise ValueError(f"an entry of {len(entry)} bytes is too long: chunks can hold {MAX_ENTRY_BYTES}")
    size = max(min(MAX_DATA_BYTES, len(entry) // least), 1)
    parts = [entry[at : at + size] for at in range(0, len(entry), size)] or [b""]
    return [Chunk(len(parts), index, id, part) for index, part in enumerate(parts)]


def lay_out(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A batch's bytes: of each entry all chunks but the last, and then everybody's last ones.

    So the batch is complete only with its last few bytes: a write that is torn earlier brings none of the entries.
    A batch beyond MAX_TOGETHER_BYTES goes in entry by entry, since readers keep in memory what has begun.

    Args:
        entries: of each its bytes and its id.

    Raises:
        ValueError: as :func:`cut`.
    """
    together = len(entries) > 1 and sum(len(entry) for entry, _ in entries) <= MAX_TOGETHER_BYTES
    chunks = [cut(entry, id, least=2 if together else 1) for entry, id in entries]
    if not together:
        return b"".join(chunk.encode() for each in chunks for chunk in each)
    bodies = [chunk for each in chunks for chunk in each[:-1]]
    return b"".join(chunk.encode() for chunk in [*bodies, *(each[-1] for each in chunks)])


@dataclass(slots=True)
class _Waiting:
    """The chunks of one entry that has begun."""

    number: int
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int = 0


class ChunkReader:
    """Puts entries together again; fed a file in pieces of any size.

    Attributes:
        offset: bytes of whole chunks read so far.
        damage: set when what follows is no chunk; nothing more is read then.
        begun_anew: entries that had begun when another with the same id began; they can't be completed any more.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.damage: Damage | None = None
        self.begun_anew = 0
        self._rest = b""
        self._waiting: dict[bytes, _Waiting] = {}
        self._waiting_bytes = 0

    @property
    def rest(self) -> bytes:
        """Bytes behind the last whole chunk: the start of another, or what is damaged."""
        return self._rest

    @property
    def incomplete(self) -> int:
        """How many entries have begun and lack chunks."""
        return self.begun_anew + len(self._waiting)

    def feed(self, data: bytes) -> list[bytes]:
        """The entries that ``data`` completes, in the order of their completion."""
        done: list[bytes] = []
        buffer, at = self._rest + data, 0
        while self.damage is None:
            found = _parse(buffer, at)
            if found is None:
                break
            if isinstance(found, str):
                self.damage = Damage(self.offset, found)
                break
            self._take(found, done)
            at += found.size
            self.offset += found.size
        self._rest = buffer[at:]
        return done

    def _take(self, chunk: Chunk, done: list[bytes]) -> None:
        entry = self._waiting.get(chunk.id)
        if entry is None or entry.number != chunk.number or chunk.index in entry.parts:
            if entry is not None:
                self.begun_anew += 1
                self._waiting_bytes -= entry.size
            entry = self._waiting[chunk.id] = _Waiting(chunk.number)
        entry.parts[chunk.index] = chunk.data
        size = len(chunk.id) + len(chunk.data) + OVERHEAD_BYTES
        entry.size += size
        self._waiting_bytes += size
        if len(entry.parts) == entry.number:
            del self._waiting[chunk.id]
            self._waiting_bytes -= entry.size
            done.append(b"".join(entry.parts[index] for index in range(entry.number)))
        elif self._waiting_bytes > MAX_WAITING_BYTES:
            self.damage = Damage(
                self.offset, f"entries of more than {MAX_WAITING_BYTES} bytes have begun and not ended"
            )


def _parse(buffer: bytes, at: int) -> Chunk | str | None:
    """The chunk that begins at ``at``; None if its end isn't there yet; why it is none."""
    if at < len(buffer) and buffer[at] != FORMAT:
        return f"a chunk begins with byte {FORMAT:02x}, here is {buffer[at]:02x}"
    if len(buffer) - at < _HEAD.size:
        return None
    _, number, index, id_length = _HEAD.unpack_from(buffer, at)
    if index >= number:
        return f"a chunk says that it is number {index} (from 0) of {number}"
    if id_length > MAX_ID_BYTES:
        return f"a chunk says that its id has {id_length} bytes, more than {MAX_ID_BYTES}"
    begin = at + _HEAD.size + id_length + _LENGTH.size
    if len(buffer) < begin:
        return None
    (length,) = _LENGTH.unpack_from(buffer, begin - _LENGTH.size)
    if length > MAX_DATA_BYTES:
        return f"a chunk says that it holds {length} bytes, more than {MAX_DATA_BYTES}"
    if len(buffer) < begin + length:
        return None
    return Chunk(number, index, buffer[at + _HEAD.size : begin - _LENGTH.size], buffer[begin : begin + length])

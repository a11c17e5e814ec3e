"""Header blocks that come again and again are packed and unpacked once (RFC 7541).

A call's headers, its answer's and its trailers are the same from call to call. As long as the table of a direction
hasn't changed, the same fields have the same bytes, and the same bytes the same fields: hpack, which knows nothing of
that, spends a tenth of a call's time on each. What changes the table is seen where it does (:class:`_Table`), and
everything remembered is forgotten.

What is another value in each call, its trace say, would change the table with each, and drive all that comes again out
of it. So such fields stand last, as literals that are never indexed (section 6.2.3), behind what is remembered.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hpack.hpack import Decoder, Encoder
from hpack.struct import HeaderTuple
from hpack.table import HeaderTable

from eps.core.trace import TOOK, TOOK_BYTES, TRACEPARENT, TRACEPARENT_BYTES

MAX_REMEMBERED = 16
"""Blocks for each direction of a connection: a peer has two or three."""

MAX_BLOCK_BYTES = 32
"""Of a block that comes in: ours have some ten bytes, once the table knows their fields. With MAX_REMEMBERED it bounds
what a peer can make us hold, some 50 KB."""


def literal(name: bytes, value: bytes) -> bytes:
    """A field as a literal that is never indexed, with a name of its own; both shorter than 127 bytes."""
    return b"\x10%c%b%c%b" % (len(name), name, len(value), value)


@dataclass(frozen=True, slots=True)
class _Passing:
    """A field whose value is another each time.

    Attributes:
        size: bytes of its value; one of another size is packed and unpacked as any field is.
        head: how its literal begins.
    """

    name: bytes
    size: int
    head: bytes

    @classmethod
    def of(cls, name: str, size: int) -> "_Passing":
        return cls(name.encode(), size, literal(name.encode(), bytes(size))[:-size])


PASSING = (_Passing.of(TRACEPARENT, TRACEPARENT_BYTES), _Passing.of(TOOK, TOOK_BYTES))
"""Those that stand last. How their literals begin is the beginning of nothing else that could end with the value: the
byte before its size, a letter, is no index of such a name, nor the end of one (section 5.1)."""

_SIZES = {passing.name: passing.size for passing in PASSING}


class _Table(HeaderTable):
    """Counts its changes: what is added, which may throw older fields out, and new sizes, which do so, too."""

    def __init__(self) -> None:
        self.changes = 0
        super().__init__()

    @property
    def maxsize(self) -> int:
        return int(HeaderTable.maxsize.__get__(self))

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.__set__(self, value)  # type: ignore[attr-defined]  # mypy takes a property for a function

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class RememberingEncoder(Encoder):
    """Packs our headers."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table = self._table = _Table()
        self._blocks: dict[tuple[Any, ...], bytes] = {}
        self._as_of = self._table.changes

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        key = tuple(headers)
        if key and _SIZES.get(key[-1][0]) == len(key[-1][1]):
            return self._remembered(key[:-1], huffman) + literal(*key[-1])
        return self._remembered(key, huffman)

    def _remembered(self, key: tuple[Any, ...], huffman: bool) -> bytes:
        table = self._table
        if table.changes == self._as_of and (known := self._blocks.get(key)) is not None:
            return known
        block = super().encode(key, huffman)
        if table.changes != self._as_of:
            self._blocks.clear()
            self._as_of = table.changes
        elif len(self._blocks) < MAX_REMEMBERED:
            self._blocks[key] = block
        return block


class RememberingDecoder(Decoder):
    """Unpacks a peer's."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table = self._table = _Table()
        self._fields: dict[bytes, tuple[HeaderTuple, ...]] = {}
        self._as_of = self._table.changes

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        if not raw:
            return super().decode(data, raw)
        if (known := self._known(data)) is not None:
            return known
        for passing in PASSING:
            end = len(data) - passing.size
            if data.endswith(passing.head, 0, end):
                last = HeaderTuple(passing.name, bytes(data[end:]))
                return self._with_one_behind(data, end - len(passing.head), last)
        return self._unpacked(data, data)

    def _with_one_behind(self, data: bytes, end: int, last: HeaderTuple) -> Iterable[HeaderTuple]:
        """A block that seems to end with a field whose value is another each time, behind what comes again. What is
        remembered is a whole block, so what stands behind it begins with a field of its own."""
        known = self._known(data[:end])
        return (*known, last) if known is not None else self._unpacked(data, data[:end], last)

    def _known(self, block: bytes) -> tuple[HeaderTuple, ...] | None:
        return self._fields.get(block) if self._table.changes == self._as_of else None

    def _unpacked(self, data: bytes, block: bytes, last: HeaderTuple | None = None) -> tuple[HeaderTuple, ...]:
        """The fields of ``data``; those of ``block``, which are all but ``last``, if that is one, are remembered."""
        table = self._table
        fields = tuple(super().decode(data, raw=True))
        first = fields if last is None else fields[:-1]
        is_whole = fields[len(first) :] in ((), (last,))
        if table.changes != self._as_of:
            self._fields.clear()
            self._as_of = table.changes
        elif is_whole and len(block) <= MAX_BLOCK_BYTES and len(self._fields) < MAX_REMEMBERED:
            self._fields[bytes(block)] = first
        return fields

"""Header blocks that come again and again are packed and unpacked once (RFC 7541).

A call's headers, its answer's and its trailers are the same from call to call. As long as the table of a direction
hasn't changed, the same fields have the same bytes, and the same bytes the same fields: hpack, which knows nothing of
that, spends a tenth of a call's time on each. What changes the table is seen where it does (:class:`_Table`), and
everything remembered is forgotten.
"""

from collections.abc import Iterable
from typing import Any

from hpack.hpack import Decoder, Encoder
from hpack.struct import HeaderTuple
from hpack.table import HeaderTable

MAX_REMEMBERED = 16
"""Blocks for each direction of a connection: a peer has two or three."""

MAX_BLOCK_BYTES = 32
"""Of a block that comes in: ours have some ten bytes, once the table knows their fields. With MAX_REMEMBERED it bounds
what a peer can make us hold, some 50 KB."""


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
        table, key = self._table, tuple(headers)
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
        table = self._table
        if raw and (known := self._fields.get(data)) is not None:
            return known
        fields = tuple(super().decode(data, raw))
        if table.changes != self._as_of:
            self._fields.clear()
            self._as_of = table.changes
        elif raw and len(data) <= MAX_BLOCK_BYTES and len(self._fields) < MAX_REMEMBERED:
            self._fields[bytes(data)] = fields
        return fields

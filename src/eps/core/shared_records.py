"""The records of a chain: a list that grows, and that chains grown from each other share."""

from collections.abc import Sequence
from typing import overload

from eps.core.names import RecordHash
from eps.core.record import SignedRecord


class Records(Sequence[SignedRecord]):
    """The first ``count`` records of a list that only ever grows, and that chains grown from each other share."""

    __slots__ = ("_count", "_items", "_positions")

    def __init__(self) -> None:
        self._items: list[SignedRecord] = []
        self._positions: dict[RecordHash, int] = {}
        self._count = 0

    def grown(self, records: Sequence[SignedRecord]) -> "Records":
        """These and ``records`` behind them. Shares the list, unless another chain has grown from this one already."""
        longer = Records()
        if len(self._items) == self._count:
            longer._items, longer._positions = self._items, self._positions
        else:
            longer._items = self._items[: self._count]
            longer._positions = {record.hash: index for index, record in enumerate(longer._items)}
        for index, record in enumerate(records, self._count):
            longer._positions[record.hash] = index
        longer._items.extend(records)
        longer._count = len(longer._items)
        return longer

    def position(self, record_hash: str) -> int | None:
        """The index of the record with this hash."""
        index = self._positions.get(RecordHash(record_hash))
        return index if index is not None and index < self._count else None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> SignedRecord: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[SignedRecord]: ...

    def __getitem__(self, index: int | slice) -> SignedRecord | Sequence[SignedRecord]:
        if isinstance(index, slice):
            return [self._items[i] for i in range(*index.indices(self._count))]
        return self._items[range(self._count)[index]]

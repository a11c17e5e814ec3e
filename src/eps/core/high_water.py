"""How far a directory had come: a mark that a service directory keeps apart from its store.

A store that was restored from an older copy, or that lost its last writes, verifies as well as ever; nothing in it
tells that records are missing. What is submitted to it then no server believes, since all know a longer chain.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from eps.core.chain import Chain
from eps.core.names import Object, RecordHash
from eps.core.record import SignedRecord
from eps.core.wording import counted


@dataclass(frozen=True, slots=True)
class HighWater:
    """The longest chain that there was.

    Attributes:
        root, tip: hashes of its first and last record.
        records: how many.
        date: the last one's ``created_at``.
    """

    root: RecordHash
    tip: RecordHash
    records: int
    date: str

    @classmethod
    def of(cls, chain: Chain) -> "HighWater | None":
        """The mark of a chain; None for an empty one."""
        if chain.root is None:
            return None
        return cls(chain.root.hash, chain.tip, len(chain.records), chain.records[-1].record.created_at)

    def to_json(self) -> Object:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Object) -> "HighWater | None":
        """What :meth:`to_json` gave; None for anything else."""
        root, tip, records, date = (value.get(key) for key in ("root", "tip", "records", "date"))
        if not (isinstance(root, str) and isinstance(tip, str) and isinstance(date, str)):
            return None
        if type(records) is not int or records < 1:
            return None
        return cls(RecordHash(root), RecordHash(tip), records, date)

    def lost(self, records: Sequence[SignedRecord]) -> str:
        """In which way a chain of ``records`` is less than what there was; "" if it is that, or goes on from it.

        A chain with another root is less, too: whether it is newer, its administrator knows.
        """
        had = f"it had {_count(self.records)} up to {self.tip[:12]} of {self.date}"
        if not records:
            return f"it is empty, and {had}"
        has = f"it has {_count(len(records))} up to {_shown(records[-1])}"
        if records[0].hash != self.root:
            return f"it holds another directory, begun with {_shown(records[0])}: {has}, and {had}"
        if len(records) < self.records:
            return f"it is shorter than it was: {has}, and {had}"
        if records[self.records - 1].hash != self.tip:
            return f"it has another history than it had: {has}, and {had}"
        return ""


def _count(records: int) -> str:
    return counted(records, "record")


def _shown(signed: SignedRecord) -> str:
    return f"{signed.hash[:12]} of {signed.record.created_at}"

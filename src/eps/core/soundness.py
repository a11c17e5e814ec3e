"""What of a record's verification depends on that record alone: done by anybody, in any order, and remembered.

Nine tenths of what a record costs are its hash, its signatures and the reading of its bytes; none of that looks at the
records before it. What does (whose child it is, which certificate the chain pins, whether the date may be) is
``chain``'s, and always done there. Pure.
"""

from collections.abc import Iterable
from hashlib import sha256

from eps.core.record import SignedRecord, signed_payload
from eps.core.signature import TrustStore, verify
from eps.core.structure import structured_bytes
from eps.core.verdict import Use, judge
from eps.errors import RecordError


def is_sound(signed: SignedRecord, trust: TrustStore) -> bool:
    """Whether its hash is its content's, its signatures are those of its certificate, that counted then, and it simply
    replaces its section. False also where :meth:`~eps.core.chain.Chain.extend` would say something kinder than no."""
    data = structured_bytes(signed.record.to_json())
    if sha256(data).hexdigest() != signed.hash:
        return False
    try:
        payload = signed_payload(signed.hash, signed.parent_hash, signed.record)
        verify(payload, signed.signature, signed.record.instant.time, trust)
        return judge(signed.record, data).use is Use.REPLACED
    except RecordError:
        return False


class Sound:
    """Records that are known to be sound. These very objects: one with the same hash may have another signature.

    Args:
        records: those; they live for as long as this, so that no other object can be taken for one of them.
    """

    __slots__ = ("_ids", "_records")

    def __init__(self, records: Iterable[SignedRecord] = ()) -> None:
        self._records = tuple(records)
        self._ids = frozenset(map(id, self._records))

    def __contains__(self, signed: SignedRecord) -> bool:
        return id(signed) in self._ids

    def __len__(self) -> int:
        return len(self._records)


NOBODY_LOOKED = Sound()
"""Nothing is known of any record."""

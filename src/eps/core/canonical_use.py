"""Who signs canonically, and from which record of a chain on that is demanded (PROTOCOL.md section 10).

A canonical signature rules out every second reading, but whoever hands a record on can leave it out: it protects where
its absence is noticed. So

    demanded from a date on    the first record of that date or a later one, and all behind it, must bear one. Dates and
                               places in a chain are signed, but dates need not rise: what is put behind such a record
                               with an earlier date, or begins a new chain in place of this one, is no exception
    used by a signer before    its absence is told

The date is exact whatever the rest of a record says: it stands at the beginning of what is hashed, in a fixed form.
"""

from dataclasses import dataclass
from typing import NamedTuple

from eps.core.instant import Instant
from eps.core.names import Operator, RecordHash
from eps.core.record import SignedRecord
from eps.errors import RecordError


class Lapse(NamedTuple):
    """The first record without a canonical signature by somebody who had signed canonically before."""

    signer: Operator
    record: RecordHash


@dataclass(frozen=True, slots=True)
class CanonicalUse:
    """What the records of a chain show so far.

    Attributes:
        demanded: whether one has come from which on all must bear a canonical signature.
        signers: whose last record bears one.
        lapses: of those whose last record bears none, though one before did.
    """

    demanded: bool = False
    signers: frozenset[Operator] = frozenset()
    lapses: frozenset[Lapse] = frozenset()

    def after(self, signed: SignedRecord, signer: Operator, since: Instant | None) -> "CanonicalUse":
        """What they show with ``signed`` behind them, which ``signer`` signed.

        Args:
            since: the date from which on canonical signatures are demanded; None: they aren't.

        Raises:
            RecordError: the record should bear one, and doesn't.
        """
        demanded = self.demanded or (since is not None and signed.record.instant.nanoseconds >= since.nanoseconds)
        used = signed.signature.canonical is not None
        if demanded and not used:
            raise _missing(signed, signer, since)
        if demanded is self.demanded and used is (signer in self.signers):
            return self
        if used:
            lapses = frozenset(lapse for lapse in self.lapses if lapse.signer != signer)
            return CanonicalUse(demanded, self.signers | {signer}, lapses)
        return CanonicalUse(demanded, self.signers - {signer}, self.lapses | {Lapse(signer, signed.hash)})


NO_USE = CanonicalUse()
"""Before any record."""


def _missing(signed: SignedRecord, signer: Operator, since: Instant | None) -> RecordError:
    date = f", from {since.text} on" if since is not None else ""
    return RecordError(
        f"it is of {signed.record.created_at}, by {signer}, and bears no canonical signature, which "
        f"require_canonical_signatures demands{date}",
        hint="either a service directory on its way dropped the signature: use one that keeps it; or it was signed "
        "with another program: sign with eps sd submit-records, or set a date after this record",
    )

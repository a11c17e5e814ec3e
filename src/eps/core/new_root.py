"""Which new root counts in place of a chain that was verified (PROTOCOL.md sections 4 and 10).

Whoever replaces a chain replaces all pins in it, so nothing in the new one can vouch for its root: the old one must.

    the old chain pins no signer at all    any newer root counts, as in servers in use
    it does                                only a root that is signed with the certificate which it pins for its signer,
                                           is dated after its last record, and whose certificate is valid now
    accepted by hand                       a newer root, whoever signed it: by hash *and* certificate, as the hash does
                                           not cover who signed

The certificate must be valid *now* since a key that was rotated out of use, and leaked years later, could otherwise
sign a root that it dates back.
"""

from collections.abc import Collection
from typing import NamedTuple

from eps.core.certificate import Subject
from eps.core.entries import Directory
from eps.core.names import Fingerprint, RecordHash
from eps.core.record import SignedRecord


class TrustedRoot(NamedTuple):
    """A root that an administrator accepted by hand.

    Attributes:
        hash: of the record.
        signer: SHA-256 of the certificate that signed it.
    """

    hash: RecordHash
    signer: Fingerprint


TrustedRoots = Collection[TrustedRoot]

AT_SUBMISSION = "sign with the pinned certificate, while it is valid; if its key is lost, see howto-operator.md"
"""What to do about a root that a service directory refuses."""


def pins_a_signer(directory: Directory) -> bool:
    """Whether ``directory`` says of anybody which certificate is to be signed with."""
    return any(entry.signing_pin is not None for entry in directory.entries.values())


def root_flaw(root: SignedRecord, signer: Subject, directory: Directory, tip: SignedRecord, *, valid_now: bool) -> str:
    """Why ``root`` does not count in place of the chain whose last record is ``tip``; "" if it does.

    Args:
        signer: whose signature ``root`` bears.
        directory: what follows from the present chain, which pins a signer.
        valid_now: whether the signer's certificate is valid at present.
    """
    entry = directory.entry(signer.name)
    pin = entry.signing_pin if entry else None
    who = f"a new root by {signer.name}, signed with certificate {signer.fingerprint[:12]}"
    if pin is None:
        return f"{who}, for whom the present directory pins no certificate to sign with"
    if pin != signer.fingerprint:
        return f"{who}, but the present directory pins {pin[:12]} as the one that {signer.name} signs with"
    if root.record.instant.nanoseconds <= tip.record.instant.nanoseconds:
        return f"{who}, dated {root.record.created_at}, not after the present last record ({tip.record.created_at})"
    if not valid_now:
        return f"{who}, which is not valid any more"
    return ""


def advice(root: SignedRecord, signer: Subject) -> str:
    """What to do about a root that does not count."""
    return (
        "keep it out unless the directory's administrators say that it is theirs, and that it was signed with "
        f"certificate {signer.fingerprint}; then accept it on this machine: eps sd trust-root {root.hash}"
    )

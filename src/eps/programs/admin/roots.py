"""``eps sd trust-root``: finding a root at the service directories, and accepting it by hand.

A record's hash does not cover who signed it, so a hash alone could be that of a forger's root with the same content.
What is accepted is hash and certificate; the certificate is told, to be compared with what the administrator of the
directory says.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from eps.core.certificate import Subject
from eps.core.chain import Chain
from eps.core.message import Response
from eps.core.names import Object
from eps.core.new_root import TrustedRoot
from eps.core.signature import TrustStore
from eps.core.wording import counted
from eps.directory.cache import verified
from eps.errors import BadParams, EpsError, RecordError

CallEndpoint = Callable[[int, str, Object], Awaitable[Response]]
"""Ask the service directory of that index. Raises EpsError if no answer came."""


@dataclass(frozen=True, slots=True)
class FoundRoot:
    """A root that a service directory shows, with a chain behind it that verifies."""

    root: TrustedRoot
    signer: Subject
    created_at: str
    records: int
    operators: int

    def __str__(self) -> str:
        return (
            f"root {self.root.hash}, of {self.created_at}, signed by {self.signer} with certificate "
            f"{self.root.signer}; {counted(self.records, 'record')} of {counted(self.operators, 'operator')}"
        )


async def find_root(
    record_hash: str, names: Sequence[str], call: CallEndpoint, trust: TrustStore, now: datetime
) -> FoundRoot:
    """The root with this hash, at whichever service directory shows it as its newest.

    Args:
        names: of the service directories, for messages.

    Raises:
        RecordError: none does, its chain doesn't verify, or several show it with different signers.
    """
    found: dict[TrustedRoot, FoundRoot] = {}
    reasons = []
    for index, name in enumerate(names):
        try:
            one = await _newest_root(await call(index, "getRecords", {"after": ""}), trust, now)
        except EpsError as error:
            reasons.append(f"{name}: {error.message}")
            continue
        if one is not None and one.root.hash == record_hash:
            found[one.root] = one
        else:
            reasons.append(f"{name}: its newest root is {one.root.hash if one else 'none, it is empty'}")
    if not found:
        raise RecordError(
            f"no service directory shows a usable chain with root {record_hash[:12]}; " + "; ".join(reasons),
            hint="take the hash from the server's log line; or give the certificate, too: --signer FINGERPRINT",
        )
    if len(found) > 1:
        signers = " and ".join(each.signer for each in found)
        raise RecordError(
            f"root {record_hash[:12]} is shown with different signers: certificates {signers}",
            hint="one of them is forged: ask the directory's administrators, then say which with --signer FINGERPRINT",
        )
    return next(iter(found.values()))


async def _newest_root(response: Response, trust: TrustStore, now: datetime) -> FoundRoot | None:
    """The newest root of a whole chain that verifies; None if there is none."""
    values = record_values(response)
    chain = await verified_chain(values, trust, now)
    if chain.root is None:
        return None
    signer = trust.leaf(chain.root.signature.c).subject
    assert signer is not None, "its signature was verified"
    root = TrustedRoot(chain.root.hash, signer.fingerprint)
    created_at = chain.root.record.created_at
    return FoundRoot(root, signer, created_at, len(chain.records), len(chain.directory.entries))


def record_values(response: Response) -> list[object]:
    """The records in an answer to ``getRecords``, as JSON; servers in use answer null where there are none.

    Raises:
        RecordError: it is an error, or no list.
    """
    if response.error is not None:
        raise RecordError(f"the service directory answered with error {response.error.code}: {response.error.message}")
    if response.result is None or response.result == {}:
        return []
    if not isinstance(response.result, list):
        raise RecordError("the service directory's answer to getRecords is not a list", hint="check the endpoint")
    return response.result


async def verified_chain(values: Sequence[object], trust: TrustStore, now: datetime) -> Chain:
    """The chain with the newest root in ``values``, verified from its root on.

    Raises:
        RecordError: it doesn't verify.
    """
    empty = Chain.empty(trust)
    try:
        return await verified(values, len(values), empty, now)
    except BadParams as error:
        raise RecordError(error.message, hint=error.hint) from None

"""Whether a service directory still has what this operator verified: asked before anything is signed on top of it.

A record that follows another one than servers know is believed by none of them, and yet the service directory answers
«ok». So its tip is compared with the chain that our own server verified last, and what is newer is verified here.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from eps.core.chain import Chain
from eps.core.high_water import HighWater
from eps.core.instant import Instant
from eps.core.names import RecordHash
from eps.core.new_root import TrustedRoots
from eps.core.signature import TrustStore
from eps.core.wording import counted
from eps.directory.slices import last_chain, read_records
from eps.errors import BadParams, RecordError
from eps.reasons import Reason

AskRecords = Callable[[RecordHash | str], Awaitable[Sequence[object]]]
"""The service directory's answer to ``getRecords``, behind a given hash ("": all)."""

HINT = (
    "nothing was signed: no server would believe it. docs/howto-recover-directory.md says how to rebuild the service "
    "directory's store from a verified copy (eps directory export, sd store import); --reset begins it anew"
)


@dataclass(frozen=True, slots=True)
class OwnServer:
    """What the server of the operator who signs believes, and would believe.

    Attributes:
        verified: the last chain that it verified; None: that isn't known.
        trusted: the roots that were accepted by hand for it.
        demanded: from which date on it demands canonical signatures; None: it doesn't.
        trust: whom it believes; None: that isn't known, and so isn't what is in the directory now.
    """

    verified: Chain | None = None
    trusted: TrustedRoots = ()
    demanded: Instant | None = None
    trust: TrustStore | None = None


async def check_not_set_back(
    verified: Chain, tip: RecordHash, ask: AskRecords, now: datetime, trusted: TrustedRoots = ()
) -> Chain:
    """Refuse a service directory whose ``tip`` doesn't go on from ``verified``.

    Args:
        trusted: the roots that were accepted by hand.

    Returns:
        The chain up to the service directory's tip, verified.

    Raises:
        RecordError: it was set back, or shows what is not to be believed.
    """
    if tip == verified.tip:
        return verified
    if not tip or verified.records.position(tip) is not None:
        raise RecordError(_set_back(verified, tip), hint=HINT, reason=Reason.DIRECTORY_SET_BACK)
    try:
        # Servers in use answer [] to a hash that they know from an older chain: then all of it is asked for.
        news = await read_records(await ask(verified.tip) or await ask(""))
        chain = await last_chain(verified.accepting(news, now, trusted), verified)
    except (BadParams, RecordError) as error:
        hint = f"{error.hint}; {HINT}" if error.hint else HINT
        raise RecordError(f"the service directory is not believed: {error.message}", hint=hint) from None
    if chain.records.position(tip) is None:
        raise RecordError(
            f"the service directory says that its last record is {tip[:12]}, but does not show it", hint=HINT
        )
    return chain


def _set_back(verified: Chain, tip: RecordHash) -> str:
    position = verified.records.position(tip) if tip else None
    kept = verified.records[: position + 1] if position is not None else []
    mark = HighWater.of(verified)
    assert mark is not None, "an empty chain has no tip to compare"
    if not kept:
        had = f"{counted(mark.records, 'record')} of it, up to {mark.tip[:12]} of {mark.date}"
        return f"the service directory is empty, but this operator has verified {had}"
    text = f"{len(kept)} of the {counted(mark.records, 'record')}, up to {tip[:12]} of {kept[-1].record.created_at}"
    missing = f"what is missing ends with {mark.tip[:12]} of {mark.date}"
    return f"the service directory was set back: of what this operator has verified, it has only {text}; {missing}"

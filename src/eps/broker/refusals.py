"""Why a call is not passed on, where that takes more than a sentence."""

from eps.core.entries import Entry
from eps.core.likeness import meant
from eps.core.names import Operator
from eps.core.permission import Denied, callable_by
from eps.errors import DirectoryUnavailable, EpsError, NotPermitted, Side
from eps.reasons import Reason

MAX_LISTED = 12
"""Methods that an error lists: a line or two."""


def no_directory(own: Operator, operator: Operator, failing: EpsError | None) -> DirectoryUnavailable:
    """Nothing is known yet; where that lies with ourselves, with our authorities say, as what it is."""
    text = f"{own} has no verified directory yet, so it knows no operator, not even {operator}"
    if failing is not None:
        text += f": {failing.message}"
        if failing.side is Side.OURS:
            return DirectoryUnavailable(text, hint=failing.hint, side=Side.OURS, reason=failing.reason)
    return DirectoryUnavailable(
        text,
        hint="start the service directory, or check directory.settings.endpoints, and that records were submitted "
        "(development network: make sd-setup)",
    )


def unknown_method(sender: Entry, recipient: Entry, method: str, denied: Denied) -> NotPermitted:
    """No service of ``recipient`` has ``method``; what ``sender`` may call there is told, and nothing else."""
    allowed = sorted(callable_by(sender, recipient))
    listed = ", ".join(allowed[:MAX_LISTED]) + (f" and {len(allowed) - MAX_LISTED} more" * (len(allowed) > MAX_LISTED))
    similar = meant(method, allowed)
    return NotPermitted(
        f"{denied.reason}; {sender.name} may call there: {listed or 'nothing'}",
        hint=f"did you mean {similar}?" if similar else "check the method's name",
        reason=Reason.METHOD_UNKNOWN,
    )

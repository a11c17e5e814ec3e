"""How a call ended, in fixed words: for its log line and the metrics."""

from typing import NamedTuple

from eps.core.event import Level
from eps.core.message import Error
from eps.core.names import Object
from eps.core.told import TOLD_BY, quoted
from eps.errors import EpsError, Outcome, Side, Stage
from eps.reasons import Reason, reason_of

WITHHELD = "whether an EPS server says so or an application can't be told; its words are logged at level debug"
"""In the place of words that may be an application's: what patients are called, say."""

NETWORK, APPLICATION, UNKNOWN = "network", "application", "unknown"
"""Whose a failure is: a caller's log and metrics keep them apart."""

_STAGES = frozenset(Stage)

NETWORK_CODES = frozenset({1, 403, 404, 409, 500, -100})
"""What servers say for themselves (PROTOCOL.md section 5); those in use add no word of where it went wrong."""


class Ending(NamedTuple):
    """How a call ended; see ``core.event.CallFinished``. ``level`` and ``left_out`` are those of its log line."""

    outcome: str
    fault: str = ""
    stage: str = ""
    reason: str = ""
    detail: str = ""
    level: Level = Level.DEBUG
    side: str = ""
    left_out: int = 0


def ending(error: Error | None, failure: EpsError | None, teller: str = "") -> Ending:
    """How a call ended, for its log line and the metrics.

    What an EPS server says, ours (``failure``) or another, concerns the administrator; what an application answers is
    between it and its caller. Servers in use say it as applications do: that something failed is told, not in whose
    words. Stages, outcomes and reasons are fixed words, also where a peer chooses them: they become metric labels.

    Args:
        teller: the operator whose server has answered, if that lets no application say that a server speaks; else "".
    """
    if error is None:
        return Ending("ok")
    if failure is not None:
        place = f" [{failure.place}]" if failure.place else ""
        words = (failure.outcome.value, NETWORK, failure.stage.value, failure.reason.value)
        return Ending(*words, f"{failure}{place}", Level.WARN, failure.side.value)
    data = error.data if isinstance(error.data, dict) else {}
    stage, hint = data.get("stage"), data.get("hint")
    if _is_told_by_a_server(data, teller):
        detail = quoted(f"{error.message} ({hint})" if hint else error.message)
        known = reason_of(data.get("reason"))
        word = known.value if known else ""
        return Ending(data["outcome"], NETWORK, str(stage), word, detail, Level.WARN, data["side"])
    is_stage = isinstance(stage, str) and stage in _STAGES
    if is_stage or (error.code in NETWORK_CODES and not error.data):
        return Ending("error", UNKNOWN, str(stage) if is_stage else Stage.CALL.value, "", WITHHELD, Level.WARN)
    return Ending("error", APPLICATION, Stage.CALL.value, "", quoted(error.message))


def _is_told_by_a_server(data: Object, teller: str) -> bool:
    """Whether the server that answered has made the error. An application can give its own the same form, or pass on
    what a server has told it."""
    if not teller or data.get(TOLD_BY) != teller:
        return False
    words = (("stage", Stage), ("side", Side), ("outcome", Outcome))
    return isinstance(data.get("hint"), str) and all(data.get(key) in list(kind) for key, kind in words)


CALLER_GONE = Ending("caller_gone")
"""Nobody waits for its answer any more: who asked has hung up, or this server is being stopped. Whether it was
executed, nobody will tell."""

LONG_SECONDS = 10.0
"""After so long without an answer whoever hangs up has not changed his mind: the administrator is to read it. Callers
give their calls 30 s, unless they are told otherwise."""


def given_up(own: str, seconds: float) -> Ending:
    """Our own application has not answered for so long that nobody waits for it any more."""
    detail = f"the application of {own} had not answered within {seconds:.1f} s, when whoever asked stopped waiting"
    reason, side = Reason.APPLICATION_SILENT.value, Side.OURS.value
    return Ending("caller_gone", reason=reason, detail=detail, level=Level.WARN, side=side)

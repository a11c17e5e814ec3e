"""What another operator's server tells of a failure, seen from here.

``error.data.side`` is said from where the teller stands: its «ours» is our «peer», or our «proxy». So whoever makes an
error puts its own name beside it (``told_by``), and who passes it on, or reads it, can translate. The text of another
operator is quoted, short, and in characters that do no harm; it never decides what is known of a call's execution.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from eps.core.message import WRAPPER, Error, Response
from eps.core.wording import plain
from eps.errors import EpsError, Side, Stage
from eps.reasons import FROM_ELSEWHERE, TABLE, Reason, reason_of

MAX_TEXT = 300
"""Characters of another operator's text: a line that can be read, and no page for the log."""


TOLD_BY = "told_by"
"""The key in ``error.data``: whose server made the error, and so from where its ``side`` is said.
Servers in use don't have it, and pass it on."""

_W = TypeVar("_W", Stage, Side)


@dataclass(frozen=True, slots=True)
class Told:
    """Why a proxy brought no tunnel.

    Attributes:
        stage: where it failed.
        side: whose it is, as we see it.
        reason: as we see it.
        text: with who says so, where that is known and isn't the proxy.
        hint: what to do; "" if nothing fitting was told.
    """

    stage: Stage
    side: Side
    reason: Reason
    text: str
    hint: str


_OF_A_PROXY = {
    Reason.APPLICATION_DOWN: Reason.PROXY_PROGRAM_DOWN,
    Reason.APPLICATION_SILENT: Reason.PROXY_SILENT,
    Reason.APPLICATION_BROKE_OFF: Reason.PROXY_PROGRAM_DOWN,
    Reason.APPLICATION_ANSWER: Reason.PROXY_PROGRAM_DOWN,
    Reason.NO_ANSWER: Reason.PROXY_SILENT,
}
"""What a proxy's EPS server says of its application, to those who asked for a tunnel."""


def told_of_tunnel(error: Error, operator: str, proxy: str) -> Told:
    """What an error of the proxy's means for the one who asked.

    Args:
        error: of ``requestConnection``.
        operator: who was to be reached.
        proxy: who was asked.
    """
    data = error.data if isinstance(error.data, dict) else {}
    teller = data.get(TOLD_BY)
    stage = _word(Stage, data.get("stage"), Stage.RELAY)
    said = _word(Side, data.get("side"), Side.PROXY)
    if teller == operator:
        side = {Side.OURS: Side.PEER, Side.DIRECTORY: Side.PEER}.get(said, Side.PROXY)
    elif teller == proxy:
        side = {Side.PEER: Side.PEER, Side.DIRECTORY: Side.DIRECTORY}.get(said, Side.PROXY)
    else:
        side = Side.PROXY  # who made it isn't known, so nor is what its words mean
    reason = reason_of(data.get("reason")) if teller in (operator, proxy) else None
    text = reported(error.message, teller) if teller == operator else _without(quoted(error.message), proxy)
    hint = data.get("hint")
    if reason in _OF_A_PROXY and teller == proxy:
        reason = _OF_A_PROXY[reason]
        text, hint = TABLE[reason].title, TABLE[reason].do
    # Nothing of the caller's own has left: what may have been executed is the question for a tunnel.
    certain = data.get("outcome") not in ("unknown", "executed")
    return Told(
        Stage.RELAY if stage is Stage.CALL else stage,
        side,
        FROM_ELSEWHERE.get(reason, reason) if reason is not None else Reason.NO_TUNNEL,
        text,
        quoted(hint) if isinstance(hint, str) and certain else "",
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no tunnel, for our own log; see ``core.event.TunnelFinished``.

    Attributes:
        gone: whoever asked for it is, so that nothing is wrong with the tunnel.
    """

    reason: str = ""
    detail: str = ""
    call_id: str = ""
    gone: bool = False

    @classmethod
    def of(cls, error: BaseException, call_id: str) -> "Failure":
        """What we have found ourselves."""
        if isinstance(error, EpsError):
            return cls(error.reason.value, str(error), quoted(call_id))
        return cls(detail="whoever asked for it has gone", call_id=quoted(call_id), gone=True)

    @classmethod
    def told(cls, error: Error, call_id: str) -> "Failure":
        """What an EPS server answered, ours or the callee's."""
        known = reason_of(error.data.get("reason")) if isinstance(error.data, dict) else None
        return cls(known.value if known is not None else "", quoted(error.message), quoted(call_id))


def anonymous(data: Any) -> Any:
    """``data`` of an application's error, which no longer says that a server has made it (:data:`TOLD_BY`). On its way
    it may be unwrapped more than once (``core.message.unwrap``): so what lies below lone ``_`` is looked at, too."""
    if not isinstance(data, dict):
        return data
    kept = {key: value for key, value in data.items() if key != TOLD_BY} if TOLD_BY in data else data
    if len(kept) == 1 and WRAPPER in kept:
        inner = anonymous(kept[WRAPPER])
        return kept if inner is kept[WRAPPER] else {WRAPPER: inner}
    return kept


def error_response(request_id: str, error: EpsError, teller: str = "", *, abroad: bool = False) -> Response:
    """The answer that tells the caller of ``error``, with its stage, side, outcome, reason and hint.

    Args:
        teller: the operator whose server says so; "" where that is plain, since nobody passes it on.
        abroad: the caller is another operator: the answer says no more than may cross.
    """
    data = error.data() | {TOLD_BY: teller} if teller else error.data()
    told = Error(error.code, error.told, data)
    return Response(request_id, error=fit_to_cross(told, teller) if abroad else told)


def fit_to_cross(error: Error, teller: str) -> Error:
    """``error`` as another organisation may read it, if a server of ours made it: where its own words may name files,
    addresses or what an application answered, the reason's fixed ones stand in their place.

    Args:
        teller: our operator.
    """
    is_ours = isinstance(error.data, dict) and error.data.get(TOLD_BY) == teller
    reason = reason_of(error.data.get("reason")) if is_ours else None
    if reason is None or TABLE[reason].is_open:
        return error
    fixed = TABLE[reason]
    return Error(error.code, f"{teller} reports: {fixed.title}", {**error.data, "hint": fixed.do})


def reported(text: str, teller: str) -> str:
    """What ``teller`` tells, quoted, with its name before it."""
    return f"{teller} reports: {_without(quoted(text), teller)}"


def _without(text: str, teller: str) -> str:
    return text.removeprefix(f"{teller} reports: ")


def quoted(text: str) -> str:
    """Another operator's text: one line of characters that can be printed, not too long."""
    shown = plain(text[: MAX_TEXT + 1])
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


def _word(kind: type[_W], word: object, default: _W) -> _W:
    try:
        return kind(word) if isinstance(word, str) else default
    except ValueError:
        return default

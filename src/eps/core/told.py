"""What another operator's server tells of a failure, seen from here.

``error.data.side`` is said from where the teller stands: its «ours» is our «peer», or our «proxy». So whoever makes an
error puts its own name beside it (``told_by``), and who passes it on, or reads it, can translate. The text of another
operator is quoted, short, and in characters that do no harm; it never decides what is known of a call's execution.
"""

from dataclasses import dataclass
from typing import TypeVar

from eps.core.message import TOLD_BY, Error
from eps.errors import BUSY, Side, Stage

MAX_TEXT = 300
"""Characters of another operator's text: a line that can be read, and no page for the log."""


_W = TypeVar("_W", Stage, Side)


@dataclass(frozen=True, slots=True)
class Told:
    """Why a proxy brought no tunnel.

    Attributes:
        stage: where it failed.
        side: whose it is, as we see it.
        text: with who says so, where that is known and isn't the proxy.
        hint: what to do; "" if nothing fitting was told.
        busy: whether somebody has too much to do, and said so.
    """

    stage: Stage
    side: Side
    text: str
    hint: str
    busy: bool


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
    text = quoted(error.message)
    if teller == operator:
        text = f"{operator} reports: {text}"
    hint = data.get("hint")
    # Nothing of the caller's own has left: what may have been executed is the question for a tunnel.
    certain = data.get("outcome") not in ("unknown", "executed")
    return Told(
        Stage.RELAY if stage is Stage.CALL else stage,
        side,
        text,
        quoted(hint) if isinstance(hint, str) and certain else "",
        data.get("reason") == BUSY,
    )


def quoted(text: str) -> str:
    """Another operator's text: one line of characters that can be printed, not too long."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: MAX_TEXT + 1])
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


def _word(kind: type[_W], word: object, default: _W) -> _W:
    try:
        return kind(word) if isinstance(word, str) else default
    except ValueError:
        return default

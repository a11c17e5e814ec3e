"""Callees that said that they connect to the relay, and show their token too late or never: who, and how late. For the
log; A, at whom the relay can only hang up, knows the same from how long its tokens live (``core.trace.durations``).
"""

from typing import Any

from eps.core.names import Operator, Token
from eps.core.recent import Recent
from eps.core.rendezvous import Closed, Offer, TunnelOutcome
from eps.core.told import Failure, quoted
from eps.reasons import Reason

MAX_REMEMBERED = 256
"""Tokens of offers that are over, some 100 bytes each: those of the last minutes, even if many callees are late."""


class Latecomers:
    """Of one proxy."""

    def __init__(self) -> None:
        self._over: Recent[Token, tuple[Operator, Operator, float]] = Recent(MAX_REMEMBERED)

    def why(self, closed: Closed[Any]) -> Failure:
        """Why an offer whose time is up has ended, for our log."""
        if closed.outcome not in (TunnelOutcome.UNUSED, TunnelOutcome.LONELY_SECOND):
            return Failure()
        return Failure(Reason.TOKEN_LATE.value, _text(closed.offer), quoted(closed.offer.call_id))

    def over(self, offer: Offer[Any]) -> None:
        """No token of the offer counts any more."""
        self._over.put(offer.first, (offer.caller, offer.callee, offer.created_at))

    def late(self, token: bytes, now: float) -> str:
        """Who shows a token that counts no more, and how late; "" if that isn't known."""
        known = self._over.get(Token(token))
        if known is None:
            return ""
        caller, callee, asked = known
        return f"{callee} came too late: {now - asked:.1f} s after it was asked to meet {caller}"


def _text(offer: Offer[Any]) -> str:
    seconds = offer.expires_at - offer.created_at
    return f"{offer.callee} came too late: {seconds:g} s after it was asked, it had not shown its token at the relay"

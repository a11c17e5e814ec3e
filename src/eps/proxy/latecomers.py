"""Callees that said that they connect to the relay, and show their token too late or never, or in vain, since nobody
waits for them any more: who, and when. For the log; A, at whom the relay can only hang up, knows the same from how long
its tokens live (``core.trace.durations``), and from that nothing has come.
"""

from typing import Any

from eps.core.names import Operator, Token
from eps.core.recent import Recent
from eps.core.rendezvous import Closed, Offer, State, TunnelOutcome
from eps.core.told import Failure, quoted
from eps.reasons import Reason

MAX_REMEMBERED = 256
"""Tokens of offers that are over, some 100 bytes each: those of the last minutes, even if many callees are late."""

_LATE = (TunnelOutcome.UNUSED, TunnelOutcome.LONELY_SECOND)
"""How offers end whose callee did not come in its time."""


class Latecomers:
    """Of one proxy."""

    def __init__(self) -> None:
        self._over: Recent[Token, tuple[Operator, Operator, float, str]] = Recent(MAX_REMEMBERED)

    def why(self, closed: Closed[Any]) -> Failure:
        """Why an offer whose time is up has ended, for our log."""
        if closed.outcome not in _LATE:
            return Failure()
        return Failure(Reason.TOKEN_LATE.value, _text(closed.offer), quoted(closed.offer.call_id))

    def over(self, closed: Closed[Any], failure: Failure) -> None:
        """No token of that offer counts any more. Of callees that had shown theirs, nothing is remembered.

        Args:
            failure: why, if that is known.
        """
        offer = closed.offer
        if offer.state is State.FIRST_WAITS or closed.outcome is TunnelOutcome.STOPPED:
            return
        in_vain = "" if closed.outcome in _LATE else "its caller had gone" if failure.gone else "the request had failed"
        self._over.put(offer.first, (offer.caller, offer.callee, offer.created_at, in_vain))

    def late(self, token: bytes, now: float) -> str:
        """Who shows a token that counts no more, when, and why it doesn't; "" if that isn't known."""
        known = self._over.get(Token(token))
        if known is None:
            return ""
        caller, callee, asked, in_vain = known
        came = f"{now - asked:.1f} s after it was asked to meet {caller}"
        return f"{callee} came {came}, in vain: {in_vain}" if in_vain else f"{callee} came too late: {came}"


def _text(offer: Offer[Any]) -> str:
    seconds = offer.expires_at - offer.created_at
    return f"{offer.callee} came too late: {seconds:g} s after it was asked, it had not shown its token at the relay"

"""The proxy's tokens: who may meet whom (PROTOCOL.md section 7, steps 3 to 6).

Theory of operation. For each request of A the proxy makes an *offer*: two tokens of 32 random bytes, the first for B,
the second for A. Each token admits one connection, a *half*, once. Whichever half comes first is kept; when the other
comes, both are joined and the offer is over. An offer lives ``accept_timeout`` seconds from its creation, and ends
early when the request to B fails or the proxy stops. The table below is all there is:

    state          happens           becomes
    OPEN           first came        FIRST_WAITS
    OPEN           second came       SECOND_WAITS
    FIRST_WAITS    second came       joined
    SECOND_WAITS   first came        joined
    OPEN           time is up        ended: unused
    FIRST_WAITS    time is up        ended: lonely_first
    SECOND_WAITS   time is up        ended: lonely_second
    (any)          request failed    ended: request_failed
    (any)          proxy stops       ended: stopped

Nothing here waits, reads a clock or knows a socket: time is passed in, a half is whatever the caller hands over, and
the halves to be closed are returned.

Tokens are looked up in a dictionary, which does not take constant time. That gives nothing away: a token is 256 random
bits, Python hashes it with a secret key, and equality is only checked against a token whose hash is the same; an
attacker would have to guess a whole token before timing could tell anything.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from secrets import token_bytes
from typing import Final, Generic, TypeVar

from eps.core.names import TOKEN_BYTES, Operator, Token
from eps.errors import TunnelFailed

MAX_OPEN_OFFERS = 4096
"""Offers that nobody has completed yet. A join takes some 10 ms, so 1,400 pairs a second need about 14; the rest is
room for slow peers. Each costs under 1 KiB, and at most one waiting socket: the limit bounds the waiting halves too."""

MAX_OFFERS_PER_CALLER = 1024
"""A quarter of all, so that one operator whose calls never arrive does not lock out the others."""


class TunnelOutcome(StrEnum):
    """How a relayed connection, or the wait for one, ended. Each ends in exactly one."""

    FINISHED = "finished"
    """Both halves were joined, and both sides ended their stream."""
    RESET = "reset"
    """Joined, until one side broke the connection off."""
    IDLE = "idle"
    """Joined, until no byte had moved either way for the idle limit, or one side had read nothing and its place was
    needed for others."""
    STOPPED = "stopped"
    """The proxy was stopped."""
    LONELY_FIRST = "lonely_first"
    """B came, A did not."""
    LONELY_SECOND = "lonely_second"
    """A came, B did not."""
    UNUSED = "unused"
    """Neither came."""
    REQUEST_FAILED = "request_failed"
    """B answered with an error, or could not be asked."""
    REFUSED_TOKEN = "refused_token"  # noqa: S105 - the name of an outcome
    """A connection showed a token that is unknown, used or expired."""
    NO_TOKEN = "no_token"  # noqa: S105 - the name of an outcome
    """A connection ended, or its time was up, before 32 bytes had come."""

    # At a private proxy, besides those of connections that were joined:

    NO_RELAY = "no_relay"
    """The public proxy's relay could not be dialled."""
    NO_TARGET = "no_target"
    """The internal server could not be reached."""
    NO_TLS = "no_tls"
    """TLS should have ended here, and its handshake failed."""


class State(Enum):
    """Of an offer that is not over."""

    OPEN = auto()
    FIRST_WAITS = auto()
    SECOND_WAITS = auto()


class Happening(Enum):
    """What can happen to an offer."""

    FIRST_CAME = auto()
    SECOND_CAME = auto()
    TIME_IS_UP = auto()
    REQUEST_FAILED = auto()
    STOPPING = auto()


class _Joined(Enum):
    JOINED = auto()


JOINED: Final = _Joined.JOINED

TRANSITIONS: Final[dict[tuple[State, Happening], State | TunnelOutcome | _Joined]] = {
    (State.OPEN, Happening.FIRST_CAME): State.FIRST_WAITS,
    (State.OPEN, Happening.SECOND_CAME): State.SECOND_WAITS,
    (State.FIRST_WAITS, Happening.SECOND_CAME): JOINED,
    (State.SECOND_WAITS, Happening.FIRST_CAME): JOINED,
    (State.OPEN, Happening.TIME_IS_UP): TunnelOutcome.UNUSED,
    (State.FIRST_WAITS, Happening.TIME_IS_UP): TunnelOutcome.LONELY_FIRST,
    (State.SECOND_WAITS, Happening.TIME_IS_UP): TunnelOutcome.LONELY_SECOND,
    **{(state, Happening.REQUEST_FAILED): TunnelOutcome.REQUEST_FAILED for state in State},
    **{(state, Happening.STOPPING): TunnelOutcome.STOPPED for state in State},
}
"""A token leaves the table with its half, so that no side can come twice."""

Half = TypeVar("Half")


@dataclass(slots=True, eq=False)
class Offer(Generic[Half]):
    """Two tokens and who they are for. Only :class:`Rendezvous` changes it.

    Attributes:
        first, second: B's and A's token. Secrets.
        created_at, expires_at: on the clock that is passed in.
        is_joined: both sides came; how the request to B ends no longer matters.
        trace: of the call for which it is made; "" where that isn't told.
        call_id: of the question for it.
        arrived_at: when B's connection came.
    """

    caller: Operator
    callee: Operator
    first: Token
    second: Token
    created_at: float
    expires_at: float
    state: State = State.OPEN
    half: Half | None = None
    is_joined: bool = False
    trace: str = ""
    call_id: str = ""
    arrived_at: float | None = None

    @property
    def arrived_after(self) -> float | None:
        """Seconds until B's connection came; None: it has not."""
        return self.arrived_at - self.created_at if self.arrived_at is not None else None

    def __repr__(self) -> str:
        """Without the tokens, so that no traceback or log line shows them."""
        return f"<Offer {self.caller} → {self.callee}, {self.state.name}>"


@dataclass(frozen=True, slots=True)
class Keep(Generic[Half]):
    """Hold this half until the other one comes or :meth:`Rendezvous.expire` gives it back."""

    offer: Offer[Half]
    is_first: bool


@dataclass(frozen=True, slots=True)
class Join(Generic[Half]):
    """Forward bytes between the two; the offer is over."""

    offer: Offer[Half]
    first: Half
    second: Half
    came_last_is_first: bool


@dataclass(frozen=True, slots=True)
class Reject:
    """Close the half that brought the token."""


@dataclass(frozen=True, slots=True)
class Closed(Generic[Half]):
    """An offer that ended without a join, and the half to close, if one was waiting."""

    offer: Offer[Half]
    half: Half | None
    outcome: TunnelOutcome


def random_token() -> Token:
    """32 bytes that nobody can guess."""
    return Token(token_bytes(TOKEN_BYTES))


class Rendezvous(Generic[Half]):
    """All open offers of one proxy. Time must not run backwards from call to call (``loop.time()`` doesn't)."""

    def __init__(
        self,
        accept_timeout: float,
        *,
        make_token: Callable[[], Token] = random_token,
        max_open: int = MAX_OPEN_OFFERS,
        max_per_caller: int = MAX_OFFERS_PER_CALLER,
    ) -> None:
        self._accept_timeout = accept_timeout
        self._make_token = make_token
        self._max_open = max_open
        self._max_per_caller = max_per_caller
        self._offers: dict[int, Offer[Half]] = {}  # by identity, oldest first: all live equally long
        self._tokens: dict[Token, tuple[Offer[Half], Happening]] = {}
        self._per_caller: Counter[Operator] = Counter()

    @property
    def open(self) -> int:
        """How many offers are waiting for one half or both."""
        return len(self._offers)

    @property
    def next_expiry(self) -> float | None:
        """When :meth:`expire` next has something to do; None if nothing is open."""
        return next((offer.expires_at for offer in self._offers.values()), None)

    def offer(self, now: float, caller: Operator, callee: Operator) -> Offer[Half]:
        """Make the two tokens for a connection from ``caller`` (A) to ``callee`` (B).

        Raises:
            TunnelFailed: too many connections are being made, by all or by this caller.
        """
        if len(self._offers) >= self._max_open or self._per_caller[caller] >= self._max_per_caller:
            whose = f"{caller} has" if len(self._offers) < self._max_open else "all callers together have"
            raise TunnelFailed(
                f"{whose} too many relayed connections under way at the proxy",
                hint=f"each is forgotten after {self._accept_timeout:g} s; try again then",
            )
        first, second = self._make_token(), self._make_token()
        offer: Offer[Half] = Offer(caller, callee, first, second, now, now + self._accept_timeout)
        self._offers[id(offer)] = offer
        self._tokens[first] = offer, Happening.FIRST_CAME
        self._tokens[second] = offer, Happening.SECOND_CAME
        self._per_caller[caller] += 1
        return offer

    def claim(self, now: float, token: bytes, half: Half) -> Keep[Half] | Join[Half] | Reject:
        """``half`` has shown ``token``: what to do with it. The token is used up, unless it is rejected."""
        offer, happening = self._tokens.get(Token(token), (None, None))
        if offer is None or happening is None or now >= offer.expires_at:
            return Reject()
        del self._tokens[Token(token)]
        is_first = happening is Happening.FIRST_CAME
        after = TRANSITIONS[offer.state, happening]
        if isinstance(after, State):
            offer.state, offer.half = after, half
            return Keep(offer, is_first)
        other = offer.half
        assert other is not None  # a half came before, or the table would not say: joined
        self._forget(offer)
        offer.is_joined = True
        return Join(offer, half, other, True) if is_first else Join(offer, other, half, False)

    def expire(self, now: float) -> list[Closed[Half]]:
        """End the offers whose time is up."""
        due = []
        for offer in self._offers.values():
            if offer.expires_at > now:
                break
            due.append(offer)
        return [self._end(offer, Happening.TIME_IS_UP) for offer in due]

    def cancel(self, offer: Offer[Half]) -> Closed[Half] | None:
        """The request to B has failed. None if the offer was over already."""
        return self._end(offer, Happening.REQUEST_FAILED) if id(offer) in self._offers else None

    def stop(self) -> list[Closed[Half]]:
        """The proxy stops: end all offers."""
        return [self._end(offer, Happening.STOPPING) for offer in list(self._offers.values())]

    def _end(self, offer: Offer[Half], happening: Happening) -> Closed[Half]:
        outcome = TRANSITIONS[offer.state, happening]
        assert isinstance(outcome, TunnelOutcome)  # the table's lower half
        half = offer.half
        self._forget(offer)
        return Closed(offer, half, outcome)

    def _forget(self, offer: Offer[Half]) -> None:
        offer.half = None
        del self._offers[id(offer)]
        self._tokens.pop(offer.first, None)
        self._tokens.pop(offer.second, None)
        self._per_caller[offer.caller] -= 1
        if not self._per_caller[offer.caller]:
            del self._per_caller[offer.caller]

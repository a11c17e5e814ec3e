"""The proxy's tokens as a dialogue: time and halves are whatever the test says."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from eps.core.names import Operator, Token
from eps.core.rendezvous import (
    JOINED,
    TRANSITIONS,
    Closed,
    Happening,
    Join,
    Keep,
    Offer,
    Reject,
    Rendezvous,
    State,
    TunnelOutcome,
    random_token,
)
from eps.errors import TunnelFailed

A, B = Operator("hd-1"), Operator("hd-2")


@pytest.fixture
def meeting() -> Rendezvous[str]:
    return Rendezvous(10.0)


def test_b_then_a_are_joined(meeting: Rendezvous[str]) -> None:
    offer = meeting.offer(0.0, A, B)
    assert meeting.claim(1.0, offer.first, "b") == Keep(offer, is_first=True)
    assert meeting.claim(2.0, offer.second, "a") == Join(offer, "b", "a", came_last_is_first=False)
    assert meeting.open == 0


def test_a_then_b_are_joined(meeting: Rendezvous[str]) -> None:
    offer = meeting.offer(0.0, A, B)
    assert meeting.claim(1.0, offer.second, "a") == Keep(offer, is_first=False)
    assert meeting.claim(2.0, offer.first, "b") == Join(offer, "b", "a", came_last_is_first=True)


def test_a_token_admits_one_side_once(meeting: Rendezvous[str]) -> None:
    offer = meeting.offer(0.0, A, B)
    meeting.claim(1.0, offer.first, "b")
    assert meeting.claim(1.0, offer.first, "thief") == Reject()
    assert isinstance(meeting.claim(1.0, offer.second, "a"), Join)
    assert meeting.claim(1.0, offer.first, "late thief") == Reject()
    assert meeting.claim(1.0, offer.second, "late thief") == Reject()


def test_unknown_tokens_are_rejected(meeting: Rendezvous[str]) -> None:
    meeting.offer(0.0, A, B)
    assert meeting.claim(0.0, random_token(), "?") == Reject()
    assert meeting.claim(0.0, b"", "?") == Reject()


def test_each_side_gets_its_own_token(meeting: Rendezvous[str]) -> None:
    offers = [meeting.offer(0.0, A, B) for _ in range(50)]
    tokens = {token for offer in offers for token in (offer.first, offer.second)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {32}


@pytest.mark.parametrize(
    ("who", "outcome"),
    [
        (None, TunnelOutcome.UNUSED),
        ("first", TunnelOutcome.LONELY_FIRST),
        ("second", TunnelOutcome.LONELY_SECOND),
    ],
)
def test_what_waits_too_long_is_closed(meeting: Rendezvous[str], who: str | None, outcome: TunnelOutcome) -> None:
    offer = meeting.offer(5.0, A, B)
    if who:
        meeting.claim(6.0, getattr(offer, who), "half")
    assert meeting.next_expiry == 15.0
    assert meeting.expire(14.9) == []
    assert meeting.expire(15.0) == [Closed(offer, "half" if who else None, outcome)]
    assert meeting.open == 0
    assert meeting.next_expiry is None
    assert meeting.expire(99.0) == []


def test_a_token_is_dead_when_its_time_is_up_though_nobody_cleared_it(meeting: Rendezvous[str]) -> None:
    offer = meeting.offer(0.0, A, B)
    meeting.claim(9.9, offer.first, "b")
    assert meeting.claim(10.0, offer.second, "a") == Reject()
    assert meeting.expire(10.0) == [Closed(offer, "b", TunnelOutcome.LONELY_FIRST)]


def test_only_what_is_due_expires(meeting: Rendezvous[str]) -> None:
    first, second, third = (meeting.offer(float(now), A, B) for now in range(3))
    assert [closed.offer for closed in meeting.expire(11.5)] == [first, second]
    assert meeting.next_expiry == third.expires_at


@pytest.mark.parametrize("who", [None, "first", "second"])
def test_a_failed_request_ends_the_offer(meeting: Rendezvous[str], who: str | None) -> None:
    offer = meeting.offer(0.0, A, B)
    if who:
        meeting.claim(1.0, getattr(offer, who), "half")
    assert meeting.cancel(offer) == Closed(offer, "half" if who else None, TunnelOutcome.REQUEST_FAILED)
    assert meeting.claim(1.0, offer.first, "b") == Reject()
    assert meeting.claim(1.0, offer.second, "a") == Reject()
    assert meeting.cancel(offer) is None


def test_a_joined_pair_is_no_longer_the_tables_business(meeting: Rendezvous[str]) -> None:
    offer = meeting.offer(0.0, A, B)
    meeting.claim(0.0, offer.first, "b")
    meeting.claim(0.0, offer.second, "a")
    assert meeting.cancel(offer) is None
    assert meeting.stop() == []


def test_stopping_ends_everything(meeting: Rendezvous[str]) -> None:
    offers = [meeting.offer(0.0, A, B) for _ in range(3)]
    meeting.claim(0.0, offers[1].second, "a")
    assert [(closed.half, closed.outcome) for closed in meeting.stop()] == [
        (None, TunnelOutcome.STOPPED),
        ("a", TunnelOutcome.STOPPED),
        (None, TunnelOutcome.STOPPED),
    ]


def test_open_offers_are_bounded() -> None:
    meeting: Rendezvous[str] = Rendezvous(10.0, max_open=3, max_per_caller=2)
    first = meeting.offer(0.0, A, B)
    meeting.offer(0.0, A, B)
    with pytest.raises(TunnelFailed, match="hd-1 has too many"):
        meeting.offer(0.0, A, B)
    meeting.offer(0.0, B, A)
    with pytest.raises(TunnelFailed, match="all callers together have too many"):
        meeting.offer(0.0, Operator("hd-3"), A)
    meeting.cancel(first)
    meeting.offer(0.0, A, B)


def test_tokens_are_not_shown(meeting: Rendezvous[str]) -> None:
    offer = meeting.offer(0.0, A, B)
    assert repr(offer) == "<Offer hd-1 → hd-2, OPEN>"
    assert repr(offer.first) not in repr(meeting.claim(0.0, offer.first, "b"))


def test_the_table_says_what_happens_in_every_state() -> None:
    impossible = {(State.FIRST_WAITS, Happening.FIRST_CAME), (State.SECOND_WAITS, Happening.SECOND_CAME)}
    assert set(TRANSITIONS) == set(itertools.product(State, Happening)) - impossible
    assert [after for after in TRANSITIONS.values() if after is JOINED] == [JOINED] * 2


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: every half is in one place, and every offer ends once."""

    def __init__(self) -> None:
        super().__init__()
        counter: Iterator[int] = itertools.count()
        self.meeting: Rendezvous[int] = Rendezvous(
            10.0, make_token=lambda: Token(next(counter).to_bytes(32, "big")), max_open=6, max_per_caller=4
        )
        self.now = 0.0
        self.halves = itertools.count()
        self.offers: list[Offer[int]] = []
        self.ended: list[Offer[int]] = []
        self.waiting: dict[int, Offer[int]] = {}

    @initialize()
    def begin(self) -> None:
        self.offer()

    @rule()
    def offer(self) -> None:
        if len(self.offers) - len(self.ended) < 4:
            self.offers.append(self.meeting.offer(self.now, A, B))

    @rule(index=st.integers(0, 50), first=st.booleans())
    def claim(self, index: int, first: bool) -> None:
        offer = self.offers[index % len(self.offers)]
        half = next(self.halves)
        verdict = self.meeting.claim(self.now, offer.first if first else offer.second, half)
        if isinstance(verdict, Keep):
            assert verdict.is_first == first
            self.waiting[half] = offer
        elif isinstance(verdict, Join):
            other = verdict.second if first else verdict.first
            assert self.waiting.pop(other) is offer
            assert half in (verdict.first, verdict.second)
            self.ended.append(offer)

    @rule(seconds=st.floats(0, 11))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.close(self.meeting.expire(self.now))
        assert self.meeting.next_expiry is None or self.meeting.next_expiry > self.now

    @rule(index=st.integers(0, 50))
    def fail(self, index: int) -> None:
        closed = self.meeting.cancel(self.offers[index % len(self.offers)])
        self.close([closed] if closed else [])

    def close(self, closed: list[Closed[int]]) -> None:
        for each in closed:
            self.ended.append(each.offer)
            if each.half is not None:
                assert self.waiting.pop(each.half) is each.offer

    @invariant()
    def every_offer_is_open_or_ended_once(self) -> None:
        assert len(self.ended) == len({id(offer) for offer in self.ended})
        assert self.meeting.open == len(self.offers) - len(self.ended)
        assert len(self.waiting) <= self.meeting.open


TestAnyOrder = AnyOrder.TestCase

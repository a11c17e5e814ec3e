"""When silence is borne, when it is asked about, and when it is an end."""

import math

import pytest

from eps.grpc.pulse import Diagnosis, Pulse, PulseLimits, Sent, judge_sent

LIMITS = PulseLimits()


def waiting(*, ours: bool = True) -> Pulse:
    """A call waits since 100; the last byte came at 90."""
    pulse = Pulse(LIMITS, 90.0)
    pulse.ours = ours
    pulse.waits("a call", 100.0)
    return pulse


def asked(*, ours: bool = True) -> Pulse:
    """As before, and pinged at 102."""
    pulse = waiting(ours=ours)
    assert pulse.judge(102.0, Sent.QUIET) is Diagnosis.ASK
    pulse.asked(102.0)
    return pulse


def test_nobody_waits() -> None:
    pulse = Pulse(LIMITS, 90.0)
    assert pulse.since is None
    assert pulse.due(1000.0) is None
    assert pulse.judge(1000.0, Sent.DEAF) is Diagnosis.NOTHING


def test_a_call_that_has_waited_asks_after_two_seconds() -> None:
    pulse = waiting()
    assert pulse.due(100.0) == 2.0
    assert pulse.judge(101.9, Sent.QUIET) is Diagnosis.NOTHING
    assert pulse.judge(102.0, Sent.QUIET) is Diagnosis.ASK


def test_what_came_since_puts_the_question_off() -> None:
    pulse = waiting()
    pulse.heard(101.5)
    assert pulse.due(102.0) == 1.5
    assert pulse.judge(102.0, Sent.QUIET) is Diagnosis.NOTHING
    assert pulse.judge(103.5, Sent.QUIET) is Diagnosis.ASK


def test_the_longest_wait_counts_and_a_call_that_is_over_does_not() -> None:
    pulse = waiting()
    pulse.waits("another", 101.0)
    pulse.done("a call")
    assert pulse.judge(102.9, Sent.QUIET) is Diagnosis.NOTHING
    assert pulse.judge(103.0, Sent.QUIET) is Diagnosis.ASK
    pulse.done("another")
    pulse.done("another")
    assert pulse.judge(200.0, Sent.QUIET) is Diagnosis.NOTHING


@pytest.mark.parametrize(
    ("shown", "dead_at"), [(Sent.DEAF, 105.0), (Sent.QUIET, 115.0), (Sent.MOVING, 115.0)], ids=lambda value: str(value)
)
def test_doubt_comes_first_and_death_when_the_way_is_dead_or_the_peer_too_slow(shown: Sent, dead_at: float) -> None:
    pulse = asked()
    assert pulse.due(102.0) == 2.0
    assert pulse.judge(103.9, shown) is Diagnosis.NOTHING
    assert not pulse.doubtful
    assert pulse.judge(104.0, shown) is Diagnosis.DOUBT
    assert pulse.doubtful
    assert pulse.due(104.0) == 1.0
    assert pulse.due(105.0) == 10.0
    assert pulse.judge(dead_at - 0.1, shown) is Diagnosis.DOUBT
    assert pulse.judge(dead_at, shown) is Diagnosis.DEAD
    assert pulse.due(dead_at + 100) == 0.0


@pytest.mark.parametrize(
    ("shown", "came_at", "verdict"),
    [
        (Sent.QUIET, 104.5, Diagnosis.DEAD),
        (Sent.QUIET, 101.0, Diagnosis.DOUBT),
        (Sent.MOVING, 104.5, Diagnosis.DOUBT),
    ],
    ids=["since", "before", "bytes of ours are on their way"],
)
def test_another_connection_that_came_up_shows_that_this_one_is_dead(
    shown: Sent, came_at: float, verdict: Diagnosis
) -> None:
    pulse = asked()
    pulse.elsewhere(came_at)
    assert pulse.judge(105.0, shown) is verdict


def test_any_byte_ends_the_doubt() -> None:
    pulse = asked()
    assert pulse.judge(105.0, Sent.QUIET) is Diagnosis.DOUBT
    pulse.heard(105.5)
    assert not pulse.doubtful
    assert pulse.judge(107.4, Sent.QUIET) is Diagnosis.NOTHING
    assert pulse.judge(107.5, Sent.QUIET) is Diagnosis.ASK


def test_foreign_peers_are_asked_every_fifteen_seconds_at_most() -> None:
    pulse = asked(ours=False)
    pulse.heard(103.0)
    assert pulse.judge(116.9, Sent.QUIET) is Diagnosis.NOTHING
    assert pulse.due(116.9) == LIMITS.ask_after
    assert pulse.judge(117.0, Sent.QUIET) is Diagnosis.ASK


def test_where_no_ping_may_be_sent_bytes_without_confirmation_are_the_question() -> None:
    pulse = asked(ours=False)
    pulse.heard(103.0)
    assert pulse.judge(106.0, Sent.DEAF) is Diagnosis.NOTHING
    assert pulse.asked_at == 106.0
    assert pulse.pinged_at == 102.0
    assert pulse.judge(108.0, Sent.DEAF) is Diagnosis.DOUBT
    assert pulse.judge(109.0, Sent.DEAF) is Diagnosis.DEAD


@pytest.mark.parametrize(
    ("unconfirmed", "ago", "shown"),
    [(0, 100.0, Sent.QUIET), (1, 3.0, Sent.DEAF), (1, 2.9, Sent.MOVING), (1, math.inf, Sent.DEAF)],
    ids=str,
)
def test_what_the_kernel_tells_of_the_sent(unconfirmed: int, ago: float, shown: Sent) -> None:
    assert judge_sent(unconfirmed, ago, 3.0) is shown

"""What is suspected of tunnels, and what is learned from those that are cut or live."""

import math

import pytest

from eps.core.lifetime import (
    ENDURED,
    LEAD,
    LONGEST,
    MARGIN,
    MAX_PROXIES,
    NEWS,
    SAME_MOMENT,
    SHORTEST,
    SUSPECTED,
    SUSPECTED_MARGIN,
    TOLERANCE,
    Cut,
    Fitness,
    Lifetimes,
)

FIT, AGEING, SPENT = Fitness.FIT, Fitness.AGEING, Fitness.SPENT


def taught(lifetimes: Lifetimes, proxy: str, age: float) -> bool:
    """Two tunnels of ``proxy`` are cut at ``age``, one after the other; whether that was news."""
    first = lifetimes.cut(proxy, Cut(age, 100.0))
    return lifetimes.cut(proxy, Cut(age, 100.0 + SAME_MOMENT + age)) or first


@pytest.mark.parametrize(
    ("age", "fitness"),
    [
        (0.0, FIT),
        (SUSPECTED - SUSPECTED_MARGIN - LEAD - 0.01, FIT),
        (SUSPECTED - SUSPECTED_MARGIN - LEAD, AGEING),
        (SUSPECTED - SUSPECTED_MARGIN, SPENT),
        (SUSPECTED + SUSPECTED_MARGIN - 0.01, SPENT),
        (SUSPECTED + SUSPECTED_MARGIN, FIT),
        (10_000.0, FIT),
    ],
)
def test_a_proxy_that_has_shown_nothing_may_have_the_habit_of_those_in_use(age: float, fitness: Fitness) -> None:
    assert Lifetimes().judge("p", age) is fitness


def test_a_tunnel_that_lives_on_shows_that_its_proxy_has_it_not() -> None:
    lifetimes = Lifetimes()
    assert lifetimes.proof_age("p") == ENDURED
    assert not lifetimes.outlived("p", ENDURED - 0.01)
    assert lifetimes.judge("p", SUSPECTED) is SPENT
    assert lifetimes.outlived("p", ENDURED)
    assert lifetimes.judge("p", SUSPECTED) is FIT
    assert lifetimes.judge("other", SUSPECTED) is SPENT
    assert lifetimes.proof_age("p") is None
    assert not lifetimes.outlived("p", 10_000)


def test_two_cuts_teach_and_the_last_second_is_avoided() -> None:
    lifetimes = Lifetimes()
    assert taught(lifetimes, "p", 20.0)
    assert lifetimes.judge("p", 20.0 - MARGIN - LEAD - 0.01) is FIT
    assert lifetimes.judge("p", 20.0 - MARGIN - LEAD) is AGEING
    assert lifetimes.judge("p", 20.0 - MARGIN) is SPENT
    assert lifetimes.judge("p", 10_000) is SPENT
    assert lifetimes.doubtful_until("p") == 20.0 + TOLERANCE
    assert lifetimes.doubtful_until("other") == SUSPECTED + SUSPECTED_MARGIN


def test_one_cut_teaches_nothing() -> None:
    lifetimes = Lifetimes()
    assert not lifetimes.cut("p", Cut(20.0, 100.0))
    assert lifetimes.judge("p", 20.0) is FIT
    assert lifetimes.to_json() == {}


def test_cuts_at_different_ages_teach_nothing() -> None:
    lifetimes = Lifetimes()
    for number, age in enumerate((20.0, 20.0 + TOLERANCE + 0.01, 9.0, 20.0)):
        assert not lifetimes.cut("p", Cut(age, 100.0 * number))
    assert lifetimes.to_json() == {}


def test_cuts_at_the_same_moment_are_one_restart() -> None:
    lifetimes = Lifetimes()
    assert not lifetimes.cut("p", Cut(20.0, 100.0))
    assert not lifetimes.cut("p", Cut(20.0, 100.0 + SAME_MOMENT - 0.01))
    assert not lifetimes.cut("q", Cut(20.0, 200.0))  # of another proxy
    assert lifetimes.cut("p", Cut(20.3, 120.0))
    assert lifetimes.to_json() == {"p": 20.0}  # the earlier one of both


def test_a_tunnel_that_outlives_a_cut_wipes_it_out() -> None:
    lifetimes = Lifetimes()
    lifetimes.cut("p", Cut(20.0, 100.0))
    lifetimes.outlived("p", 20.0 + TOLERANCE / 2)
    lifetimes.outlived("p", 20.0 + TOLERANCE)
    assert not lifetimes.cut("p", Cut(20.0, 200.0))


def test_a_short_life_leaves_some_use_of_a_tunnel() -> None:
    lifetimes = Lifetimes()
    taught(lifetimes, "p", SHORTEST)
    assert [lifetimes.judge("p", age) for age in (0.0, 0.3, 0.5)] == [FIT, AGEING, SPENT]


def test_later_cuts_count_and_are_news_if_they_differ() -> None:
    lifetimes = Lifetimes()
    lifetimes.outlived("p", ENDURED)
    assert taught(lifetimes, "p", 200.0)
    assert taught(lifetimes, "p", 5.0)
    assert not taught(lifetimes, "p", 5.0 + NEWS / 2)
    assert lifetimes.judge("p", 4.5) is SPENT


def test_a_tunnel_that_outlives_the_lesson_wipes_it_out() -> None:
    lifetimes = Lifetimes()
    taught(lifetimes, "p", 3.0)
    assert not lifetimes.outlived("p", 3.0 + TOLERANCE / 2)
    proof = lifetimes.proof_age("p")
    assert proof == 3.0 + TOLERANCE
    assert lifetimes.outlived("p", proof)
    assert lifetimes.judge("p", 3.0) is FIT
    assert lifetimes.proof_age("p") == ENDURED  # it may still have the habit of those in use


def test_failures_and_long_lives_teach_nothing() -> None:
    lifetimes = Lifetimes()
    assert not taught(lifetimes, "p", SHORTEST - 0.01)
    assert not taught(lifetimes, "p", LONGEST + 1)
    assert lifetimes.to_json() == {}


def test_what_was_learned_survives() -> None:
    lifetimes, later = Lifetimes(), Lifetimes()
    taught(lifetimes, "p", 5.5)
    lifetimes.outlived("q", ENDURED)
    assert lifetimes.to_json() == {"p": 5.5, "q": None}
    later.remember(lifetimes.to_json())
    assert later.to_json() == lifetimes.to_json()
    assert later.proof_age("q") is None


def test_what_is_no_lesson_is_left_out() -> None:
    lifetimes = Lifetimes()
    lifetimes.remember({"a": "5", "b": True, "c": -1, "d": math.nan, "e": math.inf, "f": [], "g": 7})
    assert lifetimes.to_json() == {"g": 7.0}


def test_proxies_beyond_the_limit_are_forgotten() -> None:
    lifetimes = Lifetimes()
    for number in range(MAX_PROXIES + 1):
        lifetimes.outlived(f"p{number}", ENDURED)
    assert len(lifetimes.to_json()) == MAX_PROXIES

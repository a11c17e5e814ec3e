"""What is learned from tunnels that a proxy cuts."""

from eps.core.lifetime import LONGEST, MARGIN, SHORTEST, TOLERANCE, Lifetimes


def test_nothing_is_known_at_first() -> None:
    lifetimes = Lifetimes()
    assert not lifetimes.is_near_end("p", 10_000)
    assert lifetimes.proof_age("p") is None
    lifetimes.outlived("p", 10_000)


def test_one_cut_teaches_and_the_last_second_is_avoided() -> None:
    lifetimes = Lifetimes()
    lifetimes.cut("p", 5.0)
    assert not lifetimes.is_near_end("p", 5.0 - MARGIN - 0.01)
    assert lifetimes.is_near_end("p", 5.0 - MARGIN)
    assert not lifetimes.is_near_end("other", 5.0)


def test_a_later_cut_counts() -> None:
    lifetimes = Lifetimes()
    lifetimes.cut("p", 200.0)
    lifetimes.cut("p", 5.0)
    assert lifetimes.is_near_end("p", 4.5)


def test_a_tunnel_that_outlives_the_lesson_wipes_it_out() -> None:
    lifetimes = Lifetimes()
    lifetimes.cut("p", 5.0)
    lifetimes.outlived("p", 5.0 + TOLERANCE / 2)
    assert lifetimes.is_near_end("p", 5.0)
    proof = lifetimes.proof_age("p")
    assert proof == 5.0 + TOLERANCE
    lifetimes.outlived("p", proof)
    assert not lifetimes.is_near_end("p", 5.0)


def test_failures_and_long_lives_teach_nothing() -> None:
    lifetimes = Lifetimes()
    lifetimes.cut("p", SHORTEST - 0.01)
    lifetimes.cut("p", LONGEST + 1)
    assert lifetimes.proof_age("p") is None

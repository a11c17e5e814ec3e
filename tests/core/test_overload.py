"""How many calls an application gets: simulated applications that are overloaded, slow by nature, moody, or gone."""

import itertools
import math
import random
from collections.abc import Callable

import pytest

from eps.core import overload
from eps.core.latency import COHORT, MAX_WATCHED, STALL, Begun, Watch
from eps.core.overload import CEILING, FLOOR, MAX_METHODS, MAX_WAITING, Adaptive, Fixed, may_wait
from support.queueing import Simulation, Work, about, anything, arrivals


def overloaded(workers: int, seconds: float, work: Work, seed: int, *, warm: float = 20.0) -> Simulation:
    """0.8 of the capacity for 20 s, three times the capacity for 20 s, 0.8 of it again."""
    random.seed(seed)
    capacity = workers / seconds
    simulation = Simulation(Adaptive(0.0), workers)
    calls = itertools.chain(
        arrivals(0.8 * capacity, 20 - warm, 20, work),
        arrivals(3 * capacity, 20, 40, work),
        arrivals(0.8 * capacity, 40, 64, work),
    )
    simulation.run(calls, 64)
    return simulation


def at_ease(workers: int, seconds: float, work: Work, seed: int) -> Simulation:
    """0.8 of the capacity, and no limit."""
    random.seed(seed)
    simulation = Simulation(Fixed(10**9), workers)
    simulation.run(arrivals(0.8 * workers / seconds, 0, 60, work), 60)
    return simulation


APPLICATIONS: dict[str, tuple[int, float, Callable[[float], Work]]] = {
    "8 workers": (8, 0.05, about),
    "8 moody workers": (8, 0.05, anything),
    "32 workers": (32, 0.1, about),
}


@pytest.mark.parametrize("warm", [20.0, 0.0], ids=["warm", "cold"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", APPLICATIONS)
def test_three_times_the_capacity(name: str, seed: int, warm: float) -> None:
    workers, seconds, make = APPLICATIONS[name]
    simulation = overloaded(workers, seconds, make(seconds), seed, warm=warm)
    ease = at_ease(workers, seconds, make(seconds), seed + 100).result(5, 60)
    amid = simulation.result(23, 40)
    # Started amid the overload it doesn't know what calls of an application take that now answers soon, now late.
    assert amid.quantile(0.5) < (2 if warm or make is about else 3) * ease.quantile(0.5)
    assert amid.quantile(0.9) < 2 * ease.quantile(0.9)
    assert len(amid.seconds) > 0.9 * 17 * workers / seconds, "it works as much as it can"
    after = simulation.result(50, 63)
    assert after.quantile(0.5) < 1.3 * ease.quantile(0.5)
    assert after.refused < 0.05 * len(after.seconds)


@pytest.mark.parametrize("times", [3, 10])
@pytest.mark.parametrize(("workers", "seconds"), [(8, 0.05), (8, 0.2)], ids=["quick", "slow"])
def test_an_overload_begins_with_few_late_answers(workers: int, seconds: float, times: int) -> None:
    """Until it is known, calls come on: that is so when some should have ended, not only when they have, late."""
    random.seed(workers + times)
    capacity = workers / seconds
    simulation = Simulation(Adaptive(0.0), workers)
    work = about(seconds)
    calls = itertools.chain(arrivals(0.8 * capacity, 0, 20, work), arrivals(times * capacity, 20, 30, work))
    simulation.run(calls, 60)
    result = simulation.result(20, 30)
    assert result.seconds[-1] < 3 * times * max(seconds, STALL), "it is known after a quarter of a second, or 1.5 calls"
    assert sum(took > 4 * seconds for took in result.seconds) < 90 * times


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("workers", "seconds", "latest", "most"),
    [(8, 0.05, 0.95, 0.2), (8, 0.2, 3.0, 1.0), (2, 0.1, 5.0, 2.5)],
    ids=["quick", "slow", "few workers"],
)
def test_begun_amid_an_overload_it_is_known_from_the_first_calls(
    workers: int, seconds: float, latest: float, most: float, seed: int
) -> None:
    """What nine of ten take is learned when few run, which here only the first ones do."""
    simulation = overloaded(workers, seconds, about(seconds), seed, warm=0.0)
    assert simulation.result(20, 40).seconds[-1] < latest
    assert simulation.result(23, 40).quantile(0.9) < most


@pytest.mark.parametrize("seed", range(2))
def test_a_slow_application_that_is_suddenly_asked_for_more_soon_gets_it_all(seed: int) -> None:
    """Whatever comes takes 2 s: ten calls run, and then three hundred."""
    random.seed(seed)
    simulation = Simulation(Adaptive(0.0), None)
    simulation.run(itertools.chain(arrivals(5, 0, 60, about(2.0)), arrivals(150, 60, 100, about(2.0))), 110)
    assert simulation.result(0, 110).refused == 0
    assert simulation.limit.most == CEILING


def test_calls_that_are_watched_are_bounded() -> None:
    watch = Watch()
    calls = [Begun("m", 1, 0.0) for _ in range(MAX_WATCHED + 1)]
    for call in calls:
        watch.begun(call, 0.2, 1.0)
    for call in calls[:MAX_WATCHED]:
        call.seconds = 0.5
    assert watch.overdue(0.29) == 0.0 == watch.overdue(0.31)


def test_what_should_have_ended_and_has_not_is_known_while_it_runs() -> None:
    watch = Watch()
    calls = [Begun("m", 1, number / 100) for number in range(10)]
    for call in calls:
        watch.begun(call, 0.2, 1.0)
    assert watch.overdue(0.355) == 0.0, "six of them"
    assert watch.overdue(0.365) == pytest.approx(0.365)
    for call in calls[:4]:
        call.seconds = 0.2
    assert watch.overdue(0.5) == 0.0


@pytest.mark.parametrize("seed", range(2))
def test_few_workers_get_no_less_than_the_floor(seed: int) -> None:
    simulation = overloaded(1, 0.005, about(0.005), seed)
    assert simulation.limit.most >= FLOOR
    amid = simulation.result(23, 40)
    assert amid.quantile(0.5) < 0.1, "what is answered within a tenth of a second, nobody would rather have refused"
    assert amid.quantile(0.9) < 0.2
    assert len(amid.seconds) > 0.9 * 17 / 0.005


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("rate", "work"),
    [
        (10, lambda: 10.0),
        (20, lambda: random.choice((0.01, 10.0))),
        (1000, anything(0.1)),
        (150, anything(0.1)),
        (3, about(10.0)),
    ],
    ids=["a hundred polls of 10 s", "polls that often have news", "a hundred moody", "fifteen moody", "thirty slow"],
)
def test_slow_by_nature_is_no_overload(rate: float, work: Work, seed: int) -> None:
    random.seed(seed)
    simulation = Simulation(Adaptive(0.0), None)
    simulation.run(arrivals(rate, 0, 60, work), 80)
    assert simulation.result(0, 60).refused == 0
    assert simulation.limit.most == CEILING


@pytest.mark.parametrize("seed", range(2))
def test_quick_methods_beside_slow_ones(seed: int) -> None:
    """A hundred calls wait for events all the time, beside a hundred lookups a second."""
    random.seed(seed)
    polls = Simulation(Adaptive(0.0), None)
    calls = itertools.chain(
        arrivals(10, 0, 60, about(10.0), "poll"), arrivals(100, 0, 60, about(0.02), "look up"),
    )  # fmt: skip
    polls.run(calls, 80)
    assert polls.result(0, 60).refused == 0


@pytest.mark.parametrize("seed", range(2))
def test_polls_whose_news_cease_are_refused_for_a_moment_only(seed: int) -> None:
    """The same method took 10 ms, and takes 10 s from now on: for all that is seen, that is overload, until it is tried
    whether fewer calls help."""
    random.seed(seed)
    simulation = Simulation(Adaptive(0.0), None)
    simulation.run(itertools.chain(arrivals(10, 0, 60, about(0.01)), arrivals(20, 60, 400, lambda: 10.0)), 400)
    assert simulation.result(60, 100).refused < 0.5 * 800
    assert simulation.result(120, 400).refused == 0
    assert simulation.limit.most == CEILING


@pytest.mark.parametrize("seed", range(2))
def test_an_application_whose_database_is_slow_for_a_while(seed: int) -> None:
    random.seed(seed)
    simulation = Simulation(Adaptive(0.0), None)
    calls = itertools.chain(
        arrivals(300, 0, 20, about(0.1)), arrivals(300, 20, 40, about(0.5)), arrivals(300, 40, 50, about(0.1))
    )
    simulation.run(calls, 52)
    assert simulation.result(0, 20).refused == 0
    assert simulation.result(20, 30).refused < 0.6 * 10 * 300
    assert simulation.result(30, 40).refused < 0.05 * 10 * 300, "fewer calls don't help"
    assert simulation.result(40, 50).refused == 0


def test_bursts_are_no_overload() -> None:
    simulation = Simulation(Adaptive(0.0), 8)
    simulation.run([(at + number / 10_000, "m", 0.05) for at in range(0, 100, 5) for number in range(50)], 120)
    assert simulation.result(0, 100).refused == 0


class Asked:
    """An adaptive limit, and calls that take as long as is said."""

    def __init__(self) -> None:
        self.now = 0.0
        self.limit = Adaptive(self.now)

    def calls(
        self, seconds: float | None, *, running: int, count: int = COHORT, method: str = "m", refused: bool = False
    ) -> None:
        """One after the other, while so many run."""
        for _ in range(count):
            if refused:
                self.limit.pressed(self.now, refused=True)
            call = self.limit.begun(method, running, self.now)
            self.now += seconds if seconds is not None and math.isfinite(seconds) else 30.0
            self.limit.ended(call, self.now, seconds)

    def late_under_pressure(self, seconds: float, cohorts: int) -> None:
        """At the limit, while others are refused."""
        for _ in range(cohorts):
            self.calls(seconds, running=self.limit.most, refused=True)


def test_an_application_that_answers_nothing_gets_little() -> None:
    asked = Asked()
    asked.calls(0.01, running=2, count=4 * COHORT)
    asked.late_under_pressure(math.inf, 40)
    assert asked.limit.most < 2 * FLOOR, "and is tried with some more, at times"


def test_calls_may_take_no_time_at_all() -> None:
    """For all that is known, where our own work takes longer than they do."""
    asked = Asked()
    asked.calls(0.1, running=2, count=8 * COHORT + 1)
    while asked.limit.most > 60:
        asked.late_under_pressure(0.1 * asked.limit.most / 8, 1)
    before = asked.limit.most
    while asked.limit.most <= before:
        asked.late_under_pressure(0.14, 1)
    asked.late_under_pressure(0.0, 30)
    assert asked.limit.most == CEILING


def test_a_refused_connection_says_nothing() -> None:
    asked = Asked()
    asked.calls(None, running=20, count=3)
    asked.calls(0.01, running=2, count=2 * COHORT)
    asked.late_under_pressure(0.05, 1)
    asked.calls(None, running=400, count=500)
    assert asked.limit.most == CEILING


def test_methods_are_forgotten() -> None:
    asked = Asked()
    begun = asked.limit.begun("first", 1, asked.now)
    for number in range(MAX_METHODS):
        asked.calls(0.01, running=1, count=1, method=f"{number}")
    asked.limit.ended(begun, asked.now, 0.5)
    again = asked.limit.begun("second", 1, asked.now)
    for number in range(MAX_METHODS):
        asked.calls(0.01, running=1, count=1, method=f"other {number}")
    asked.limit.ended(again, asked.now, None)
    assert asked.limit.most == CEILING


def test_a_limit_grows_slowly_near_the_queue_and_fast_far_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "QUIET_SECONDS", 1e9)  # not by itself
    asked = Asked()
    asked.calls(0.1, running=2, count=8 * COHORT + 1)
    while asked.limit.most > 60:
        asked.late_under_pressure(0.1 * asked.limit.most / 8, 1)
    low = asked.limit.most
    asked.late_under_pressure(0.115, 4)
    slowly = asked.limit.most
    assert low < slowly <= low * 1.1
    asked.late_under_pressure(0.1, 2)
    assert asked.limit.most > slowly * 1.4


def test_a_fixed_limit_is_fixed() -> None:
    limit = Fixed(12)
    limit.pressed(0.0, refused=True)
    limit.ended(limit.begun("m", 1, 0.0), 10.0, 10.0)
    limit.ended(limit.begun("m", 1, 0.0), 10.0, None)
    assert limit.most == 12 and limit.pace.latency > 0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("workers", [1, 8])
def test_many_callers_of_a_fast_application_are_all_answered(workers: int, seed: int) -> None:
    """128 of them, each with its next call as soon as it has an answer."""
    random.seed(seed)
    work = about(0.0008 * workers)
    simulation = Simulation(Adaptive(0.0), workers, work)
    simulation.run([(at, "m", work()) for at in (random.random() for _ in range(128))], 20)
    result = simulation.result(0, 20)
    assert result.refused == 0
    assert result.quantile(0.5) == pytest.approx(0.1, rel=0.2)
    assert len(result.seconds) > 0.9 * 20 / 0.0008


def knowing(latency: float, places: int) -> Fixed:
    """A limit whose calls take so long."""
    limit = Fixed(places)
    for number in range(200):
        limit.ended(limit.begun("m", 1, 0.0), number * latency / places, latency)
    return limit


@pytest.mark.parametrize("seconds", [0.005, 0.02])
def test_accepted_calls_of_a_quick_application_take_a_tenth_of_a_second_at_the_most(seconds: float) -> None:
    """Also at three times the capacity. That is not twice what they take at ease, as nobody is refused for what is a
    moment to people, and to our own loop on a machine that has much to do."""
    random.seed(1)
    capacity = 8 / seconds
    simulation = Simulation(Adaptive(0.0), 8)
    work = about(seconds)
    calls = itertools.chain(arrivals(0.8 * capacity, 0, 5, work), arrivals(3 * capacity, 5, 10, work))
    simulation.run(calls, 11)
    amid = simulation.result(6, 10)
    assert amid.quantile(0.9) < 0.11
    assert len(amid.seconds) > 0.9 * 4 * capacity


def test_how_long_a_call_would_wait_decides_whether_it_may() -> None:
    slow, fast = knowing(0.2, 8), knowing(0.004, 8)
    assert may_wait(0, slow, 5.0) and may_wait(2, slow, 5.0) and not may_wait(3, slow, 5.0)
    assert may_wait(150, fast, 5.0) and not may_wait(170, fast, 5.0)
    assert may_wait(MAX_WAITING - 1, Fixed(8), 5.0) and not may_wait(MAX_WAITING, Fixed(8), 5.0)


def test_while_calls_are_refused_nobody_waits_for_long() -> None:
    assert may_wait(1, knowing(0.2, 16), 0.5) and not may_wait(2, knowing(0.2, 16), 0.5)
    assert may_wait(8, knowing(0.04, 8), 0.5) and not may_wait(11, knowing(0.04, 8), 0.5)
    assert not may_wait(0, knowing(1.0, 8), 0.5), "it would only be refused later"

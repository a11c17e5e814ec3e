"""Calls that several endpoints could take."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import eps.jsonrpc.spread as module
from eps.core.event import Level, Notice
from eps.core.message import Error, Response
from eps.core.names import Object
from eps.errors import GivenUp, NotSent, OutcomeUnknown, Unreachable
from eps.jsonrpc.spread import SpreadClient
from support.testing import Events


class One:
    """An endpoint's client that does what it is told."""

    def __init__(self, name: str) -> None:
        self.label = "the proxy"
        self.name = name
        self.calls = 0
        self.instead: Callable[[], Any] | None = None
        self.became: One | None = None
        self.closed = False

    async def call(self, method: str, params: Object, **options: Any) -> Response:
        self.calls += 1
        if self.instead is not None:
            answer = self.instead()
            return await answer if asyncio.iscoroutine(answer) else answer
        return Response("1", self.name)

    def fails(self, error: Exception) -> None:
        def fail() -> None:
            raise error

        self.instead = fail

    def become(self, other: "One") -> None:
        self.became = other

    async def close(self) -> None:
        self.closed = True


class Spread:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all = [One("a"), One("b"), One("c")]
        self.events = Events()
        self.client = SpreadClient(self.all, self.events)  # type: ignore[arg-type]  # fakes
        self.ahead = 0.0
        real = module._now
        monkeypatch.setattr(module, "_now", lambda: real() + self.ahead)

    async def ask(self, timeout: float = 30.0) -> Any:
        answer = await self.client.call("m", {}, timeout=timeout)
        return answer.error if answer.error is not None else answer.result

    def told(self) -> list[tuple[Level, str]]:
        return [(one.level, one.text) for one in self.events.of(Notice)]


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> Spread:
    return Spread(monkeypatch)


async def test_who_has_least_to_do_gets_the_next_call(spread: Spread) -> None:
    assert [await spread.ask() for _ in range(6)] == ["a", "b", "c"] * 2
    gate = asyncio.Event()

    async def slow() -> Response:
        await gate.wait()
        return Response("1", "late")

    spread.all[0].instead = slow
    waiting = [asyncio.create_task(spread.ask())]
    await asyncio.sleep(0)
    assert [await spread.ask() for _ in range(4)] == ["b", "c", "b", "c"]
    gate.set()
    assert await waiting[0] == "late"


async def test_one_that_is_down_is_passed_over_told_once_and_tried_again_later(spread: Spread) -> None:
    spread.all[0].fails(Unreachable("the proxy: refused"))
    assert [await spread.ask() for _ in range(4)] == ["b", "c", "b", "c"]
    assert spread.all[0].calls == 1
    spread.ahead += module.PUT_OFF_SECONDS
    assert await spread.ask() in "bc" and spread.all[0].calls == 2
    assert spread.told() == [
        (Level.WARN, "endpoint 1 of 3 takes no calls, others get them: the proxy: refused"),
    ]
    spread.ahead += module.PUT_OFF_SECONDS
    spread.all[0].instead = None
    assert "a" in [await spread.ask() for _ in range(3)]
    assert spread.told()[1:] == [(Level.INFO, "endpoint 1 of 3, the proxy, takes calls again")]


@pytest.mark.parametrize("reason", ["stopping", "proxy-full", "busy"])
async def test_one_that_refuses_since_it_stops_or_is_full_is_passed_over(spread: Spread, reason: str) -> None:
    refusal = Response("1", error=Error(500, "not here", {"outcome": "not_sent", "reason": reason}))
    spread.all[0].instead = lambda: refusal
    assert [await spread.ask() for _ in range(3)] == ["b", "c", "b"]
    for one in spread.all[1:]:
        one.fails(Unreachable("refused"))
    assert await spread.ask() == refusal.error
    assert spread.all[0].calls == 2


@pytest.mark.parametrize(
    "answer",
    [
        Response("1", error=Error(500, "no", {"outcome": "unknown", "reason": "stopping"})),
        Response("1", error=Error(500, "no", {"outcome": "not_sent", "reason": "proxy-token-late"})),
        Response("1", error=Error(404, "no such method")),
        Response("1", {"outcome": "not_sent", "reason": "stopping"}),
    ],
    ids=["unknown", "another reason", "no data", "a result"],
)
async def test_any_other_answer_is_the_caller_s(spread: Spread, answer: Response) -> None:
    spread.all[0].instead = lambda: answer
    assert await spread.client.call("m", {}, timeout=30.0) is answer
    assert [one.calls for one in spread.all] == [1, 0, 0]


@pytest.mark.parametrize("error", [OutcomeUnknown("broke off"), GivenUp()], ids=["unknown", "given up"])
async def test_what_may_have_run_or_nobody_wants_goes_to_nobody_else(spread: Spread, error: Exception) -> None:
    spread.all[0].fails(error)
    with pytest.raises(type(error)):
        await spread.ask()
    assert [one.calls for one in spread.all] == [1, 0, 0]


async def test_if_none_takes_it_the_first_one_s_failure_is_raised(spread: Spread) -> None:
    for one in spread.all:
        one.fails(NotSent(f"{one.name} is down"))
    with pytest.raises(NotSent, match="a is down"):
        await spread.ask()
    with pytest.raises(NotSent, match="a is down"):
        await spread.ask()  # all are asked, though they are put off
    assert [one.calls for one in spread.all] == [2, 2, 2]


async def test_all_together_have_the_time_of_one_call(spread: Spread) -> None:
    def late() -> None:
        spread.ahead += 100.0
        raise Unreachable("no connection in time")

    for one in spread.all:
        one.instead = late
    with pytest.raises(Unreachable):
        await spread.ask(timeout=30.0)
    assert sum(one.calls for one in spread.all) == 1


async def test_other_settings_and_the_end(spread: Spread) -> None:
    others = [One("x"), One("y"), One("z")]
    spread.client.become(SpreadClient(others, spread.events))  # type: ignore[arg-type]  # fakes
    assert [one.became for one in spread.all] == others
    await spread.client.close()
    assert all(one.closed for one in spread.all)

"""Calls of our applications that are cancelled."""

import asyncio

import pytest

from eps.channels.under_way import MAX_IDS, UnderWay
from eps.core.jsonrpc_text import CANCEL, Call
from eps.core.message import Asker, Response
from eps.errors import BadParams, BadRequest, EpsError, GivenUp, Outcome, OutcomeUnknown


def called(who: str = "app", call_id: str = "1") -> Call:
    return Call("hd-2.f", {}, call_id, asker=Asker(who=who))


def cancelling(call_id: object = "1", who: str = "app") -> Call:
    return Call(CANCEL, {"id": call_id}, "c", asker=Asker(who=who))


async def begun(under_way: UnderWay, call: Call, *, sent: bool) -> "asyncio.Task[Response]":
    """A call that waits for an answer which never comes."""

    async def answering() -> Response:
        if sent:
            assert call.asker.begin()
        await asyncio.Event().wait()
        return Response("never")

    task = asyncio.create_task(under_way.run(call, answering()))
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize(("sent", "kind"), [(False, GivenUp), (True, OutcomeUnknown)], ids=["not sent", "sent"])
async def test_a_cancelled_call_says_what_is_known(sent: bool, kind: type[EpsError]) -> None:
    under_way = UnderWay()
    task = await begun(under_way, called(), sent=sent)
    assert under_way.cancel(cancelling()) == {"cancelled": 1}
    assert under_way.cancel(cancelling()) == {"cancelled": 0}, "it is cancelled already"
    with pytest.raises(kind, match="cancelled by its caller") as caught:
        await task
    assert caught.value.outcome is (Outcome.UNKNOWN if sent else Outcome.NOT_SENT)
    assert under_way.cancel(cancelling()) == {"cancelled": 0}


async def test_only_who_called_cancels() -> None:
    under_way = UnderWay()
    task = await begun(under_way, called("app"), sent=False)
    assert under_way.cancel(cancelling(who="another")) == {"cancelled": 0}
    assert under_way.cancel(cancelling("2")) == {"cancelled": 0}
    assert not task.done()
    assert under_way.cancel(cancelling()) == {"cancelled": 1}
    await asyncio.wait({task})


async def test_all_calls_with_the_id_are_cancelled() -> None:
    under_way = UnderWay()
    tasks = [await begun(under_way, called(call_id="n:7"), sent=False) for _ in range(2)]
    assert under_way.cancel(cancelling(7)) == {"cancelled": 2}
    await asyncio.wait(tasks)
    assert all(isinstance(task.exception(), GivenUp) for task in tasks)


async def test_several_at_once() -> None:
    under_way = UnderWay()
    tasks = [await begun(under_way, called(call_id=str(number)), sent=False) for number in range(3)]
    assert under_way.cancel(cancelling(["0", "2", "2", "9"])) == {"cancelled": 2}
    await asyncio.wait([tasks[0], tasks[2]])
    assert not tasks[1].done()
    assert under_way.cancel(cancelling("1")) == {"cancelled": 1}
    await asyncio.wait(tasks)


async def test_who_has_no_name_cancels_no_other_ones_call() -> None:
    under_way, own = UnderWay(), "0123456789abcdef"

    def nameless(call_id: str) -> Call:
        return Call(CANCEL, {"id": call_id}, "c", asker=Asker(who="app", is_shared=True))

    guessed = await begun(under_way, called(call_id="1"), sent=False)
    with pytest.raises(BadParams, match="nobody else gives or guesses"):
        under_way.cancel(nameless("1"))
    twice = [await begun(under_way, called(call_id=own), sent=False) for _ in range(2)]
    with pytest.raises(BadParams, match="2 calls have the id"):
        under_way.cancel(nameless(own))
    twice[0].cancel()
    await asyncio.wait(twice[:1])
    assert under_way.cancel(nameless(own)) == {"cancelled": 1}
    assert under_way.cancel(cancelling("1")) == {"cancelled": 1}
    await asyncio.wait([guessed, *twice])


async def test_a_call_that_ends_is_not_under_way() -> None:
    under_way = UnderWay()

    async def answering() -> Response:
        return Response("1", {})

    assert await under_way.run(called(), answering()) == Response("1", {})
    assert under_way.cancel(cancelling()) == {"cancelled": 0}


async def test_a_task_that_is_cancelled_for_another_reason_ends_so() -> None:
    under_way = UnderWay()
    task = await begun(under_way, called(), sent=False)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    both = await begun(under_way, called(), sent=False)
    under_way.cancel(cancelling())
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both


async def test_an_answer_in_the_same_moment_counts() -> None:
    under_way, may_answer = UnderWay(), asyncio.Event()

    async def answering() -> Response:
        try:
            await may_answer.wait()
        except asyncio.CancelledError:
            return Response("1", {"done": True})
        raise AssertionError

    async def whole() -> tuple[Response, int]:
        answer = await under_way.run(called(), answering())
        task = asyncio.current_task()
        assert task is not None
        return answer, task.cancelling()

    task = asyncio.create_task(whole())
    await asyncio.sleep(0)
    under_way.cancel(cancelling())
    assert await task == (Response("1", {"done": True}), 0), "nothing cancels what the task does next"


@pytest.mark.parametrize("given", [None, "", True, [], {}, 1.5, ["a", None], ["a"] * (MAX_IDS + 1)], ids=repr)
def test_what_is_no_id(given: object) -> None:
    with pytest.raises(BadParams):
        UnderWay().cancel(cancelling(given))


def test_an_id_that_no_call_can_have() -> None:
    with pytest.raises(BadRequest):
        UnderWay().cancel(cancelling(2**40))

"""A command that several service directories could answer."""

from collections.abc import Callable

import pytest

from eps.core.message import Response
from eps.core.names import Object
from eps.errors import OutcomeUnknown, TlsFailed, Unreachable
from eps.programs.admin.directory_calls import CallDirectory, DirectoryCalls


class Sd:
    """One that says what it was asked.

    Args:
        fails: makes the error that it answers with instead; None: it answers.
    """

    def __init__(self, name: str, asked: list[str], fails: Callable[[], Exception] | None = None) -> None:
        self.name, self.asked, self.fails = name, asked, fails

    async def __call__(self, method: str, params: Object) -> Response:
        self.asked.append(f"{self.name} {method}")
        if self.fails is not None:
            raise self.fails()
        return Response("1", self.name)


def down() -> Exception:
    return Unreachable("refused")


async def test_the_first_that_answers_is_asked_first_from_then_on() -> None:
    asked: list[str] = []
    a, b, c = (Sd(name, asked) for name in "abc")
    a.fails = down
    calls = DirectoryCalls(a, b, c)
    assert await calls.result("getTip", {}) == "b"
    a.fails = None
    assert await calls.result("submitRecords", {}) == "b"  # it knows what it was told
    b.fails = down
    assert await calls.result("getTip", {}) == "a"
    assert asked == ["a getTip", "b getTip", "b submitRecords", "b getTip", "a getTip"]


async def test_a_submission_that_may_have_arrived_is_sent_to_nobody_else() -> None:
    asked: list[str] = []
    first = Sd("a", asked, lambda: OutcomeUnknown("no answer"))
    calls = DirectoryCalls(first, Sd("b", asked))
    with pytest.raises(OutcomeUnknown):
        await calls.result("submitRecords", {})
    assert asked == ["a submitRecords"]
    assert await calls.result("getTip", {}) == "b"
    first.fails = down
    assert await calls.result("submitRecords", {}) == "b"


@pytest.mark.parametrize("how", [down, lambda: TlsFailed("expired")], ids=["down", "tls"])
async def test_if_none_answers_each_one_s_reason_is_said(how: Callable[[], Exception]) -> None:
    each: list[CallDirectory] = [Sd(name, [], how) for name in "ab"]
    with pytest.raises(Unreachable, match=r"^(refused; refused|expired; expired)$"):
        await DirectoryCalls(*each).result("getTip", {})
    with pytest.raises(type(how())):
        await DirectoryCalls(*each[:1]).result("getTip", {})

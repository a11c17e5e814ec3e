"""``AsyncFakeClient``: as ``FakeClient``, to be awaited."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from eps.client.asynchronous import AsyncClient
from eps.client.course import Course
from eps.client.errors import CallError
from eps.client.policy import Policy
from eps.testing.fake import Answer, Answers, named, value_of


class AsyncFakeClient(AsyncClient):
    """An ``AsyncClient`` for tests; see ``FakeClient``. Functions that are given may be ``async``."""

    def __init__(
        self,
        answers: Mapping[str, Answer] | None = None,
        *,
        policy: Policy | None = None,
        on_call: Callable[..., object] | None = None,
    ) -> None:
        super().__init__("http://localhost", policy=policy or Policy(attempts=1), on_call=on_call)
        self._answers = Answers(answers)

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """Method and params of each call, in order."""
        return self._answers.calls

    def answers(self, method: str, answer: Answer) -> None:
        """Give an answer, or another one than before."""
        self._answers.put(method, answer)

    async def _once(self, course: Course) -> Any:
        course.next_body()  # what can't be sent is refused here, too
        try:
            answer = self._answers.given(course.call.method, course.call.params)
            return value_of(await answer if inspect.isawaitable(answer) else answer, course)
        except CallError as error:
            raise named(error, course) from error.__cause__

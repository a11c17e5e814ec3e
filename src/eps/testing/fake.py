"""``FakeClient``: a client whose answers a test gives. Nothing is opened, no thread runs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from eps.client import Client, Details, NotPermitted, Policy
from eps.client.course import Course
from eps.client.errors import CallError
from eps.client.requests import plain

Answer = Any
"""A result; an exception, which is raised; or a function of the params, which returns or raises one of these."""


class Answers:
    """What a test has given, and what was asked for.

    Attributes:
        calls: method and params of each call, in order.
    """

    def __init__(self, given: Mapping[str, Answer] | None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._given = dict(given or {})

    def put(self, method: str, answer: Answer) -> None:
        self._given[method] = answer

    def given(self, method: str, params: dict[str, Any]) -> Answer:
        """The answer, not yet awaited. Raises what it raises."""
        self.calls.append((method, params))
        if method not in self._given:
            known = ", ".join(sorted(self._given)) or "nothing"
            details = Details(executed="no", code=403, reason="method-unknown", stage="permission", side="peer")
            raise NotPermitted(f"this fake client was given no answer for {method}; it has some for: {known}", details)
        answer = self._given[method]
        return answer(**params) if callable(answer) and not isinstance(answer, type) else answer


def value_of(answer: Answer, course: Course) -> Any:
    """The result as a caller has it, by way of JSON as in the network. Raises the answer, if it is an exception."""
    if isinstance(answer, BaseException):
        raise answer
    text = json.dumps({"id": course.call.id, "result": answer}, default=plain)
    return course.value_of(200, text.encode())


def named(error: CallError, course: Course) -> CallError:
    """The same, with the call's method and trace where it has none."""
    details = error.details
    given = replace(details, method=details.method or course.call.method, trace_id=course.call.trace_id)
    return type(error)(error.message, given)


class FakeClient(Client):
    """A ``Client`` for tests: what it calls is given.

    Args:
        answers: by ``OPERATOR.METHOD``: a result, an exception, or a function that is called with the params.
        policy: repetitions; by default a call is made once.
        on_call: as of ``Client``.
    """

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

    def _once(self, course: Course) -> Any:
        course.next_body()  # what can't be sent is refused here, too
        try:
            answer = self._answers.given(course.call.method, course.call.params)
            return value_of(answer, course)
        except CallError as error:
            raise named(error, course) from error.__cause__

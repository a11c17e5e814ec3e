"""``Client``: calls that the thread waits for."""

import time
from collections.abc import Callable
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from eps.client.connection import Answer, Connection
from eps.client.course import Course
from eps.client.endpoint import Endpoint
from eps.client.errors import CallError
from eps.client.given import Given
from eps.client.policy import Policy
from eps.client.pool import Pool
from eps.client.telling import OnCall

if TYPE_CHECKING:
    from eps.client.described import MethodDescription

T = TypeVar("T")


class Client(Given):
    """Calls the network through the EPS server of our own operator. Thread-safe; connections are kept, none is opened
    before the first call, and after ``fork`` none of the parent's is used.

    Args:
        endpoint: where that server is, or just its URL.
        policy: deadlines and repetitions.
        on_call: told of every call when it has ended.

    Raises:
        SetupError: a file can't be used, or the URL is none.
    """

    def __init__(
        self, endpoint: Endpoint | str, *, policy: Policy | None = None, on_call: OnCall | None = None
    ) -> None:
        super().__init__(endpoint, policy=policy, on_call=on_call)
        self._pool = Pool()

    @overload
    def call(
        self, method: str, params: object = None, *, into: type[T], timeout: float | None = None, idempotent: bool = ...
    ) -> T: ...

    @overload
    def call(
        self, method: str, params: object = None, *, into: UnionType | None = None, timeout: float | None = None,
        idempotent: bool = ...,
    ) -> Any: ...  # fmt: skip

    def call(
        self,
        method: str,
        params: object = None,
        *,
        into: type[T] | UnionType | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Any:
        """Call a method and wait for its result.

        Args:
            method: ``OPERATOR.METHOD``.
            params: a mapping, a dataclass or a pydantic model; None: none.
            into: what the result is to be: a dataclass, a pydantic model, ``list[…]`` of such; None: JSON as it came.
            timeout: seconds in all; None: the policy's.
            idempotent: twice is as good as once: repeated also after an unknown outcome.

        Raises:
            CallError: the one of ``eps.client.errors`` that says what is known.
        """
        course = Course(method, self._policy, self._endpoint.operator, timeout, idempotent)
        try:
            course.takes(params, into)
            value = self._repeated(course)
        except CallError as error:
            course.ended(error, self._on_call)
            raise
        except BaseException:  # cancelled, or interrupted
            course.ended(course.left_alone(), self._on_call)
            raise
        course.ended(None, self._on_call)
        return value

    def methods(self, operator: str = "", *, timeout: float | None = None) -> "list[MethodDescription]":
        """What our operator may call, of one operator, who is asked, or of all others, as the directory describes it.

        Raises:
            CallError: as ``call``; our EPS server is one that does not know this.
        """
        from eps.client.described import METHODS, asked, methods_in

        return methods_in(self.call(METHODS, asked(operator), timeout=timeout, idempotent=True))

    def operator(self, name: str) -> "Operator":
        """An operator's methods as Python's: ``client.operator("hd-2").lookup(name="office")``."""
        return Operator(self, name)

    def close(self) -> None:
        """End the connections. Calls under way come to their end."""
        self._pool.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repeated(self, course: Course) -> Any:
        while True:
            try:
                return self._once(course)
            except CallError as error:
                pause = course.pause_after(error)
                if pause is None:
                    raise
            time.sleep(pause)

    def _once(self, course: Course) -> Any:
        body = course.next_body()
        answer = self._answer(course, body)
        return course.value_of(answer.status, answer.body)

    def _answer(self, course: Course, body: bytes) -> Answer:
        context = self._credentials.current()

        def dial() -> Connection:
            return Connection.dial(self._endpoint, context, course.call, course.connect_seconds())

        connection = self._pool.take(dial, context, course.call, course.until)
        course.is_sent = True
        try:
            return connection.exchange(body, course.call, course.until)
        finally:
            self._pool.give_back(connection)


class Operator:
    """Another operator's methods; whatever is asked for is one. ``call`` takes the options of ``Client.call``."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    @overload
    def call(
        self, method: str, params: object = None, *, into: type[T], timeout: float | None = None, idempotent: bool = ...
    ) -> T: ...

    @overload
    def call(
        self, method: str, params: object = None, *, into: UnionType | None = None, timeout: float | None = None,
        idempotent: bool = ...,
    ) -> Any: ...  # fmt: skip

    def call(
        self,
        method: str,
        params: object = None,
        *,
        into: type[T] | UnionType | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Any:
        """As ``Client.call``; ``method`` is without the operator's name."""
        called = f"{self._name}.{method}"
        return self._client.call(called, params, into=into, timeout=timeout, idempotent=idempotent)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("__"):
            raise AttributeError(method)  # Python's own, when objects are copied or shown

        def call(**params: Any) -> Any:
            return self._client.call(f"{self._name}.{method}", params)

        return call

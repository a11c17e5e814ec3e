"""``AsyncClient``: calls that a task waits for, over aiohttp. Only who asks for it loads asyncio and aiohttp."""

import asyncio
import io
import os
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from types import UnionType
from typing import Any, TypeVar, overload

import aiohttp
from yarl import URL

from eps.client.answers import MAX_ANSWER_BYTES
from eps.client.cancelling import Cancelling
from eps.client.connection import Answer, keep_seconds
from eps.client.course import Course
from eps.client.described import METHODS, MethodDescription, asked, methods_in
from eps.client.dialling import ProxyRefused
from eps.client.endpoint import Endpoint
from eps.client.errors import CallError
from eps.client.failures import broke_off, dial_failed, refused_us, too_large, too_late
from eps.client.given import Given
from eps.client.kept import Attempt, Connector
from eps.client.policy import Policy
from eps.client.telling import OnCall
from eps.core.host_port import render_host_port
from eps.core.limits import WRITE_BYTES
from eps.core.told_seconds import TIMEOUT

T = TypeVar("T")

_LEFT_TO_PARENTS: list[aiohttp.ClientSession] = []
"""Sessions of the processes from which this one was forked. They are never closed here: that would say TLS's goodbye on
connections that a parent goes on using."""


class AsyncClient(Given):
    """As ``Client``, for tasks of one event loop. Cancelling a task ends the wait for its call, and cancels that,
    too: what has not begun does not begin. Whether it had, is then not known. Nothing is opened before the first call.

    Args:
        endpoint, policy, on_call: see ``Client``.

    Raises:
        SetupError: a file can't be used, or the URL is none.
    """

    def __init__(
        self, endpoint: Endpoint | str, *, policy: Policy | None = None, on_call: OnCall | None = None
    ) -> None:
        super().__init__(endpoint, policy=policy, on_call=on_call)
        place, via = self._endpoint.place, self._endpoint.proxy()
        self._url, self._name = URL(self._endpoint.url, encoded=True), place.name
        self._proxy = f"http://{render_host_port(via.host, via.port)}" if via is not None else None
        self._proxy_auth = aiohttp.BasicAuth(via.user, via.password) if via is not None and via.user else None
        self._session: aiohttp.ClientSession | None = None
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed = False
        self._cancelling = Cancelling(self._endpoint)

    @overload
    async def call(
        self, method: str, params: object = None, *, into: type[T], timeout: float | None = None, idempotent: bool = ...
    ) -> T: ...

    @overload
    async def call(
        self, method: str, params: object = None, *, into: UnionType | None = None, timeout: float | None = None,
        idempotent: bool = ...,
    ) -> Any: ...  # fmt: skip

    async def call(
        self,
        method: str,
        params: object = None,
        *,
        into: type[T] | UnionType | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Any:
        """Call a method and wait for its result. See ``Client.call``."""
        course = Course(method, self._policy, self._endpoint.operator, timeout, idempotent)
        try:
            course.takes(params, into)
            value = await self._repeated(course)
        except CallError as error:
            course.ended(error, self._on_call)
            raise
        except BaseException:  # cancelled, or interrupted
            course.ended(course.left_alone(), self._on_call)
            raise
        course.ended(None, self._on_call)
        return value

    async def methods(self, operator: str = "", *, timeout: float | None = None) -> list[MethodDescription]:
        """What our operator may call. See ``Client.methods``."""
        return methods_in(await self.call(METHODS, asked(operator), timeout=timeout, idempotent=True))

    def operator(self, name: str) -> "AsyncOperator":
        """An operator's methods as Python's: ``await client.operator("hd-2").lookup(name="office")``."""
        return AsyncOperator(self, name)

    async def close(self) -> None:
        """End the connections; calls under way fail."""
        await asyncio.to_thread(self._cancelling.wait)
        self._closed = True
        if self._session is not None and self._home is not None and self._home[0] == os.getpid():
            await self._session.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _repeated(self, course: Course) -> Any:
        while True:
            try:
                return await self._once(course)
            except CallError as error:
                pause = course.pause_after(error)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _once(self, course: Course) -> Any:
        body = course.next_body()
        with Attempt() as attempt:
            try:
                async with asyncio.timeout(course.left()):
                    answer = await self._post(course, body, attempt)
            except asyncio.CancelledError:
                course.is_sent = attempt.is_sent
                if attempt.is_sent and not attempt.is_answering:
                    self._cancelling.add(course.call.id)
                raise
            except TimeoutError as error:
                if attempt.is_sent or not isinstance(error, aiohttp.ClientError):
                    raise too_late(course.call, sent=attempt.is_sent) from error
                raise dial_failed(error, self._endpoint, course.call) from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise await self._failure(error, course, attempt) from error
        return course.value_of(answer.status, answer.body)

    async def _post(self, course: Course, body: bytes, attempt: Attempt) -> Answer:
        headers = {"Content-Type": "application/json", "traceparent": course.call.traceparent}
        if course.call.timeout:
            headers[TIMEOUT] = course.call.timeout
        async with self._request(body, headers) as response:
            answer = await self._body(response, course, attempt)
            attempt.answered(keep_seconds(response.headers.get("Keep-Alive")))
            return Answer(response.status, answer)

    def _request(self, body: bytes, headers: dict[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        session, context = self._opened(), self._credentials.current()
        return session.post(
            self._url,
            data=body if len(body) <= WRITE_BYTES else io.BytesIO(body),  # in pieces
            headers=headers,
            ssl=context if context is not None else True,
            server_hostname=self._name if context is not None else None,
            proxy=self._proxy,
            proxy_auth=self._proxy_auth,
            allow_redirects=False,  # a call is sent where it was to go, and once
        )

    async def _body(self, response: aiohttp.ClientResponse, course: Course, attempt: Attempt) -> bytes:
        attempt.is_answering = True
        size = response.content_length
        if size is not None and size <= MAX_ANSWER_BYTES:
            return await response.read()
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise too_large(course.call)
        return b"".join(parts)

    async def _failure(self, error: Exception, course: Course, attempt: Attempt) -> CallError:
        call = course.call
        if not attempt.is_sent:
            return dial_failed(_cause(error), self._endpoint, call)
        if attempt.is_answering or isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
            return broke_off(call, executed="unknown", answering=True)
        cause = _cause(error)
        if attempt.was_fresh and isinstance(cause, ssl.SSLError) and (refused := refused_us(cause, call)):
            return refused
        unread = _was_not_written(error) or (_is_end(error) and await attempt.was_never_read())
        return broke_off(call, executed="no" if unread else "unknown")

    def _opened(self) -> aiohttp.ClientSession:
        """The session of this process and event loop."""
        if self._closed:
            raise RuntimeError("this client is closed")
        home = (os.getpid(), asyncio.get_running_loop())
        if self._session is not None and self._home == home:
            return self._session
        if self._session is not None and self._home is not None:
            if self._home[0] == home[0]:
                raise RuntimeError("an AsyncClient belongs to the event loop in which it was used first")
            _LEFT_TO_PARENTS.append(self._session)
        self._home = home
        self._session = aiohttp.ClientSession(
            connector=Connector(self._policy.connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self._session


def _cause(error: BaseException) -> OSError:
    """What the system said, below aiohttp's words."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ProxyRefused(f"it answered '{error.status} {error.message[:100]}'")
    if isinstance(error, aiohttp.ClientConnectorCertificateError) and isinstance(error.certificate_error, OSError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return _below(error) or OSError(str(error))


def _below(error: BaseException) -> OSError | None:
    """The system's error below aiohttp's; None: there is none."""
    return next(
        (one for one in _chain(error) if isinstance(one, OSError) and not isinstance(one, aiohttp.ClientError)), None
    )


def _was_not_written(error: BaseException) -> bool:
    """Whether aiohttp found the connection at its end when it was to write the request, or the rest of it: what is not
    whole is run by nobody."""
    found = (one for one in _chain(error) if isinstance(one, aiohttp.ClientConnectionResetError))
    return any("write to closing transport" in str(one) for one in found)


def _is_end(error: BaseException) -> bool:
    """Whether reading came to its end without an error. A kernel says EPIPE, too, where the end came before the reset
    with which our bytes were answered."""
    below = _below(error)
    return isinstance(below, BrokenPipeError) or (below is None and isinstance(error, aiohttp.ServerDisconnectedError))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class AsyncOperator:
    """Another operator's methods, as ``Operator`` has them, to be awaited."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        self._client = client
        self._name = name

    @overload
    async def call(
        self, method: str, params: object = None, *, into: type[T], timeout: float | None = None, idempotent: bool = ...
    ) -> T: ...

    @overload
    async def call(
        self, method: str, params: object = None, *, into: UnionType | None = None, timeout: float | None = None,
        idempotent: bool = ...,
    ) -> Any: ...  # fmt: skip

    async def call(
        self,
        method: str,
        params: object = None,
        *,
        into: type[T] | UnionType | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Any:
        """As ``AsyncClient.call``; ``method`` is without the operator's name."""
        called = f"{self._name}.{method}"
        return await self._client.call(called, params, into=into, timeout=timeout, idempotent=idempotent)

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if method.startswith("__"):
            raise AttributeError(method)  # Python's own, when objects are copied or shown

        def call(**params: Any) -> Coroutine[Any, Any, Any]:
            return self._client.call(f"{self._name}.{method}", params)

        return call

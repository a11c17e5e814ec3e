"""``Service``: methods by name, and the answer to a call."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from typing import Any, TypeVar, overload

from eps.core.descriptions import DISCOVER
from eps.core.jsonrpc_text import Call
from eps.core.message import CLIENT_KEY, Error, Response
from eps.service.asgi import respond
from eps.service.described import openrpc, schemas
from eps.service.method import Function, Method
from eps.service.refusals import Answered, Defect, NoMethod

F = TypeVar("F", bound=Function)

LOG = logging.getLogger("eps.service")
"""Calls at level info, failures as errors with their traceback. Neither params nor results."""

MAX_THREADS = 32
"""For functions that aren't ``async``: so many run at once, further ones wait."""

Scope = MutableMapping[str, Any]


class Service:
    """What an operator offers; also an ASGI application, to be run under any ASGI server.

    Args:
        name: for logs and descriptions.
        version: of what it offers; told by ``rpc.discover``.
        path: where calls are posted to.
    """

    def __init__(self, name: str, *, version: str = "0", path: str = "/jsonrpc") -> None:
        self.name = name
        self.version = version
        self.path = path
        self._methods: dict[str, Method] = {}
        self._threads: ThreadPoolExecutor | None = None

    @overload
    def method(self, function: F) -> F: ...

    @overload
    def method(self, *, name: str) -> Callable[[F], F]: ...

    def method(self, function: F | None = None, *, name: str = "") -> F | Callable[[F], F]:
        """Offer a function, which stays what it is: ``@service.method``, or ``@service.method(name="add")``.

        Raises:
            TypeError: a parameter has no type hint, or can't be a key of ``params``.
            ValueError: a method has that name, or it can't be called by it.
        """
        if function is None:
            return lambda given: self._offer(given, name)
        return self._offer(function, name)

    def _offer(self, function: F, name: str) -> F:
        name = name or function.__name__
        if name in self._methods:
            raise ValueError(f"{self.name} has a method {name} already")
        if not name.isprintable() or any(sign in name for sign in ".( ") or len(name.encode()) > 100:
            raise ValueError(f"no method can be called {name!r}: up to 100 bytes, without a dot, a bracket or a space")
        self._methods[name] = Method(name, function)
        return function

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of what it offers."""
        return tuple(self._methods)

    def schema(self) -> dict[str, Any]:
        """By method: ``description``, and ``params`` and ``result`` in JSON Schema, from the type hints."""
        return schemas(self._methods.values())

    def run(self, bind_address: str = "localhost:6666", *, grace: float = 10.0) -> None:
        """Serve until SIGTERM or SIGINT, then let running calls finish for ``grace`` seconds.

        Args:
            bind_address: HOST:PORT. Whoever can reach it can claim to be anybody, so it is this machine's own.

        Raises:
            SystemExit: the port is taken.
        """
        from eps.service.running import Served, run

        run(Served(self.name, self.path, self.answer), bind_address, grace)

    def serving(self, bind_address: str = "localhost:0", *, grace: float = 5.0) -> AbstractAsyncContextManager[int]:
        """Serve in the running event loop for as long as an ``async with`` block lasts; gives the port.

        Raises:
            eps.errors.StartError: the port is taken.
        """
        from eps.service.running import Served, serving

        return serving(Served(self.name, self.path, self.answer), bind_address, grace)

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Scope]],
        send: Callable[[Scope], Awaitable[None]],
    ) -> None:
        """ASGI 3: HTTP and lifespan."""
        await respond(self.answer, self.path, scope, receive, send)

    async def answer(self, call: Call) -> Response:
        """The answer to one call. Never raises but for cancellation."""
        began = time.monotonic()
        try:
            response = Response(call.id, await self._result(call))
        except Answered as answered:
            response = _refusal(call, answered)
        except (Exception, SystemExit):  # a defect is for the log of the service, and its caller gets an answer
            LOG.exception("%s failed", shown(call.method))
            response = _refusal(call, Defect(self.name))
        how = "ok" if response.error is None else f"error {response.error.code}"
        LOG.info("%s for %s: %s in %.1f ms", shown(call.method), _who(call), how, (time.monotonic() - began) * 1000)
        return response

    async def _result(self, call: Call) -> Any:
        if call.method == DISCOVER:
            return openrpc(self.name, self.version, self._methods.values())
        method = self._methods.get(call.method)
        if method is None:
            raise NoMethod(self.name, shown(call.method), self.methods)
        arguments = method.arguments(call.params)
        if method.is_async:
            return method.written(await method.call(arguments))
        context, loop = copy_context(), asyncio.get_running_loop()
        value, failure = await loop.run_in_executor(self._executor(), context.run, _outcome, method, arguments)
        if isinstance(failure, Exception) and not isinstance(failure, StopIteration):
            raise failure
        if failure is not None:
            raise RuntimeError(f"{method.name} ended with {type(failure).__name__}") from failure
        return method.written(value)

    def _executor(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=f"service {self.name}")
        return self._threads


def _outcome(method: Method, arguments: dict[str, Any]) -> tuple[Any, BaseException | None]:
    """In a thread: what it returned, or raised. Nothing is raised there: a future can't hold all of it."""
    try:
        return method.call(arguments), None
    except BaseException as error:  # noqa: BLE001 - told to whoever waits
        return None, error


def _refusal(call: Call, answered: Answered) -> Response:
    return Response(call.id, error=Error(answered.code, answered.message, answered.data))


def shown(method: str) -> str:
    """A name that somebody else chose, for a log."""
    return "".join(sign if sign.isprintable() else "?" for sign in method[:100])


def _who(call: Call) -> str:
    client = call.params.get(CLIENT_KEY)
    name = client.get("name") if isinstance(client, dict) else None
    return shown(name) if isinstance(name, str) else "somebody who is not named"

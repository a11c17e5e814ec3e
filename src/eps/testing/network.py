"""``Network``: operators, services and faults in one process."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from eps.client import AsyncClient, Client, Endpoint, Policy
from eps.core.message import CLIENT_KEY, Request
from eps.service import Service
from eps.testing.directory import Known, Member, directory_of
from eps.testing.faults import FAULTS
from eps.testing.node import Entrance, Node

T = TypeVar("T")

START_SECONDS = 30.0
"""For a port to be opened or closed: milliseconds, but on a machine that does much else."""


@dataclass(frozen=True, slots=True)
class CallSeen:
    """A call that a service was given.

    Attributes:
        caller, operator: who called whom.
        params: without ``_client``.
    """

    caller: str
    operator: str
    method: str
    params: dict[str, Any]


class Network:
    """A network for tests, in a thread of its own; to be used as a context manager.

    Attributes:
        calls: what services were given, in order.
    """

    def __init__(self) -> None:
        self.calls: list[CallSeen] = []
        self._nodes: dict[str, Node] = {}
        self._members: dict[str, Member] = {}
        self._known = Known()
        self._clients = ExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="eps network", daemon=True)
        self._thread.start()

    def operator(
        self,
        name: str,
        service: Service | None = None,
        *,
        groups: Iterable[str] = (),
        callers: Iterable[str] = ("*",),
        port: int = 0,
        origins: Iterable[str] = (),
    ) -> Endpoint:
        """Add an operator, or say anew what it offers and who may call that.

        Args:
            groups: that it is in.
            callers: groups that may call its service's methods; ``*``: everybody.
            port: for its applications; 0: a free one. It stays what it was first.
            origins: of web pages that may call there; the same.

        Returns:
            Where its applications call.

        Raises:
            eps.errors.StartError: the port is taken.
        """
        methods = service.methods if service is not None else ()
        member = Member(name, tuple(groups), service.name if service is not None else "", methods, tuple(callers))
        self._members[name] = member
        try:
            self._do(self._settle(name, service, Entrance(port, tuple(origins))))
        except BaseException:
            del self._members[name]
            raise
        return self.endpoint(name)

    def endpoint(self, name: str) -> Endpoint:
        """Where the applications of an operator call; one that is not there yet is added."""
        if name not in self._nodes:
            return self.operator(name)
        return Endpoint(f"http://localhost:{self._nodes[name].port}")

    def client(self, name: str, *, policy: Policy | None = None) -> Client:
        """A client of that operator's. The network closes it at its end."""
        return self._clients.enter_context(Client(self.endpoint(name), policy=policy))

    def async_client(self, name: str, *, policy: Policy | None = None) -> AsyncClient:
        """An asynchronous one, for ``async with``."""
        return AsyncClient(self.endpoint(name), policy=policy)

    def fails(self, operator: str, reason: str) -> None:
        """Have calls of ``operator`` fail from now on, as they do in the real network for that reason.

        Args:
            reason: ``unreachable``, ``busy``, ``no-answer``, ``application-down``, … (``eps.testing.faults``).

        Raises:
            ValueError: no fault of that name is known.
        """
        if reason not in FAULTS:
            raise ValueError(f"no fault is called {reason!r}; there are: {', '.join(sorted(FAULTS))}")
        self.endpoint(operator)
        self._nodes[operator].conditions.fault = FAULTS[reason]

    def works(self, operator: str) -> None:
        """End what :meth:`fails` and :meth:`delays` began."""
        self._nodes[operator].conditions.fault = None
        self._nodes[operator].conditions.delay = 0.0

    def delays(self, operator: str, seconds: float) -> None:
        """Have calls of ``operator`` take so much longer from now on."""
        self.endpoint(operator)
        self._nodes[operator].conditions.delay = seconds

    def close(self) -> None:
        """End everything."""
        if self._loop.is_closed():
            return
        self._clients.close()
        for node in self._nodes.values():
            self._do(node.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _settle(self, name: str, service: Service | None, entrance: Entrance) -> None:
        if name in self._nodes:
            self._nodes[name].service = service
        else:
            node = Node(name, service, self._nodes, self._known, self._seen, entrance)
            await node.start()
            self._nodes[name] = node
        self._known.become(directory_of(self._members.values()))

    def _seen(self, caller: str, request: Request) -> None:
        params = {key: value for key, value in request.params.items() if key != CLIENT_KEY}
        self.calls.append(CallSeen(caller, request.address.operator, request.address.method, params))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

"""Several proxies that lead to one operator: which is asked first, and what happens where it brings no tunnel.

    the first that is well ─┬ a tunnel: used
                            ├ fails: the next at once, and it is put off for PUT_OFF_SECONDS
                            └ says nothing for STAGGER_SECONDS: the next beside it; who is first is used

Nothing has been sent to the operator when a proxy fails: a call is not run twice by asking another.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from eps.channels.slots import Opener, Route
from eps.core.event import Emit, Level, Notice
from eps.core.names import Operator
from eps.core.recent import Recent
from eps.core.ways import NOBODY
from eps.errors import EpsError, NotSent, TlsFailed
from eps.grpc.connection import ClientConnection
from eps.reasons import Reason

STAGGER_SECONDS = 2.0
"""How long a proxy may say nothing before the next one is asked, too. Brokering takes some 10 ms, on slow ways some
100; and two proxies, one of them dead, must fit into the 15 s that a connection has."""

PUT_OFF_SECONDS = 30.0
"""For how long one that failed is asked last: a restart is over then, and who is dead costs one attempt each time."""

MAX_PUT_OFF = 10_000
"""Pairs of operator and proxy of which that is remembered; some 100 bytes each."""

_IS_DOWN = frozenset({Reason.PROXY_UNREACHABLE, Reason.PROXY_SILENT})
"""Reasons that concern the proxy, whoever is to be reached through it."""


class Alternatives:
    """Opens connections along routes that may have alternatives.

    Args:
        open_connection: opens one along a route without any.
        emit: told when a proxy is put off.
    """

    def __init__(self, open_connection: Opener, emit: Emit) -> None:
        self._open = open_connection
        self._emit = emit
        self._put_off: Recent[tuple[Operator, Operator], float] = Recent(MAX_PUT_OFF)

    async def open(self, operator: Operator, route: Route) -> tuple[ClientConnection, Operator]:
        """A connection, and the operator whose proxy has brought it; empty for a direct one.

        Raises:
            NotSent: no way leads there; of several errors the first that may pass.
        """
        if not route.others:
            return await self._open(operator, route), route.proxy
        race = _Race()
        waiting, failures = self._in_order(operator, route), list[NotSent]()
        try:
            while waiting or race.running:
                if waiting:
                    way = waiting.pop(0)
                    race.start(self._open(operator, way), way)
                for way, task in await race.ended(STAGGER_SECONDS if waiting else None):
                    try:
                        connection = race.take(task)
                    except NotSent as error:
                        failures.append(error)
                        self._failed(operator, way.proxy, error)
                    else:
                        self._won(operator, way, race.running.values())
                        return connection, way.proxy
        finally:
            await race.close()
        raise next((error for error in failures if not error.final), failures[0])

    def put_off(self, proxy: Operator) -> None:
        """Ask this one last for a while, whoever is to be reached."""
        self._put_off.put((NOBODY, proxy), _now() + PUT_OFF_SECONDS)

    def _in_order(self, operator: Operator, route: Route) -> list[Route]:
        return sorted((route, *route.others), key=lambda way: self._is_put_off(operator, way.proxy))

    def _is_put_off(self, operator: Operator, proxy: Operator) -> bool:
        return any((self._put_off.get((who, proxy)) or 0.0) > _now() for who in (operator, NOBODY))

    def _failed(self, operator: Operator, proxy: Operator, error: EpsError) -> None:
        if isinstance(error, TlsFailed):
            return  # that is between us and the operator
        self._remember(operator, proxy, error.message, everybody=error.reason in _IS_DOWN)

    def _won(self, operator: Operator, way: Route, behind: Iterable[Route]) -> None:
        """Those that were asked before it, and have not come, are slow."""
        for who in (operator, NOBODY):
            self._put_off.drop((who, way.proxy))
        for late in behind:
            why = f"it was silent for {STAGGER_SECONDS:g} s, and {way.proxy} was faster"
            self._remember(operator, late.proxy, why, everybody=False)

    def _remember(self, operator: Operator, proxy: Operator, why: str, *, everybody: bool) -> None:
        is_news = not self._is_put_off(operator, proxy)
        self._put_off.put((NOBODY if everybody else operator, proxy), _now() + PUT_OFF_SECONDS)
        if is_news:
            text = f"the proxy {proxy} brings no tunnel to {operator}, others are asked first: {why}"
            self._emit(Notice(level=Level.WARN, text=text))


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Race:
    """Attempts beside each other.

    Attributes:
        running: those that nobody has taken the result of.
    """

    def __init__(self) -> None:
        self.running: dict[asyncio.Task[ClientConnection], Route] = {}
        self._won: ClientConnection | None = None

    def start(self, attempt: Coroutine[Any, Any, ClientConnection], way: Route) -> None:
        self.running[asyncio.create_task(attempt, name=f"open a tunnel of {way.proxy}")] = way

    async def ended(self, timeout: float | None) -> list[tuple[Route, "asyncio.Task[ClientConnection]"]]:
        """Those that have ended, after ``timeout`` seconds at the most."""
        done, _ = await asyncio.wait(self.running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return [(self.running[task], task) for task in done]

    def take(self, task: "asyncio.Task[ClientConnection]") -> ClientConnection:
        del self.running[task]
        self._won = task.result()
        return self._won

    async def close(self) -> None:
        """End all attempts, and what they bring all the same."""
        for task in self.running:
            task.cancel()
            task.add_done_callback(_abandon)
        try:
            if self.running:
                await asyncio.wait(self.running)
        except BaseException:  # cancelled meanwhile: nobody else knows the winner
            if self._won is not None:
                self._won.abort("nobody waits for it any more")
            raise


def _abandon(task: "asyncio.Task[ClientConnection]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort("another proxy was faster")

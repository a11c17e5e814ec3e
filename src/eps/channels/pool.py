"""Kept connections: one gRPC connection per peer, opened on first use, shared by all calls.

Theory of operation. A ``Slot`` holds at most one connection that new calls may use, and at most one task that is
opening the next; a hundred first calls wait for the same task, so one tunnel is brokered. A connection leaves its slot
when

    its route changed (address, proxy, pins)     the next one is made, and tried again until it stands; then it
                                                 drains. If its pin is gone, it is cut at once
    the peer says GOAWAY or the connection broke it finishes its calls, or they fail as the connection says
    no call used it for ``idle_timeout``         it is closed
    nothing comes from it any more               a second one takes its place; it is cut soon, or finishes its
                                                 calls if it was slow only (``grpc/pulse.py``)
    its proxy may be about to cut it             the next one was made before; it is left open until it has shown
                                                 whether it is cut, then it drains (``core/lifetime.py``)
    its proxy is about to stop, and says so      the next one is made, if it can be made soon; it drains

and never returns. A call that was certainly not sent is repeated on a new connection; any other failure is the caller's
to know. Whether a call may go out a second time is decided here and nowhere else.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from eps.channels.alternatives import Alternatives
from eps.channels.lessons import Lessons
from eps.channels.peers import DirectoryPins
from eps.channels.slots import Keeping, Opener, Route, Slot, not_there_yet, outlasts, remaining, retrieve
from eps.core.event import Emit, PeerChanged
from eps.core.lifetime import Cut, Fitness
from eps.core.message import Asker
from eps.core.names import Operator
from eps.core.renewal import REPLACE_SECONDS
from eps.core.ways import NOBODY
from eps.directory import DirectorySource
from eps.errors import EpsError, GivenUp, NotSent, NoWay, Unreachable
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.reasons import Reason
from eps.transport.tasks import Tasks
from eps.transport.tls import pin_failure

ATTEMPTS = 3
"""Connections that one call tries while it is certain that it was not sent: the kept one, a new one, one more."""

OPEN_TIMEOUT = 15.0
"""Seconds for brokering, dialling, TLS and the peer's SETTINGS. Above the 10 s that a proxy keeps half a tunnel."""

REPLACE_PAUSE = 0.2
"""Seconds between two attempts to replace a tunnel whose proxy stops."""

MOVE_PAUSE = 3.0
"""The longest pause, in seconds, between two attempts to reach a peer as its directory entry says since it changed:
that peer, or its proxy, may follow the directory some seconds later, and until then the former connection is used."""

DRAIN_GRACE = 30.0
"""Seconds that calls in flight may take on a connection that left its slot: the usual deadline of a call. Where calls
have longer ones, those count."""

RENEW_SECONDS, RENEW_PAUSE = 20.0, 0.1
"""Over how many seconds all connections are opened anew, and the longest pause between two: within a minute they are
to be new, and what is in flight on the old ones may take 30 s."""

RENEW_AGAIN_SECONDS = 5.0
"""Until those are tried again that could not be opened anew: a peer that doesn't pin the new certificate yet, say."""


class Pool:
    """The kept connections of one EPS server.

    Args:
        source: the directory, watched for changes of routes.
        route_of: the route to an operator now; None if it can't be dialled.
        open_connection: opens one.
        keeping: see there.
        clock: seconds, for ages and idleness; it does not run backwards.
    """

    def __init__(
        self,
        source: DirectorySource,
        route_of: Callable[[Operator], Route | None],
        open_connection: Opener,
        *,
        emit: Emit,
        keeping: Keeping | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._route_of = route_of
        self._ways = Alternatives(open_connection, emit)
        self._via: dict[ClientConnection, Operator] = {}  # whose proxy has brought it; empty for a direct one
        self._emit = emit
        keeping = keeping or Keeping()
        self._idle_timeout = keeping.idle_timeout
        self._slots: dict[Operator, Slot] = {}
        self._lingering: dict[ClientConnection, Operator] = {}  # by whose proxy they go
        self._lessons = Lessons(keeping.lessons, emit)
        self._lifetimes = self._lessons.lifetimes
        self._clock = clock
        self._grace = DRAIN_GRACE
        self._tasks = Tasks()
        self._generation = 0
        self._stale: set[ClientConnection] = set()  # to be opened anew
        self._renewing: asyncio.Task[None] | None = None
        self._moving: set[ClientConnection] = set()  # of routes that have changed
        self._closing = False

    async def start(self) -> None:
        """Begin to watch the directory and the clock."""
        await self._lessons.load()
        self._tasks.start(self._watch_directory(), "pool: directory")
        self._tasks.start(self._close_idle(), "pool: idle")

    async def close(self) -> None:
        """Cut all connections and end all tasks; calls in flight end as OutcomeUnknown."""
        self._closing = True
        for slot in self._slots.values():
            if slot.connection is not None:
                slot.connection.abort("this server is stopping")
        await self._tasks.close()
        await self._lessons.save()

    def renew(self) -> None:
        """Open all connections anew: each stays in use until the next one stands, and then ends with its last call."""
        self._generation += 1
        self._stale.update(slot.connection for slot in self._slots.values() if slot.connection is not None)
        if self._renewing is not None:
            self._renewing.cancel()
        self._renewing = self._tasks.start(self._renew(), "pool: renew")

    @property
    def stale(self) -> list[Operator]:
        """To whom connections are open that are to be opened anew, or come to their end."""
        return sorted(connection.operator for connection in self._stale)

    async def call(
        self, operator: Operator, request: pb.Request, timeout: float, route: Route, asker: Asker | None = None
    ) -> pb.Response:
        """Send ``request`` to ``operator`` and wait for the answer.

        Args:
            timeout: seconds.
            route: the route to it now.
            asker: who waits for it; asked when it is about to be sent.

        Raises:
            NotSent: certainly not executed. OutcomeUnknown: it may have been. DeliveryError: the peer refused it.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        self._grace = max(self._grace, timeout)
        for attempt in range(1, ATTEMPTS + 1):
            connection = await self._connection(operator, remaining(deadline), route)
            try:
                return await connection.call(request, remaining(deadline), asker or Asker())
            except GivenUp:
                raise
            except NotSent:
                out_of_time = remaining(deadline) <= 0
                if not out_of_time and not connection.doubtful:
                    # It refused the call or was gone: it serves no new ones, whatever it says of itself.
                    self._retire(operator, connection)
                if attempt == ATTEMPTS or out_of_time:
                    raise
                route = self._current_route(operator)
            finally:
                self._slots[operator].last_used = self._clock()
        raise AssertionError("the loop returns or raises")

    async def connection(self, operator: Operator, timeout: float) -> ClientConnection:
        """The kept connection to ``operator``, opened if there is none.

        Raises:
            NotSent: it can't be opened, or not within ``timeout`` seconds.
        """
        return await self._connection(operator, timeout, self._current_route(operator))

    def _current_route(self, operator: Operator) -> Route:
        route = self._route_of(operator)
        if route is None:
            raise NoWay(f"the directory names no gRPC server of {operator} that we may dial")
        return route

    async def _connection(self, operator: Operator, timeout: float, route: Route) -> ClientConnection:
        slot = self._slots.get(operator)
        if slot is None:
            slot = self._slots[operator] = Slot()
        fitness = self._fitness(slot, route)
        connection = slot.connection
        if fitness is not None and connection is not None and connection.doubtful:
            return await self._second(operator, slot, route, connection, timeout)
        if fitness is None and connection is not None:
            if self._moves(operator, slot, connection, route):
                slot.last_used = self._clock()
                return connection
            self._retire(operator, connection)
        if fitness is Fitness.FIT or (fitness is Fitness.AGEING and slot.renewed is connection):
            assert connection is not None
            slot.last_used = self._clock()
            return connection
        opening = self._opening(operator, slot, route)
        if fitness is Fitness.AGEING:
            assert connection is not None
            slot.renewed, slot.last_used = connection, self._clock()
            return connection
        deadline = asyncio.get_running_loop().time() + timeout
        if fitness is Fitness.SPENT and connection is not None:
            doubt = self._lifetimes.doubtful_until(self._proxy(connection)) - (self._clock() - slot.begun_at)
            if await outlasts(connection, opening, min(doubt, timeout / 2)) and slot.connection is connection:
                return connection  # it may be cut, but there is no other
        return await self._wait_for_opening(operator, opening, remaining(deadline))

    async def _second(
        self, operator: Operator, slot: Slot, route: Route, first: ClientConnection, timeout: float
    ) -> ClientConnection:
        """Another connection beside one whose peer may be gone, unless that one shows sooner that it isn't."""
        deadline = asyncio.get_running_loop().time() + timeout
        slot.last_used = self._clock()
        opening = self._opening(operator, slot, route)
        waited_for: set[asyncio.Future[Any]] = {opening, first.sure}
        await asyncio.wait(waited_for, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if first.usable and not first.doubtful:
            return first
        return await self._wait_for_opening(operator, opening, remaining(deadline))

    def _fitness(self, slot: Slot, route: Route) -> Fitness | None:
        """What the slot's connection is good for; None if there is none that new calls may use."""
        if slot.connection is None or not slot.connection.usable or not self._is_along(slot, route):
            return None
        if not route.proxy:
            return Fitness.FIT
        proxy, age = self._proxy(slot.connection), self._clock() - slot.begun_at
        self._outlived(proxy, age)
        return self._lifetimes.judge(proxy, age)

    def _proxy(self, connection: ClientConnection) -> Operator:
        """The operator whose proxy has brought it; empty for a direct one, and one that has ended."""
        return self._via.get(connection, NOBODY)

    def _is_along(self, slot: Slot, route: Route) -> bool:
        """Whether the slot's connection goes as ``route`` says."""
        return slot.route == route and slot.connection is not None and self._proxy(slot.connection) in route.proxies

    def _opening(self, operator: Operator, slot: Slot, route: Route) -> asyncio.Task[ClientConnection]:
        """The task that opens the slot's next connection, started if there is none."""
        if slot.opening is None or slot.wanted != route:
            slot.wanted = route
            slot.opening = self._tasks.start(self._fill(operator, slot, route), f"open {operator}")
            slot.opening.add_done_callback(retrieve)
        return slot.opening

    async def _wait_for_opening(
        self, operator: Operator, opening: asyncio.Task[ClientConnection], timeout: float
    ) -> ClientConnection:
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(opening)  # others may wait for the same one
        except TimeoutError:
            raise _too_slow(operator, f"the {timeout:.2g} s that were left for the call") from None
        except asyncio.CancelledError:
            if opening.cancelled() and not self._closing:
                raise Unreachable(f"opening the connection to {operator} was given up") from None
            raise

    async def _fill(self, operator: Operator, slot: Slot, route: Route) -> ClientConnection:
        """Open the slot's next connection; the task that all waiting calls share."""
        me, begun_at, generation = asyncio.current_task(), self._clock(), self._generation
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                connection, proxy = await self._ways.open(operator, route)
        except TimeoutError:
            self._lessons.not_reached(operator)
            raise _too_slow(operator, f"{OPEN_TIMEOUT:.0f} s") from None
        except BaseException:
            self._lessons.not_reached(operator)
            raise
        finally:
            if slot.opening is me:
                slot.opening = None
        self._via[connection] = proxy
        if self._lessons.reached(operator, proxy, self._clock()):
            self._learned()
        if slot.wanted == route and not self._closing:
            self._take_over(operator, slot, connection, begun_at)
        else:  # the directory changed while it was being opened; who waits for it opens the next
            self._tasks.start(connection.drain(0.0), f"drain {operator}")
        if generation != self._generation:
            self._stale.add(connection)
        link = "tunnel" if proxy else "direct"
        self._emit(PeerChanged(link=link, peer=operator, up=True, detail=proxy and f"through {proxy}"))
        self._tasks.start(self._until_closed(operator, slot, connection, begun_at), f"watch {operator}")
        return connection

    def _take_over(self, operator: Operator, slot: Slot, connection: ClientConnection, begun_at: float) -> None:
        """New calls use ``connection`` from now on."""
        before, former, slot.route = slot.connection, slot.route, slot.wanted
        if before is not None and before.doubtful:
            before.replaced()
            self._retire(operator, before)
        elif before is not None:
            stays = before.usable and former == slot.route and before is not slot.leaving  # so does its proxy
            if stays and (proxy := self._proxy(before)):
                self._tasks.start(self._linger(before, proxy, slot.begun_at), f"linger {operator}")
            else:
                self._retire(operator, before)
        slot.connection, slot.begun_at, slot.last_used = connection, begun_at, self._clock()

    async def _until_closed(
        self, operator: Operator, slot: Slot, connection: ClientConnection, begun_at: float
    ) -> None:
        try:
            reason = await asyncio.shield(connection.closed)
        finally:
            if not connection.closed.done():  # the pool closes, and this one may have left its slot
                connection.abort("this server is stopping")
            proxy = self._via.pop(connection)
        self._stale.discard(connection)
        if slot.connection is connection:
            slot.connection = None
        if proxy and connection.was_cut:
            now = self._clock()
            self._judge_cut(operator, slot.connection, proxy, Cut(now - begun_at, now))
        link = "tunnel" if proxy else "direct"
        self._emit(PeerChanged(link=link, peer=operator, up=False, detail=reason))

    def _judge_cut(self, operator: Operator, standing: ClientConnection | None, proxy: Operator, cut: Cut) -> None:
        if standing is None:
            self._lessons.was_cut(operator, proxy, cut)
        else:
            self._tasks.start(self._lessons.was_cut_beside(standing.closed, proxy, cut), f"cut {operator}")

    def _outlived(self, proxy: Operator, age: float) -> None:
        if self._lifetimes.outlived(proxy, age):
            self._learned()

    def _learned(self) -> None:
        self._tasks.start(self._lessons.save(), "pool: lessons")

    async def _renew(self) -> None:
        """Put something new in the place of all that is stale; what can't be had is tried again and again."""
        opened_before = self._clock() + OPEN_TIMEOUT  # until then one may come that was begun before
        while self._stale or self._clock() < opened_before:
            waiting = [(operator, slot) for operator, slot in self._slots.items() if slot.connection in self._stale]
            for operator, slot in waiting:
                route = self._route_of(operator)
                if slot.connection in self._stale and route is not None and route == slot.route:
                    self._opening(operator, slot, route)
                await asyncio.sleep(min(RENEW_SECONDS / len(waiting), RENEW_PAUSE))
            await asyncio.sleep(RENEW_AGAIN_SECONDS)

    def _retire(self, operator: Operator, connection: ClientConnection) -> None:
        """No new call uses ``connection``; those in flight may finish."""
        slot = self._slots[operator]
        if slot.connection is connection:
            slot.connection = None
            self._tasks.start(connection.drain(self._grace), f"drain {operator}")

    async def _linger(self, connection: ClientConnection, proxy: Operator, begun_at: float) -> None:
        """Leave a tunnel that may be about to be cut open for as long as it can prove something."""
        self._lingering[connection] = proxy
        try:
            while not connection.closed.done() and (proof := self._lifetimes.proof_age(proxy)) is not None:
                wait = max(begun_at + proof - self._clock(), 0.0) + 0.05
                await asyncio.wait({connection.closed}, timeout=wait)
                if not connection.closed.done():
                    self._outlived(proxy, self._clock() - begun_at)
            await connection.drain(self._grace)
        finally:
            del self._lingering[connection]

    # A proxy stops, and says so (PROTOCOL.md section 10)

    def through(self, proxy: Operator) -> bool:
        """Whether a tunnel that stands was brokered by ``proxy``."""
        return proxy in self._lingering.values() or bool(self._tunnels_of(proxy))

    def leave(self, proxy: Operator) -> int:
        """Begin to replace the tunnels of ``proxy``; how many. Where there is another proxy, that is asked first."""
        self._ways.put_off(proxy)
        for connection in [one for one, via in self._lingering.items() if via == proxy]:
            self._tasks.start(connection.drain(self._grace), f"drain through {proxy}")
        tunnels = self._tunnels_of(proxy)
        for operator, connection in tunnels.items():
            self._tasks.start(self._replace(operator, connection), f"renew {operator}")
        return len(tunnels)

    def _tunnels_of(self, proxy: Operator) -> dict[Operator, ClientConnection]:
        return {
            operator: slot.connection
            for operator, slot in self._slots.items()
            if slot.connection is not None and self._proxy(slot.connection) == proxy
        }

    async def _replace(self, operator: Operator, connection: ClientConnection) -> None:
        """Use ``connection`` until the next one stands. Where none can be made for a second, let it go all the same:
        its proxy waits for that, and new calls wait for a proxy (``broker.patience``)."""
        slot, now = self._slots[operator], asyncio.get_running_loop().time
        slot.leaving, until = connection, now() + REPLACE_SECONDS
        while slot.connection is connection and connection.usable and now() < until:
            with suppress(NotSent):
                opening = self._opening(operator, slot, self._current_route(operator))
                await self._wait_for_opening(operator, opening, remaining(until))
            await asyncio.sleep(REPLACE_PAUSE)
        self._retire(operator, connection)

    async def _watch_directory(self) -> None:
        seen = self._source.current
        while True:
            seen = await self._source.changed(seen)
            for operator, slot in self._slots.items():
                connection, route = slot.connection, self._route_of(operator)
                if connection is None or (route is not None and self._is_along(slot, route)):
                    continue
                if route is None or connection.peer.fingerprint not in route.pins:
                    slot.connection = None
                    text = "the directory no longer pins this certificate or names this server"
                    connection.abort(pin_failure(text, "", DirectoryPins(self._source))[0])
                else:
                    self._moves(operator, slot, connection, route)

    def _moves(self, operator: Operator, slot: Slot, connection: ClientConnection, route: Route) -> bool:
        """Whether ``connection`` is of another route than the present one, and to be used until one of that stands.
        The peer is the same, as its pin shows; but it, or its proxy, may not know yet how it is to be reached now."""
        is_good = connection.usable and not connection.doubtful and connection.peer.fingerprint in route.pins
        if self._is_along(slot, route) or not is_good:
            return False
        if connection not in self._moving:
            self._moving.add(connection)
            self._tasks.start(self._move(operator, slot, connection), f"move {operator}")
        return True

    async def _move(self, operator: Operator, slot: Slot, connection: ClientConnection) -> None:
        pause, told = REPLACE_PAUSE, False
        try:
            while slot.connection is connection and connection.usable:
                route = self._route_of(operator)
                if route is None or self._is_along(slot, route):
                    break  # it has changed back
                try:
                    await self._wait_for_opening(operator, self._opening(operator, slot, route), OPEN_TIMEOUT)
                except EpsError as error:
                    if not told:
                        self._emit(not_there_yet(operator, route, error))
                    told = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, MOVE_PAUSE)
        finally:
            self._moving.discard(connection)  # in any case, or the former route would be used for ever

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(max(self._idle_timeout / 4, 0.05))
            now = self._clock()
            for operator, slot in self._slots.items():
                connection = slot.connection
                if connection and not connection.active and now - slot.last_used >= self._idle_timeout:
                    self._retire(operator, connection)


def _too_slow(operator: Operator, time: str) -> Unreachable:
    hint = f"check that {operator}'s server and, if it has one, its proxy run"
    return Unreachable(f"no connection to {operator} within {time}", hint=hint, reason=Reason.SILENT)

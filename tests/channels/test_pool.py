"""Kept connections: one per peer, opened once, repeated only if certainly not sent."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from eps.channels.pool import ATTEMPTS, Pool, Route
from eps.core.event import Event, PeerChanged
from eps.core.names import Fingerprint, Operator
from eps.errors import EpsError, NoRoute, NotSent, OutcomeUnknown, TunnelFailed, Unreachable
from eps.grpc import eps_pb2 as pb
from eps.transport.tls import PeerIdentity
from support.fakes import FakeSource, network_directory

B, P = Operator("hd-2"), Operator("p")
PIN = Fingerprint("aa")
DIRECT = Route("b:1", Operator(""), frozenset({PIN}))
TUNNEL = Route("p:1", P, frozenset({PIN}))


class FakeConnection:
    """What the pool knows of a ClientConnection."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = loop.create_future()
        self.peer = PeerIdentity((B,), PIN)
        self.created_at = loop.time()
        self.usable = True
        self.active = 0
        self.failures: list[EpsError] = []
        self.calls = 0
        self.was_cut = False
        self.grace = 0.0

    async def call(self, request: pb.Request, timeout: float) -> pb.Response:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return pb.Response(id=request.id)

    async def drain(self, grace: float) -> None:
        self.grace = grace
        self.abort("drained")

    def cut(self) -> None:
        self.was_cut = True
        self.abort("cut")

    def abort(self, reason: str) -> None:
        self.usable = False
        if not self.closed.done():
            self.closed.set_result(reason)


class Setup:
    def __init__(self, idle_timeout: float = 300.0) -> None:
        self.source = FakeSource(network_directory())
        self.route: Route | None = DIRECT
        self.opened: list[FakeConnection] = []
        self.failures: list[EpsError] = []
        self.gate: asyncio.Event | None = None
        self.events: list[Event] = []
        self.pool = Pool(
            self.source,
            lambda operator: self.route,
            self.open,  # type: ignore[arg-type]  # a fake connection
            emit=self.events.append,
            idle_timeout=idle_timeout,
        )
        self.pool.start()

    async def open(self, operator: Operator, route: Route) -> FakeConnection:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        connection = FakeConnection()
        self.opened.append(connection)
        return connection

    async def call(self, timeout: float = 5.0) -> pb.Response:
        route = self.route or DIRECT
        return await self.pool.call(B, pb.Request(id="hd-2.f(1)"), timeout, route)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    yield made
    await made.pool.close()


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_hundred_first_calls_open_one_connection(setup: Setup) -> None:
    setup.gate = asyncio.Event()
    calls = [asyncio.create_task(setup.call()) for _ in range(100)]
    await asyncio.sleep(0)
    setup.gate.set()
    assert len(await asyncio.gather(*calls)) == 100
    assert len(setup.opened) == 1
    assert setup.opened[0].calls == 100


async def test_the_connection_is_kept(setup: Setup) -> None:
    await setup.call()
    await setup.call()
    assert len(setup.opened) == 1


async def test_all_waiting_calls_learn_why_it_could_not_be_opened(setup: Setup) -> None:
    setup.failures = [TunnelFailed("no tunnel")]
    results = await asyncio.gather(*(setup.call() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [TunnelFailed] * 3
    await setup.call()
    assert len(setup.opened) == 1


async def test_a_call_that_was_not_sent_goes_out_on_a_new_connection(setup: Setup) -> None:
    await setup.call()
    setup.opened[0].failures = [NotSent("GOAWAY")]
    await setup.call()
    assert len(setup.opened) == 2
    await until(lambda: setup.opened[0].closed.done())


async def test_it_does_not_try_for_ever(setup: Setup) -> None:
    real_open = setup.open

    async def open_refusing(operator: Operator, route: Route) -> FakeConnection:
        connection = await real_open(operator, route)
        connection.failures = [NotSent("refused")]
        return connection

    setup.pool._open = open_refusing  # type: ignore[assignment]  # a fake connection
    with pytest.raises(NotSent):
        await setup.call()
    assert len(setup.opened) == ATTEMPTS


async def test_a_call_that_ran_out_of_time_does_not_cost_others_their_connection(setup: Setup) -> None:
    await setup.call()
    setup.opened[0].failures = [NotSent("no time was left")]
    with pytest.raises(NotSent):
        await setup.call(timeout=0.0)
    await setup.call()
    assert len(setup.opened) == 1


async def test_a_connection_is_drained_for_as_long_as_calls_may_take(setup: Setup) -> None:
    await setup.call(timeout=120.0)
    setup.opened[0].usable = False  # as after a GOAWAY
    await setup.call(timeout=5.0)
    await until(setup.opened[0].closed.done)
    assert setup.opened[0].grace == 120.0


async def test_a_route_that_changes_and_changes_back_while_opening_leaves_one_connection(setup: Setup) -> None:
    setup.gate = asyncio.Event()
    calls = []
    for route in (DIRECT, TUNNEL, DIRECT):
        setup.route = route
        calls.append(asyncio.create_task(setup.call()))
        await asyncio.sleep(0)
    setup.gate.set()
    await asyncio.gather(*calls)
    await until(lambda: sum(not connection.closed.done() for connection in setup.opened) == 1)


async def test_closing_cuts_what_is_being_drained(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeConnection, "drain", lambda self, grace: asyncio.sleep(60))
    await setup.call()
    setup.opened[0].usable = False
    await setup.call()
    await setup.pool.close()
    assert [connection.closed.done() for connection in setup.opened] == [True, True]


async def test_an_unknown_outcome_is_never_repeated(setup: Setup) -> None:
    await setup.call()
    setup.opened[0].failures = [OutcomeUnknown("lost")]
    with pytest.raises(OutcomeUnknown):
        await setup.call()
    assert len(setup.opened) == 1
    assert setup.opened[0].calls == 2


async def test_a_dropped_connection_costs_the_next_call_nothing(setup: Setup) -> None:
    await setup.call()
    setup.opened[0].abort("proxy restarted")
    await setup.call()
    assert len(setup.opened) == 2
    reasons = [event.reason for event in setup.events if isinstance(event, PeerChanged) and not event.up]
    assert reasons == ["proxy restarted"]


async def test_no_route_is_said(setup: Setup) -> None:
    setup.route = None
    with pytest.raises(NoRoute):
        await setup.pool.connection(B, 5.0)


async def test_a_route_that_is_gone_when_a_call_goes_out_again_is_said(setup: Setup) -> None:
    await setup.call()
    setup.opened[0].failures = [NotSent("GOAWAY")]
    call = asyncio.create_task(setup.pool.call(B, pb.Request(id="hd-2.f(1)"), 5.0, DIRECT))
    setup.route = None
    with pytest.raises(NoRoute):
        await call


async def test_a_call_does_not_wait_longer_than_its_deadline(setup: Setup) -> None:
    setup.gate = asyncio.Event()
    with pytest.raises(Unreachable, match="were left for the call"):
        await setup.call(timeout=0.05)


async def test_a_new_address_drains_a_lost_pin_cuts(setup: Setup) -> None:
    await setup.call()
    setup.route = Route("b:2", Operator(""), frozenset({PIN}))
    setup.source.current = network_directory()
    await until(lambda: setup.opened[0].closed.done())
    assert setup.opened[0].closed.result() == "drained"
    await setup.call()
    setup.route = Route("b:2", Operator(""), frozenset({Fingerprint("bb")}))
    setup.source.current = network_directory()
    await until(lambda: setup.opened[1].closed.done())
    assert "no longer pins" in setup.opened[1].closed.result()


async def test_an_unchanged_route_keeps_its_connection(setup: Setup) -> None:
    await setup.call()
    setup.source.current = network_directory()
    await asyncio.sleep(0.01)
    await setup.call()
    assert len(setup.opened) == 1


async def test_a_route_that_changes_while_opening_is_opened_anew(setup: Setup) -> None:
    setup.gate = asyncio.Event()
    first = asyncio.create_task(setup.call())
    await asyncio.sleep(0)
    setup.route = Route("b:2", Operator(""), frozenset({PIN}))
    second = asyncio.create_task(setup.call())
    await asyncio.sleep(0)
    setup.gate.set()
    await asyncio.gather(first, second)
    assert len(setup.opened) == 2


async def test_idle_connections_are_closed() -> None:
    setup = Setup(idle_timeout=0.05)
    await setup.call()
    await until(lambda: setup.opened[0].closed.done())
    await setup.pool.close()


async def test_busy_connections_are_not() -> None:
    setup = Setup(idle_timeout=0.05)
    await setup.call()
    setup.opened[0].active = 1
    await asyncio.sleep(0.2)
    assert not setup.opened[0].closed.done()
    await setup.pool.close()


async def test_a_tunnel_about_to_be_cut_takes_no_new_calls(setup: Setup) -> None:
    setup.route = TUNNEL
    await setup.call()
    setup.opened[0].created_at -= 5.0
    setup.opened[0].cut()
    await until(lambda: setup.pool._lifetimes.proof_age(P) is not None)
    await setup.call()
    assert len(setup.opened) == 2
    setup.opened[1].created_at -= 4.5
    await setup.call()
    assert len(setup.opened) == 3
    assert not setup.opened[1].closed.done()  # it lives until it would have been cut
    await until(lambda: setup.opened[1].closed.done())
    await setup.call()
    assert len(setup.opened) == 3
    assert not setup.pool._lifetimes.is_near_end(P, 5.0)  # it outlived the lesson


async def test_a_tunnel_that_ended_gracefully_teaches_nothing(setup: Setup) -> None:
    setup.route = TUNNEL
    await setup.call()
    setup.opened[0].created_at -= 60.0
    setup.opened[0].abort("GOAWAY")
    await until(lambda: any(isinstance(event, PeerChanged) and not event.up for event in setup.events))
    assert setup.pool._lifetimes.proof_age(P) is None


async def test_close_ends_everything() -> None:
    setup = Setup()
    await setup.call()
    await setup.pool.close()
    assert setup.opened[0].closed.done()
    assert len(setup.pool._tasks) == 0


async def test_close_while_opening_ends_the_wait() -> None:
    setup = Setup()
    setup.gate = asyncio.Event()
    call = asyncio.create_task(setup.call())
    await asyncio.sleep(0)
    await setup.pool.close()
    with pytest.raises((asyncio.CancelledError, Unreachable)):
        await call

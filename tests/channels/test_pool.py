"""Kept connections: one per peer, opened once, repeated only if certainly not sent."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eps.channels.pool import ATTEMPTS, Pool
from eps.channels.slots import Keeping, Route
from eps.core.event import Event, Level, Notice, PeerChanged
from eps.core.message import Asker
from eps.core.names import Fingerprint, Operator
from eps.errors import EpsError, GivenUp, InternalError, NoRoute, NotSent, OutcomeUnknown, TunnelFailed, Unreachable
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
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.peer = PeerIdentity((B,), PIN)
        self.usable = True
        self.active = 0
        self.failures: list[EpsError] = []
        self.calls = 0
        self.was_cut = False
        self.grace = 0.0
        self.doubtful = False
        self.sure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.beside = 0

    def replaced(self) -> None:
        self.beside += 1

    async def call(self, request: pb.Request, timeout: float, asker: Asker) -> pb.Response:
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
    def __init__(self, keeping: Keeping | None = None) -> None:
        self.ahead = 0.0
        self.refusing = False
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
            keeping=keeping,
            clock=lambda: time.monotonic() + self.ahead,
        )

    async def start(self) -> "Setup":
        await self.pool.start()
        return self

    async def open(self, operator: Operator, route: Route) -> FakeConnection:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        connection = FakeConnection()
        connection.failures = [NotSent("refused")] if self.refusing else []
        self.opened.append(connection)
        return connection

    async def call(self, timeout: float = 5.0) -> pb.Response:
        route = self.route or DIRECT
        return await self.pool.call(B, pb.Request(id="hd-2.f(1)"), timeout, route)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = await Setup().start()
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


async def test_a_call_that_nobody_waits_for_any_more_costs_others_nothing(setup: Setup) -> None:
    await setup.call()
    setup.opened[0].failures = [GivenUp()]
    with pytest.raises(GivenUp):
        await setup.call()
    await setup.call()
    assert len(setup.opened) == 1


async def test_it_does_not_try_for_ever(setup: Setup) -> None:
    setup.refusing = True
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
    reasons = [event.detail for event in setup.events if isinstance(event, PeerChanged) and not event.up]
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
    assert setup.opened[1].closed.result() == (
        "the directory no longer pins this certificate or names this server; the directory is a test's"
    )
    setup.source.refused = "it is too old"
    await setup.call()
    setup.route = None
    setup.source.current = network_directory(empty=True)
    await until(lambda: setup.opened[2].closed.done())
    assert setup.opened[2].closed.result().endswith("; it is too old")


async def test_a_connection_is_used_until_one_along_the_new_route_stands(setup: Setup) -> None:
    """The peer may follow the directory later than we do: until then nobody brings us to it on its new way."""
    await setup.call()
    setup.failures = [Unreachable("it holds no stream", hint="wait") for _ in range(2)]
    setup.route = TUNNEL
    setup.source.current = network_directory()
    await setup.call()
    await until(lambda: not setup.failures)
    await setup.call()
    assert [one.calls for one in setup.opened] == [3]
    await until(lambda: len(setup.opened) == 2 and setup.opened[0].closed.done())
    assert setup.opened[0].closed.result() == "drained"
    await setup.call()
    assert [one.calls for one in setup.opened] == [3, 1]
    told = [event for event in setup.events if isinstance(event, Notice)]
    assert [(event.level, event.hint) for event in told] == [(Level.WARN, "wait")]
    assert told[0].text == (
        "the directory says that hd-2 is reached through p now; until that works, the former connection is used: "
        "it holds no stream"
    )


async def test_a_route_that_changes_back_keeps_its_connection(setup: Setup) -> None:
    await setup.call()
    setup.failures = [Unreachable("not yet") for _ in range(1000)]
    setup.route = TUNNEL
    setup.source.current = network_directory()
    await until(lambda: len(setup.failures) < 1000)
    setup.route = DIRECT
    setup.source.current = network_directory()
    left = len(setup.failures)
    await setup.call()
    await asyncio.sleep(0.3)
    await setup.call()
    assert [one.calls for one in setup.opened] == [3]
    assert len(setup.failures) >= left - 1, "what was not wanted any more is not tried again"


async def test_what_nobody_foresaw_does_not_keep_a_connection_on_its_former_route(setup: Setup) -> None:
    await setup.call()
    setup.failures = [InternalError("a defect")]
    setup.route = TUNNEL
    setup.source.current = network_directory()
    await until(lambda: not setup.failures)
    await until(lambda: len(setup.opened) == 2 and setup.opened[0].closed.done())


async def test_a_former_connection_that_ends_is_no_way_any_more(setup: Setup) -> None:
    await setup.call()
    setup.failures = [Unreachable("not yet") for _ in range(1000)]
    setup.route = TUNNEL
    setup.source.current = network_directory()
    await setup.call()
    setup.opened[0].abort("it has stopped")
    with pytest.raises(Unreachable, match="not yet"):
        await setup.call()


async def test_a_former_connection_that_is_in_doubt_takes_no_calls(setup: Setup) -> None:
    await setup.call()
    setup.opened[0].doubtful = True
    setup.route = TUNNEL
    setup.source.current = network_directory()
    await setup.call()
    assert [one.calls for one in setup.opened] == [1, 1]


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
    setup = await Setup(Keeping(idle_timeout=0.05)).start()
    await setup.call()
    await until(lambda: setup.opened[0].closed.done())
    await setup.pool.close()


async def test_busy_connections_are_not() -> None:
    setup = await Setup(Keeping(idle_timeout=0.05)).start()
    await setup.call()
    setup.opened[0].active = 1
    await asyncio.sleep(0.2)
    assert not setup.opened[0].closed.done()
    await setup.pool.close()


# --- tunnels, and when they are cut


@pytest.fixture
async def tunnels(setup: Setup) -> Setup:
    """One tunnel is open, through a proxy of which nothing is known."""
    setup.route = TUNNEL
    await setup.call()
    return setup


async def test_a_proxy_that_has_shown_nothing_is_not_trusted_with_calls_around_the_age_of_five_seconds(
    tunnels: Setup,
) -> None:
    tunnels.ahead = 4.2
    await tunnels.call()  # begins to make the next tunnel, and does not wait for it
    assert [connection.calls for connection in tunnels.opened] == [2]
    await until(lambda: len(tunnels.opened) == 2)
    tunnels.ahead = 4.6
    await tunnels.call()
    assert [connection.calls for connection in tunnels.opened] == [2, 1]
    assert not tunnels.opened[0].closed.done()  # it may prove that its proxy lets tunnels live
    tunnels.ahead = 6.1
    await until(tunnels.opened[0].closed.done)
    tunnels.ahead = 100.0
    for _ in range(3):
        await tunnels.call()
    assert [connection.calls for connection in tunnels.opened] == [2, 4]


async def test_a_call_in_the_doubtful_age_waits_for_the_next_tunnel(tunnels: Setup) -> None:
    tunnels.ahead = 4.6
    await asyncio.gather(tunnels.call(), tunnels.call())
    assert [connection.calls for connection in tunnels.opened] == [1, 2]


async def test_a_tunnel_that_was_not_used_in_the_doubtful_age_is_used_behind_it(tunnels: Setup) -> None:
    tunnels.ahead = 5.6
    await tunnels.call()
    tunnels.ahead = 6.1
    await tunnels.call()
    tunnels.ahead = 100.0
    await tunnels.call()
    assert [connection.calls for connection in tunnels.opened] == [4]


async def test_the_next_tunnel_is_tried_once_in_good_time_and_without_it_the_old_one_goes_on(tunnels: Setup) -> None:
    tunnels.failures = [TunnelFailed("B holds no stream to P")] * 2
    tunnels.ahead = 4.2
    for _ in range(3):
        await tunnels.call()
        await asyncio.sleep(0)
    assert len(tunnels.failures) == 1
    tunnels.ahead = 4.6
    await tunnels.call()
    assert tunnels.failures == []
    assert [connection.calls for connection in tunnels.opened] == [5]


async def test_a_tunnel_about_to_be_cut_takes_no_new_calls(tunnels: Setup) -> None:
    await cut_at(tunnels, 10.0, 20.1)  # a lesson: after ten seconds
    assert len(tunnels.opened) == 3
    tunnels.ahead = 28.0
    await tunnels.call()
    assert len(tunnels.opened) == 3
    tunnels.ahead = 29.6
    await tunnels.call()
    assert [connection.calls for connection in tunnels.opened] == [1, 1, 2, 1]
    assert not tunnels.opened[2].closed.done()  # it lives until it would have been cut
    tunnels.ahead = 31.0
    await until(tunnels.opened[2].closed.done)
    tunnels.ahead = 50.0
    await tunnels.call()  # the tunnel has outlived the lesson, so that another one may live on
    assert len(tunnels.opened) == 4


async def cut_at(tunnels: Setup, *times: float) -> None:
    """The tunnel in use is cut at each of these times, and the next made at once."""
    for time_ in times:
        tunnels.ahead = time_
        downs = len(down(tunnels)) + 1
        tunnels.opened[-1].cut()
        await until(lambda: len(down(tunnels)) == downs)  # noqa: B023  # waited for at once
        await tunnels.call()


def down(tunnels: Setup) -> list[PeerChanged]:
    return [event for event in tunnels.events if isinstance(event, PeerChanged) and not event.up]


async def test_a_peer_that_was_restarted_teaches_nothing(tunnels: Setup) -> None:
    """Its tunnel ends at some age, twice at the same one; but then it can't be reached for a moment."""
    for ahead in (10.0, 20.1):
        tunnels.ahead = ahead
        tunnels.opened[-1].cut()
        await until(lambda: len(down(tunnels)) == len(tunnels.opened))
        tunnels.failures = [TunnelFailed("hd-2 is not connected")]
        with pytest.raises(TunnelFailed):
            await tunnels.call()
        await tunnels.call()
    tunnels.ahead = 29.6
    await tunnels.call()
    assert len(tunnels.opened) == 3


async def test_a_proxy_that_was_restarted_when_two_tunnels_stood_teaches_nothing(
    tunnels: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ended; that the newer one stood for a moment longer says nothing."""
    monkeypatch.setattr("eps.channels.lessons.CRASH_SECONDS", 0.05)
    for ahead in (4.2, 8.4):
        tunnels.ahead = ahead
        await tunnels.call()
        made = len(tunnels.opened) + 1
        await until(lambda: len(tunnels.opened) == made)  # noqa: B023  # waited for at once
        tunnels.opened[-2].cut()
        await asyncio.sleep(0)
        tunnels.opened[-1].cut()
        await until(lambda: len(down(tunnels)) == len(tunnels.opened))
        await asyncio.sleep(0.1)
        tunnels.failures = [TunnelFailed("the relay is not there")]
        with pytest.raises(TunnelFailed):
            await tunnels.call()
        await tunnels.call()
    tunnels.ahead += 3.4  # 4.2 s is no lesson
    await tunnels.call()
    await asyncio.sleep(0)
    assert len(tunnels.opened) == 5


async def test_a_cut_while_the_next_tunnel_stands_is_a_lesson_if_that_one_lives_on(
    tunnels: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eps.channels.lessons.CRASH_SECONDS", 0.05)
    made_at = 0.0
    for _ in range(2):
        tunnels.ahead = made_at + 4.2
        await tunnels.call()
        count = len(tunnels.opened) + 1
        await until(lambda: len(tunnels.opened) == count)  # noqa: B023  # waited for at once
        tunnels.ahead, made_at = made_at + 5.0, tunnels.ahead
        tunnels.opened[-2].cut()
        await until(lambda: down(tunnels))
        await asyncio.sleep(0.1)
    tunnels.ahead = made_at + 3.6  # before a lesson this is no doubtful age; now the next is made
    await tunnels.call()
    await until(lambda: len(tunnels.opened) == 4)


async def test_a_tunnel_in_its_doubtful_age_is_used_as_long_as_the_next_does_not_stand(tunnels: Setup) -> None:
    tunnels.gate = asyncio.Event()  # who is asked for the next one does not answer
    tunnels.ahead = 5.3
    began = time.monotonic()
    await asyncio.gather(*(tunnels.call(timeout=5.0) for _ in range(5)))
    assert time.monotonic() - began < 1.0
    assert [connection.calls for connection in tunnels.opened] == [6]
    tunnels.gate.set()


async def test_a_tunnel_that_is_cut_in_its_doubtful_age_gives_its_calls_to_the_next(tunnels: Setup) -> None:
    tunnels.gate = asyncio.Event()
    tunnels.ahead = 4.6
    call = asyncio.create_task(tunnels.call())
    await asyncio.sleep(0.01)
    tunnels.opened[0].cut()
    tunnels.gate.set()
    await call
    assert [connection.calls for connection in tunnels.opened] == [1, 1]


async def test_a_tunnel_that_ended_gracefully_teaches_nothing(tunnels: Setup) -> None:
    tunnels.ahead = 60.0
    tunnels.opened[0].abort("GOAWAY")
    await until(lambda: any(isinstance(event, PeerChanged) and not event.up for event in tunnels.events))
    await tunnels.call()
    tunnels.ahead = 119.5
    await tunnels.call()
    assert len(tunnels.opened) == 2


# --- a proxy stops, and says so


async def test_a_tunnel_whose_proxy_stops_is_replaced_and_then_drains(tunnels: Setup) -> None:
    assert tunnels.pool.through(P)
    assert not tunnels.pool.through(Operator("q"))
    assert tunnels.pool.leave(P) == 1
    await until(lambda: len(tunnels.opened) == 2 and tunnels.opened[0].closed.done())
    assert tunnels.opened[0].closed.result() == "drained"
    await tunnels.call()
    assert [connection.calls for connection in tunnels.opened] == [1, 1]


async def test_it_is_used_until_the_next_one_stands(tunnels: Setup) -> None:
    tunnels.failures = [TunnelFailed("the proxy is stopping")]
    tunnels.pool.leave(P)
    await until(lambda: not tunnels.failures)
    await tunnels.call()
    assert [connection.calls for connection in tunnels.opened] == [2]
    await until(lambda: len(tunnels.opened) == 2)
    await tunnels.call()
    assert [connection.calls for connection in tunnels.opened] == [2, 1]


async def test_where_no_next_one_can_be_made_it_is_let_go_so_that_its_proxy_can_stop(
    tunnels: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eps.channels.pool.REPLACE_SECONDS", 0.1)
    tunnels.failures = [TunnelFailed("the proxy is stopping")] * 10
    tunnels.pool.leave(P)
    await until(tunnels.opened[0].closed.done)
    assert tunnels.opened[0].closed.result() == "drained"
    assert not tunnels.pool.through(P)


async def test_tunnels_that_were_set_aside_and_direct_connections(setup: Setup) -> None:
    await setup.call()
    assert setup.pool.leave(P) == 0  # not through that proxy
    setup.route = TUNNEL
    await setup.call()
    await until(lambda: len(setup.opened) == 2)
    setup.ahead = 4.6
    await setup.call()
    aside = setup.opened[1]
    assert not aside.closed.done()
    setup.pool.leave(P)
    await until(aside.closed.done)
    assert aside.closed.result() == "drained"


async def test_what_was_learned_of_a_proxy_is_remembered_by_the_next_server(tmp_path: Path) -> None:
    keeping = Keeping(lessons=tmp_path / "state" / "lessons.json")
    for lives in (1, 2):
        setup = await Setup(keeping).start()
        setup.route = TUNNEL
        await setup.call()
        setup.ahead = 4.6
        await setup.call()
        assert len(setup.opened) == (2 if lives == 1 else 1)
        setup.ahead = 6.1
        if lives == 1:
            await until(setup.opened[0].closed.done)
        await setup.pool.close()


async def test_close_ends_everything() -> None:
    before = asyncio.all_tasks()
    setup = await Setup().start()
    await setup.call()
    await setup.pool.close()
    assert setup.opened[0].closed.done()
    assert asyncio.all_tasks() == before


async def test_close_while_opening_ends_the_wait() -> None:
    setup = await Setup().start()
    setup.gate = asyncio.Event()
    call = asyncio.create_task(setup.call())
    await asyncio.sleep(0)
    await setup.pool.close()
    with pytest.raises((asyncio.CancelledError, Unreachable)):
        await call


async def doubtful_setup(setup: Setup) -> FakeConnection:
    """The kept connection's peer has left a question without an answer."""
    await setup.call()
    first = setup.opened[0]
    first.doubtful = True
    return first


async def test_new_calls_take_a_second_connection_while_it_is_in_doubt_who_is_there(setup: Setup) -> None:
    first = await doubtful_setup(setup)
    await setup.call()
    await setup.call()
    assert [connection.calls for connection in setup.opened] == [1, 2]
    assert first.beside == 1, "the first must learn that its peer lives elsewhere"
    await until(first.closed.done)
    assert first.grace > 0, "what it was asked may still be answered"


async def test_a_doubt_that_is_over_sooner_than_the_second_connection_is_there(setup: Setup) -> None:
    first = await doubtful_setup(setup)
    setup.gate = asyncio.Event()
    call = asyncio.create_task(setup.call())
    await asyncio.sleep(0.01)
    assert not call.done()
    first.doubtful = False
    first.sure.set_result(None)
    await call
    assert first.calls == 2
    setup.gate.set()


async def test_in_doubt_and_without_a_second_connection_calls_are_not_sent(setup: Setup) -> None:
    first = await doubtful_setup(setup)
    setup.failures = [TunnelFailed("no tunnel")]
    with pytest.raises(TunnelFailed):
        await setup.call()
    setup.gate = asyncio.Event()
    with pytest.raises(Unreachable):
        await setup.call(timeout=0.05)
    assert first.calls == 1
    assert first.usable, "it may be slow only"


async def test_a_call_that_found_no_place_in_a_doubtful_connection_goes_elsewhere(setup: Setup) -> None:
    await setup.call()
    first = setup.opened[0]

    async def doubts(request: pb.Request, timeout: float, asker: Asker) -> pb.Response:
        first.doubtful = True
        raise NotSent("it does not answer any more")

    first.call = doubts  # type: ignore[method-assign]
    await setup.call()
    assert setup.opened[1].calls == 1
    assert first.beside == 1

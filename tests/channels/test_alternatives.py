"""Which of several proxies is asked for a tunnel."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import eps.channels.alternatives as module
from eps.channels.alternatives import Alternatives
from eps.channels.slots import Route
from eps.core.names import Operator
from eps.errors import InternalError, NotSent, TlsFailed, TunnelFailed, TunnelRefused
from eps.reasons import Reason
from support.testing import Events

B, C = Operator("b"), Operator("c")
P, Q = Operator("p"), Operator("q")
OTHER = Route("q:1", Q, frozenset())
ROUTE = Route("p:1", P, frozenset(), (OTHER,))
DIRECT = Route("b:1", Operator(""), frozenset())


class Tunnel:
    """What is known of a connection here."""

    def __init__(self, proxy: Operator) -> None:
        self.proxy = proxy
        self.ended = ""

    def abort(self, reason: str) -> None:
        self.ended = reason


class Proxies:
    """They bring tunnels, unless told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[Operator, Operator]] = []
        self.made: list[Tunnel] = []
        self.instead: dict[Operator, Callable[[], Any]] = {}
        self.ahead = 0.0
        self.events = Events()
        self.ways = Alternatives(self.open, self.events)  # type: ignore[arg-type]  # fake connections
        real = module._now
        monkeypatch.setattr(module, "_now", lambda: real() + self.ahead)
        monkeypatch.setattr(module, "STAGGER_SECONDS", 0.02)

    async def open(self, operator: Operator, route: Route) -> Tunnel:
        self.asked.append((operator, route.proxy))
        if route.proxy in self.instead:
            await self.instead[route.proxy]()
        self.made.append(Tunnel(route.proxy))
        return self.made[-1]

    def fails(self, proxy: Operator, error: Exception) -> None:
        async def fail() -> None:
            raise error

        self.instead[proxy] = fail

    async def to(self, operator: Operator = B, route: Route = ROUTE) -> list[Operator]:
        """Who was asked, in this order; the last one brought it."""
        self.asked.clear()
        connection, proxy = await self.ways.open(operator, route)
        assert any(one is connection and one.proxy == proxy and not one.ended for one in self.made)
        return [via for _, via in self.asked]


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Proxies:
    return Proxies(monkeypatch)


async def test_where_there_is_one_way_it_is_taken(proxies: Proxies) -> None:
    assert await proxies.to(route=DIRECT) == [""]
    proxies.fails(Q, NotSent("no"))
    with pytest.raises(NotSent):
        await proxies.to(route=OTHER)
    assert not proxies.events.all


async def test_one_that_failed_is_asked_last_until_it_has_had_time(proxies: Proxies) -> None:
    assert await proxies.to() == [P]
    proxies.fails(P, TunnelFailed("it does not know b"))
    assert await proxies.to() == [P, Q]
    assert await proxies.to() == [Q]
    assert await proxies.to(C) == [P, Q]  # that concerned b only
    proxies.fails(Q, TunnelFailed("no"))
    with pytest.raises(TunnelFailed, match="no"):
        await proxies.to()
    assert [via for _, via in proxies.asked] == [Q, P]
    with pytest.raises(TunnelFailed, match="it does not know b"):
        await proxies.to()
    assert [via for _, via in proxies.asked] == [P, Q]  # both are put off, so in the directory's order
    proxies.instead.clear()
    assert await proxies.to() == [P]
    assert len(proxies.events.all) == 3
    proxies.fails(P, TunnelFailed("no"))
    assert await proxies.to() == [P, Q]
    proxies.ahead = module.PUT_OFF_SECONDS
    proxies.instead.clear()
    assert await proxies.to() == [P]


async def test_one_that_is_down_is_so_for_everybody(proxies: Proxies) -> None:
    proxies.fails(P, TunnelFailed("refused", reason=Reason.PROXY_UNREACHABLE))
    assert await proxies.to() == [P, Q]
    assert await proxies.to(C) == [Q]


async def test_one_that_is_about_to_stop_is_asked_last(proxies: Proxies) -> None:
    proxies.ways.put_off(P)
    assert await proxies.to() == [Q]


async def test_one_that_is_silent_is_passed_and_what_it_brings_late_is_ended(proxies: Proxies) -> None:
    late = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            late.set()  # it comes all the same

    proxies.instead[P] = hang
    assert await proxies.to() == [P, Q]
    assert late.is_set()
    ended = [tunnel.ended for tunnel in proxies.made if tunnel.proxy == P]
    assert ended == ["another proxy was faster"]
    assert await proxies.to() == [Q]


async def test_a_failed_handshake_is_not_the_proxy_s(proxies: Proxies) -> None:
    proxies.fails(P, TlsFailed("b's certificate is not pinned"))
    assert await proxies.to() == [P, Q]
    assert await proxies.to() == [P, Q]


async def test_what_may_pass_is_raised_rather_than_what_is_final(proxies: Proxies) -> None:
    proxies.fails(P, TunnelRefused("there is no b"))
    proxies.fails(Q, TunnelFailed("it is busy"))
    with pytest.raises(TunnelFailed, match="it is busy"):
        await proxies.to()
    proxies.fails(Q, TunnelRefused("nor here"))
    with pytest.raises(TunnelRefused, match=r"nor here|there is no b"):
        await proxies.to()


async def test_a_fault_of_ours_is_raised_and_ends_the_others(proxies: Proxies) -> None:
    proxies.fails(P, InternalError("a mistake"))
    with pytest.raises(InternalError):
        await proxies.to()


async def test_whoever_gives_up_leaves_nothing_open(proxies: Proxies) -> None:
    hanging = 0

    async def hang() -> None:
        nonlocal hanging
        hanging += 1
        try:
            await asyncio.sleep(3600)
        finally:
            hanging -= 1

    proxies.instead = {P: hang, Q: hang}
    opening = asyncio.create_task(proxies.ways.open(B, ROUTE))
    async with asyncio.timeout(30):
        while hanging < 2:
            await asyncio.sleep(0.005)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not hanging


async def test_who_is_cancelled_while_the_slower_one_ends_leaves_no_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has come by then, and nobody else knows of it."""
    proxies, ending = Proxies(monkeypatch), asyncio.Event()

    async def end_slowly() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ending.set()
            await asyncio.sleep(0.05)

    proxies.instead[P] = end_slowly
    opening = asyncio.create_task(proxies.ways.open(B, ROUTE))
    await ending.wait()
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert [one.ended for one in proxies.made] == ["nobody waits for it any more"]

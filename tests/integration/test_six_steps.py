"""Two operators that nobody can dial call each other through the proxy, on real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from eps.core.event import PeerChanged, Step
from eps.core.http_proxy import HttpProxies
from eps.errors import Side, Unreachable
from eps.reasons import TABLE, Reason
from eps.transport.tls import server_context
from eps.transport.tunnel import RelaySettings
from support.network import HD_1, HD_2, PROXY, Network


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with Network() as made:
        await made.node(HD_1)
        await made.node(HD_2)
        await made.proxy()
        await made.ready()
        yield made


async def test_a_ping_takes_the_six_steps(network: Network) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    answer = await a.call("hd-2._ping", {"x": 1})
    assert answer.error is None, answer.error
    assert answer.result["serverInfo"]["name"] == HD_2
    assert answer.result["params"]["_client"]["name"] == HD_1
    assert answer.result["params"]["x"] == 1
    assert a.steps() == [1, 2, 5, 6]
    assert b.steps() == [4]
    assert [step.step for step in network.relay_events.of(Step)] == [3, 4, 6]


async def test_a_hundred_first_calls_broker_one_tunnel(network: Network) -> None:
    a = network.nodes[HD_1]
    answers = await asyncio.gather(*(a.call("hd-2._ping", {}, str(n)) for n in range(100)))
    assert [answer.error for answer in answers] == [None] * 100
    assert a.steps() == [1, 2, 5, 6]


async def test_calls_with_the_same_id_both_succeed(network: Network) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    gate = asyncio.Event()

    async def wait(request: object) -> str:
        await gate.wait()
        return "done"

    b.application.answer = wait
    calls = [asyncio.create_task(a.call("hd-2.echo", {}, "same")) for _ in range(2)]
    async with asyncio.timeout(30):
        while len(b.application.requests) < 2:
            await asyncio.sleep(0.005)
    gate.set()
    answers = await asyncio.gather(*calls)
    assert [(answer.id, answer.result) for answer in answers] == [("hd-2.echo(same)", "done")] * 2


async def test_both_directions(network: Network) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    answers = await asyncio.gather(a.call("hd-2._ping"), b.call("hd-1._ping"))
    assert [answer.result["serverInfo"]["name"] for answer in answers] == [HD_2, HD_1]


async def test_a_dead_tunnel_costs_a_new_brokering_and_nothing_else(network: Network) -> None:
    a = network.nodes[HD_1]
    assert (await a.call("hd-2._ping")).error is None
    assert network.relay is not None
    for relay in list(network.relay.relays):
        relay.stop()
    await a.events.wait_for(PeerChanged, lambda event: event.link == "tunnel" and not event.up)
    assert (await a.call("hd-2._ping")).error is None
    assert a.steps() == [1, 2, 5, 6] * 2


async def test_a_caller_without_the_right_is_told_so_by_b(network: Network) -> None:
    answer = await network.nodes[HD_1].call("hd-2.nope")
    assert answer.error is not None
    assert answer.error.code == 403
    assert answer.error.data["side"] == "peer"


async def test_without_the_proxy_running_the_caller_learns_which_part_failed(network: Network) -> None:
    await network.nodes[PROXY].close()
    answer = await network.nodes[HD_1].call("hd-2._ping")
    assert answer.error is not None
    assert answer.error.code == 500
    assert answer.error.data["outcome"] == "not_sent"
    assert PROXY in answer.error.message


async def test_what_lies_with_the_proxy_s_application_is_told_as_the_proxy_s(network: Network) -> None:
    def down(request: object) -> object:
        raise Unreachable("the application is down", side=Side.OURS, reason=Reason.APPLICATION_DOWN)

    network.nodes[PROXY].application.answer = down
    answer = await network.nodes[HD_1].call("hd-2._ping")
    assert answer.error is not None
    assert answer.error.message == f"{PROXY} brought no tunnel to hd-2: {TABLE[Reason.PROXY_PROGRAM_DOWN].title}"
    assert answer.error.data["reason"] == Reason.PROXY_PROGRAM_DOWN
    assert (answer.error.data["stage"], answer.error.data["side"]) == ("relay", "proxy")


async def test_what_lies_with_b_is_told_as_b_s(network: Network) -> None:
    """B's «ours» goes through the proxy's EPS server and the proxy, and is read by A."""
    context = server_context(network.certificates.tls_files(HD_2), ["h2"])
    relays = RelaySettings(proxies=HttpProxies("ftp://127.0.0.1:1", spare_local=False))
    network.nodes[HD_2].server.renew(context, rate_limits=(), relays=relays, is_other=False)
    answer = await network.nodes[HD_1].call("hd-2._ping")
    assert answer.error is not None
    assert answer.error.message.startswith(
        f"{PROXY} brought no tunnel to hd-2: hd-2 reports: the settings can't be used"
    )
    assert (answer.error.data["stage"], answer.error.data["side"]) == ("relay", "peer")


async def test_b_gone_is_told_as_such(network: Network) -> None:
    await network.nodes[HD_2].close()
    await network.nodes[PROXY].events.wait_for(
        PeerChanged, lambda event: event.link == "connected" and event.peer == HD_2 and not event.up
    )
    answer = await network.nodes[HD_1].call("hd-2._ping")
    assert answer.error is not None
    assert answer.error.data["stage"] == "broker"
    assert answer.error.data["side"] == "peer"
    assert "hd-2 is not connected" in answer.error.message


async def test_thirty_two_at_a_time(network: Network) -> None:
    a = network.nodes[HD_1]

    async def caller(number: int) -> int:
        for n in range(32):
            assert (await a.call("hd-2._ping", {}, f"{number}-{n}")).error is None
        return 1

    assert sum(await asyncio.gather(*(caller(number) for number in range(32)))) == 32
    assert a.steps() == [1, 2, 5, 6]


async def test_a_proxy_that_stops_asks_both_sides_for_another_tunnel_and_no_call_notices(network: Network) -> None:
    a, b, p = (network.nodes[name] for name in (HD_1, HD_2, PROXY))
    gate = asyncio.Event()

    async def wait(request: object) -> str:
        await gate.wait()
        return "done"

    b.application.answer = wait
    running = asyncio.create_task(a.call("hd-2.echo"))
    async with asyncio.timeout(30):
        while not b.application.requests:
            await asyncio.sleep(0.005)
    answers = await asyncio.gather(p.call("hd-1._renewConnections"), p.call("hd-2._renewConnections"))
    assert [answer.result for answer in answers] == [{"connections": 1}] * 2
    async with asyncio.timeout(30):
        while a.steps() != [1, 2, 5, 6] * 2:
            await asyncio.sleep(0.005)
    gate.set()
    assert (await running).result == "done"
    down = await a.events.wait_for(PeerChanged, lambda event: event.link == "tunnel" and not event.up)
    assert down.detail == "closed by us"
    assert (await a.call("hd-2._ping")).error is None
    assert a.steps() == [1, 2, 5, 6] * 2


async def test_the_side_that_was_called_says_goodbye_a_moment_later(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eps.channels.grpc_server.YIELD_SECONDS", 0.05)
    a, p = network.nodes[HD_1], network.nodes[PROXY]
    assert (await a.call("hd-2._ping")).error is None
    assert (await p.call("hd-2._renewConnections")).result == {"connections": 1}
    down = await a.events.wait_for(PeerChanged, lambda event: event.link == "tunnel" and not event.up)
    assert down.detail == "hd-2 ended the connection (GOAWAY NO_ERROR)"


async def test_nobody_else_may_ask_for_another_tunnel(network: Network) -> None:
    a, b, p = (network.nodes[name] for name in (HD_1, HD_2, PROXY))
    early = await p.call("hd-2._renewConnections")  # it has brokered none yet
    assert (await a.call("hd-2._ping")).error is None
    for answer in (early, await a.call("hd-2._renewConnections"), await b.call("hd-1._renewConnections")):
        assert answer.error is not None
        assert answer.error.code == 403

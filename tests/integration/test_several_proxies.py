"""An operator with two proxies: whoever calls it goes on by the second when the first is gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import eps.channels.alternatives as module
from eps.core.address import parse_address
from eps.core.event import Level, Notice, PeerChanged
from eps.core.message import Request, Response
from eps.errors import Outcome
from support.network import HD_1, HD_2, OTHER_PROXY, PROXY, Network, Node


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with Network() as made:
        await made.node(HD_1)
        await made.node(HD_2)
        await made.proxy()
        await made.proxy(OTHER_PROXY)
        await made.ready()
        made.alternatives(HD_2, OTHER_PROXY)
        yield made


def ways(node: Node) -> list[str]:
    """By whose proxies tunnels were made."""
    return [event.detail for event in node.events.of(PeerChanged) if event.link == "tunnel" and event.up]


async def test_the_first_is_used_while_it_brings_tunnels(network: Network) -> None:
    a = network.nodes[HD_1]
    assert (await a.call("hd-2._ping")).error is None
    assert ways(a) == [f"through {PROXY}"]


async def test_calls_go_on_by_the_second_when_the_first_dies_under_load(network: Network) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    assert (await a.call("hd-2._ping")).error is None
    in_flight = 0
    gate = asyncio.Event()

    async def answer(request: Request) -> object:
        await asyncio.sleep(0.005)
        return {"n": request.params["n"]}

    b.application.answer = answer
    results: list[tuple[bool, Response]] = []

    async def application(number: int) -> None:
        nonlocal in_flight
        for call in range(40):
            began_before = not gate.is_set()
            in_flight += 1
            response = await a.call("hd-2.echo", {"n": call}, f"{number}-{call}")
            in_flight -= 1
            results.append((began_before, response))

    load = [asyncio.create_task(application(number)) for number in range(8)]
    async with asyncio.timeout(30):
        while len(results) < 80:
            await asyncio.sleep(0.001)
    at_once = in_flight
    gate.set()
    await network.relays[PROXY].close()
    await network.nodes[PROXY].close()
    await asyncio.gather(*load)
    failed = [(before, response.error) for before, response in results if response.error is not None]
    assert len(results) == 320 and len(failed) <= at_once
    assert all(before and error.data["outcome"] == Outcome.UNKNOWN.value for before, error in failed)
    assert ways(a) == [f"through {PROXY}", f"through {OTHER_PROXY}"]


async def test_a_first_that_refuses_is_passed_over(network: Network) -> None:
    """Its EPS server runs, and says that there is no proxy behind it."""
    a = network.nodes[HD_1]
    network.nodes[PROXY].application.answer = lambda request: 1 / 0
    await network.relays[PROXY].close()
    assert (await a.call("hd-2._ping")).error is None
    (told,) = [one for one in a.events.of(Notice) if "brings no tunnel" in one.text]
    assert told.level is Level.WARN and f"the proxy {PROXY} brings no tunnel to hd-2" in told.text
    assert ways(a) == [f"through {OTHER_PROXY}"]


async def test_a_first_that_is_silent_costs_little(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STAGGER_SECONDS", 0.05)
    a = network.nodes[HD_1]
    asked = asyncio.Event()

    async def silent(request: Request) -> object:
        asked.set()
        await asyncio.sleep(3600)
        raise AssertionError

    network.nodes[PROXY].application.answer = silent
    assert (await a.call("hd-2._ping")).error is None
    assert asked.is_set() and ways(a) == [f"through {OTHER_PROXY}"]
    assert any("and public-proxy-2.ga was faster" in one.text for one in a.events.of(Notice))


async def test_a_proxy_that_is_about_to_stop_is_left_for_the_other(network: Network) -> None:
    a = network.nodes[HD_1]
    assert (await a.call("hd-2._ping")).error is None
    assert a.client.leave(network.nodes[PROXY].name) == 1
    await a.events.wait_for(PeerChanged, lambda one: one.up and one.detail == f"through {OTHER_PROXY}")
    assert (await a.call("hd-2._ping")).error is None
    assert ways(a) == [f"through {PROXY}", f"through {OTHER_PROXY}"]


async def test_if_none_brings_a_tunnel_the_caller_is_told_why(network: Network) -> None:
    a = network.nodes[HD_1]
    for name in (PROXY, OTHER_PROXY):
        network.nodes[name].application.answer = lambda request: Response("1", error=None, result={})
    error = (await a.call("hd-2._ping")).error
    assert error is not None and error.data["outcome"] == "not_sent"
    assert f"the proxy {PROXY} answered without a token" in error.message


@pytest.mark.parametrize(("name", "may"), [(HD_1, False), (HD_2, True)])
async def test_only_the_proxies_that_it_names_may_ask_for_tunnels(network: Network, name: str, may: bool) -> None:
    client = network.nodes[HD_1].source.current.entry(network.nodes[HD_1].name)
    assert client is not None
    params = {"endpoint": "127.0.0.1:1", "token": "A" * 43 + "=", "channel": "grpc_server", "client": client.as_client}
    request = Request(parse_address(f"{name}._connectionRequest(1)"), params)
    error = (await network.nodes[name].broker.deliver(request, network.nodes[OTHER_PROXY].name)).error
    assert error is not None
    if may:
        assert "the relay refuses connections" in error.message  # it tried: nobody listens there
    else:
        assert error.code == 403 and f"the directory names {PROXY} as hd-1's proxy" in error.message


async def test_a_proxy_that_is_named_no_more_is_left(network: Network) -> None:
    a = network.nodes[HD_1]
    network.nodes[PROXY].application.answer = lambda request: 1 / 0
    assert (await a.call("hd-2._ping")).error is None
    assert ways(a) == [f"through {OTHER_PROXY}"]
    third = "public-proxy-3.ga"
    network.alternatives(HD_2, third)
    await a.events.wait_for(Notice, lambda one: "is reached through" in one.text)
    network.alternatives(HD_2, OTHER_PROXY)
    assert (await a.call("hd-2._ping")).error is None

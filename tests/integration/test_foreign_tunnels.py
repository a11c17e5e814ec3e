"""Brokered connections in which ours plays one role and foreign peers the others (PROTOCOL.md sections 7 and 9)."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from eps.channels.slots import Keeping
from eps.core.event import PeerChanged, Refused, Step
from eps.core.jsonrpc_text import Call
from eps.core.message import Response as OurResponse
from eps.core.names import Object, Operator
from eps.proxy.public import PublicProxy
from eps.proxy.relay_limits import RelayLimits
from support.foreign.messages import Request
from support.foreign.network import HD_1, HD_2, PROXY, Network
from support.ours import WAIT, Ours, echo, foreign_network, in_thread, ours


def tell(method: str, params: Object, request_id: str) -> Any:
    return {"method": method, "said": params.get("say"), "from": params["_client"]["name"]}


async def foreign_b(network: Network, service: Any = tell) -> None:
    """hd-2 and its stream to the foreign proxy's EPS server."""
    network.run(HD_2, service).hold_streams()
    assert await in_thread(network.servers[PROXY].server.wait_connected, HD_2)


# --- ours is A


async def test_ours_as_a_with_foreign_p_and_b() -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy()
        await foreign_b(network)
        async with ours(network, HD_1) as caller:
            answer = await caller.call("hd-2._ping", {"n": 1})
            assert answer.error is None
            assert answer.result["serverInfo"]["name"] == HD_2
            assert answer.result["params"]["_client"]["name"] == HD_1
            assert [step.step for step in caller.events.of(Step)] == [1, 2, 5, 6]
            more = await asyncio.gather(*(caller.call("hd-2.echo", {"say": n}, f"c{n}") for n in range(30)))
            assert [answer.result["said"] for answer in more] == list(range(30))
        assert proxy.relay.joined == 1
        assert proxy.relay.rejected == []
        assert proxy.requests[0]["to"] == HD_2
        assert proxy.requests[0]["channel"] == "grpc_server"


async def test_a_hundred_first_calls_broker_one_tunnel() -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy()
        await foreign_b(network)
        async with ours(network, HD_1) as caller:
            answers = await asyncio.gather(*(caller.call("hd-2.echo", {"say": n}, f"c{n}") for n in range(100)))
            assert all(answer.error is None for answer in answers)
        assert proxy.relay.joined == 1


async def test_a_tunnel_that_was_cut_between_calls_costs_nothing() -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy(cut_after=0.4)
        await foreign_b(network)
        async with ours(network, HD_1) as caller:
            for number in (1, 2, 3):
                assert (await caller.call("hd-2.echo")).error is None
                assert await in_thread(proxy.relay.wait_for, "cut", number)
        assert proxy.relay.joined == 3


async def test_proxies_that_cut_after_five_seconds_cost_not_even_the_first_call(tmp_path: Path) -> None:
    """Their habit is known until one shows that it hasn't it, and what was learned survives a restart."""
    keeping = Keeping(lessons=tmp_path / "lessons.json")
    async with foreign_network() as network:
        proxy = network.run_proxy(cut_after=5.0)
        await foreign_b(network)
        made, failed = 0, list[object]()

        async def call_without_a_pause(caller: Ours, cuts: int) -> None:
            nonlocal made
            while proxy.relay.cut < cuts:
                made += 1
                answer = await caller.call("hd-2.echo", {}, str(made))
                if answer.error is not None:
                    failed.append(answer.error)

        for cuts in (3, 4):  # the second one teaches
            async with ours(network, HD_1, keeping=keeping) as caller:
                await asyncio.gather(*(call_without_a_pause(caller, cuts) for _ in range(8)))
        assert failed == []
        assert made > 1000
        learned = orjson.loads(keeping.lessons.read_bytes())["cut_after"]
        assert learned[PROXY] == pytest.approx(5.0, abs=0.9)


async def test_the_constant_age_of_tunnels_is_learned() -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy(cut_after=2.0)
        await foreign_b(network)
        async with ours(network, HD_1) as caller:
            failures = [0] * 5  # by how many tunnels had been cut when the failure came: the last of these it was

            async def call_without_a_pause(name: str) -> None:
                number = 0
                while proxy.relay.cut < 4:
                    number += 1
                    answer = await caller.call("hd-2.echo", {}, f"{name}-{number}")
                    if answer.error is not None:
                        assert answer.error.data["outcome"] == "unknown"
                        failures[proxy.relay.cutting] += 1

            await asyncio.gather(*(call_without_a_pause(name) for name in ("a", "b", "c")))
            assert max(failures[1:3]) <= 3  # those in flight when the first two tunnels were cut
            assert [failures[0], *failures[3:]] == [0, 0, 0]


async def test_a_call_in_flight_when_the_tunnel_is_cut_has_an_unknown_outcome_and_is_not_repeated() -> None:
    entered, release, calls = threading.Event(), threading.Event(), []

    def hang(method: str, params: Object, request_id: str) -> Any:
        calls.append(request_id)
        entered.set()
        release.wait(WAIT)

    async with foreign_network() as network:
        network.run_proxy(cut_after=0.5)
        await foreign_b(network, hang)
        async with ours(network, HD_1) as caller:
            answer = await caller.call("hd-2.echo")
            release.set()
        assert entered.is_set()
    assert answer.error is not None
    assert answer.error.data["outcome"] == "unknown"
    assert len(calls) == 1


async def test_a_tunnel_that_b_ends_when_idle_costs_nothing_and_teaches_nothing() -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy()
        network.run(HD_2, tell, idle_seconds=3).hold_streams()
        assert await in_thread(network.servers[PROXY].server.wait_connected, HD_2)
        async with ours(network, HD_1) as caller:
            assert (await caller.call("hd-2.echo")).error is None
            await caller.events.wait_for(PeerChanged, lambda event: event.link == "tunnel" and not event.up)
            began = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() < began + 3.3:  # busy for longer than the idle time
                assert (await caller.call("hd-2.echo")).error is None
                await asyncio.sleep(0.15)
        assert proxy.relay.joined == 2


async def test_what_b_refuses_reaches_a() -> None:
    async with foreign_network() as network:
        network.run_proxy()
        await foreign_b(network)
        network.servers[HD_2].directory.replace(network.entries)
        await in_thread(network.servers[HD_2].streams[PROXY].close)
        assert await in_thread(_disconnected, network)
        async with ours(network, HD_1) as caller:
            answer = await caller.call("hd-2.echo")
    assert answer.error is not None
    assert (answer.error.data["stage"], answer.error.data["outcome"]) == ("relay", "not_sent")
    assert "hd-2" in answer.error.message


def _disconnected(network: Network) -> bool:
    return network.servers[PROXY].server.wait_connected(HD_2, connected=False)


async def test_a_relay_endpoint_that_is_not_listed_is_not_dialled() -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy()
        await foreign_b(network)
        network.relay_endpoints = ["127.0.0.1:1"]
        network.publish()
        async with ours(network, HD_1) as caller:
            answer = await caller.call("hd-2.echo")
        assert proxy.relay.joined == 0
    assert answer.error is not None
    assert answer.error.data["outcome"] == "not_sent"


# --- ours is B


async def test_ours_as_b_with_foreign_a_and_p() -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy()
        caller = network.run(HD_1)
        async with ours(network, HD_2, echo) as callee:
            assert await in_thread(network.servers[PROXY].server.wait_connected, HD_2)
            for number in (1, 2, 3):
                answer = await in_thread(caller.call, "hd-2.echo", {"say": number})
                assert answer.result is not None, answer
                assert (answer.result["said"], answer.result["from"]) == (number, HD_1)
                assert proxy.relay.joined == number  # a tunnel per call
            ping = await in_thread(caller.call, "hd-2._ping")
            assert ping.result is not None
            assert ping.result["version"] == "ours"
            assert [step.step for step in callee.events.of(Step)] == [4] * 4
        assert proxy.relay.rejected == []


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        ({"token": "AAAA"}, "token"),
        ({"token": 7}, "token"),
        ({"channel": "stdout"}, "stdout"),
        ({"channel": None}, "channel"),
        ({"endpoint": "127.0.0.1:1"}, "internal_endpoints"),
        ({"endpoint": ""}, "endpoint"),
        ({"client": None}, "client"),
        ({"client": {"name": HD_1, "entry": {"name": HD_1}}}, "channels"),
    ],
)
async def test_a_bad_connection_request_is_refused_by_ours(spoilt: Object, why: str) -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy()
        good = {
            "token": "A" * 43 + "=",
            "channel": "grpc_server",
            "endpoint": proxy.relay.endpoint,
            "client": {"name": HD_1, "entry": {"name": HD_1, "channels": [], "groups": None, "records": None}},
        }
        async with ours(network, HD_2):
            server = network.servers[PROXY]
            assert await in_thread(server.server.wait_connected, HD_2)
            answer = await in_thread(server.call, "hd-2._connectionRequest", {**good, **spoilt})
            assert answer.error is not None
            assert why in answer.error.message
            accepted = await in_thread(server.call, "hd-2._connectionRequest", good)
            assert accepted.error is None  # it dialled and wrote the token, which this relay does not know
            assert await in_thread(proxy.relay.wait_for, "rejected", 1)
            assert proxy.relay.rejected == ["unknown token"]


async def test_only_our_proxy_may_ask_ours_for_a_tunnel() -> None:
    async with foreign_network() as network:
        proxy = network.run_proxy()
        network.behind_proxy -= {HD_2}
        network.publish()
        client = {"name": HD_1, "entry": {"name": HD_1, "channels": []}}
        told = {"token": "A" * 43 + "=", "channel": "grpc_server", "endpoint": proxy.relay.endpoint, "client": client}
        async with ours(network, HD_2):
            answer = await in_thread(network.servers[PROXY].call, "hd-2._connectionRequest", told)
    assert answer.error is not None
    assert answer.error.code == 403


# --- ours is P


@asynccontextmanager
async def our_proxy(network: Network, **options: Any) -> AsyncIterator[tuple[Ours, PublicProxy]]:
    """Our EPS server as the proxy's operator, and our public proxy behind it."""

    async def call_network(method: str, params: Object, timeout: float) -> OurResponse:
        answer = await server.call(method, params, f"p{next(numbers)}")
        return OurResponse("", answer.result, answer.error)

    async def application(method: str, params: Object, request_id: str) -> OurResponse:
        return await proxy.handle(Call(method, params, request_id, (PROXY,)))

    numbers = iter(range(10_000))
    async with ours(network, PROXY, application) as server:
        proxy = PublicProxy(
            Operator(PROXY),
            call_network,
            internal_bind_address="127.0.0.1:0",
            internal_endpoint="127.0.0.1:0",
            emit=server.events,
            limits=RelayLimits(**options),
        )
        await proxy.start()
        try:
            network.relay_endpoints = [proxy.endpoint]
            network.publish()
            yield server, proxy
        finally:
            await proxy.close()


async def test_peers_in_use_answer_an_error_when_a_proxy_of_ours_asks_for_other_tunnels_and_go_on() -> None:
    async with foreign_network() as network, our_proxy(network) as (server, _proxy):
        network.run(HD_2, tell).hold_stream(PROXY)
        await server.wait_connected(HD_2)
        assert (await server.call("hd-2._renewConnections")).error is not None
        caller = network.run(HD_1)
        assert (await in_thread(caller.call, "hd-2.echo", {"say": 1})).result is not None


async def test_ours_as_p_with_foreign_a_and_b() -> None:
    async with foreign_network() as network, our_proxy(network) as (server, _proxy):
        network.run(HD_2, tell).hold_stream(PROXY)
        await server.wait_connected(HD_2)
        caller = network.run(HD_1)
        for number in (1, 2, 3):
            answer = await in_thread(caller.call, "hd-2.echo", {"say": number})
            assert answer.result is not None, answer
            assert (answer.result["said"], answer.result["from"]) == (number, HD_1)
        assert [step.step for step in server.events.of(Step)] == [3, 4, 6] * 3
        assert len(network.servers[HD_2].pumps) == 3


async def test_ours_as_p_takes_large_messages_through_foreign_tunnels() -> None:
    async with foreign_network() as network, our_proxy(network) as (server, _proxy):
        network.run(HD_2, tell).hold_stream(PROXY)
        await server.wait_connected(HD_2)
        caller = network.run(HD_1)
        answer = await in_thread(caller.call, "hd-2.echo", {"say": "x" * 3_000_000})
        assert answer.result is not None
        assert len(answer.result["said"]) == 3_000_000


async def test_many_tunnels_of_foreign_peers_at_once() -> None:
    async with foreign_network() as network, our_proxy(network) as (server, _proxy):
        network.run(HD_2, tell).hold_stream(PROXY)
        await server.wait_connected(HD_2)
        caller = network.run(HD_1)
        answers = await asyncio.gather(*(in_thread(caller.call, "hd-2.echo", {"say": n}) for n in range(12)))
        assert [answer.result["said"] for answer in answers if answer.result] == list(range(12))
        assert server.events.of(Refused) == []


async def test_an_error_of_foreign_b_passes_through_ours_unchanged() -> None:
    async with foreign_network() as network, our_proxy(network) as (server, _proxy):
        callee = network.run(HD_2, tell)
        callee.hold_stream(PROXY)
        await server.wait_connected(HD_2)
        caller = network.run(HD_1)
        request = Request(
            f"{PROXY}.requestConnection", {"to": HD_2, "channel": "stdout"}, f"{PROXY}.requestConnection(1)"
        )
        answer = await in_thread(caller.client.call, PROXY, request)
        assert answer.error is not None
        assert answer.error.code == 1
        assert "no channel stdout" in answer.error.message
        nobody = Request(request.method, {"to": "nobody", "channel": "grpc_server"}, f"{PROXY}.requestConnection(2)")
        answer = await in_thread(caller.client.call, PROXY, nobody)
        assert answer.error is not None
        assert "nobody" in answer.error.message


async def test_our_p_serves_our_a_and_a_foreign_b() -> None:
    async with foreign_network() as network, our_proxy(network) as (server, proxy):
        network.run(HD_2, tell).hold_stream(PROXY)
        await server.wait_connected(HD_2)
        async with ours(network, HD_1) as caller:
            for number in range(20):
                assert (await caller.call("hd-2.echo", {"say": number})).error is None
            assert proxy.tunnels == 1  # kept

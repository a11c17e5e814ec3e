"""Servers of the fork Hyper, on the C core: the same service under another name (PROTOCOL.md section 9)."""

import asyncio
from typing import Any

import pytest

from eps.core.event import Level, PeerChanged
from eps.core.names import Object
from support.foreign.messages import HYPER, SERVICE
from support.foreign.network import HD_1, HD_2, LS, PROXY, Network
from support.ours import echo, foreign_network, in_thread, ours

NAMES = [SERVICE, HYPER]


def tell(method: str, params: Object, request_id: str) -> Any:
    return {"said": params.get("say"), "from": params["_client"]["name"]}


def befriend(network: Network) -> None:
    """Let the proxy's operator call ``echo`` on hd-1 and hd-2, and be dialled by them."""
    network.extra_groups[PROXY] = ["health-departments"]
    network.publish()


@pytest.mark.parametrize("name", NAMES)
async def test_ours_calls_it_and_runs_nothing_twice(name: str) -> None:
    async with foreign_network() as network:
        callee = network.run(LS, tell, grpc_service=name)
        async with ours(network, HD_1) as caller:
            first = [caller.call("ls-1.lookup", {"say": n}, f"c{n}") for n in range(20)]
            answers = list(await asyncio.gather(*first))
            answers += [await caller.call("ls-1.lookup", {"say": n}, f"c{n}") for n in range(20, 30)]
            assert [answer.result and answer.result["said"] for answer in answers] == list(range(30))
            assert sorted(request.params["say"] for request in callee.server.calls) == list(range(30))
            assert len(callee.server.peers) == 1


@pytest.mark.parametrize("name", NAMES)
async def test_it_calls_ours(name: str) -> None:
    async with foreign_network() as network:
        caller = network.run(HD_1, tell, grpc_service=name)
        network.behind_proxy.clear()
        async with ours(network, HD_2, echo):
            answer = await in_thread(caller.call, "hd-2.echo", {"say": "this"})
            assert answer.result["said"] == "this"


@pytest.mark.parametrize("name", NAMES)
async def test_it_holds_a_stream_to_ours(name: str) -> None:
    async with foreign_network() as network:
        befriend(network)
        async with ours(network, PROXY) as server:
            network.run(HD_2, tell, grpc_service=name).hold_stream(PROXY)
            await server.wait_connected(HD_2)
            assert (await server.call("hd-2.echo", {"say": 7})).result == {"said": 7, "from": PROXY}


@pytest.mark.parametrize("name", NAMES)
async def test_ours_holds_a_stream_to_it(name: str) -> None:
    async with foreign_network() as network:
        befriend(network)
        server = network.run(PROXY, grpc_service=name)
        async with ours(network, HD_2, echo) as holder:
            assert await in_thread(server.server.wait_connected, HD_2)
            answer = await in_thread(server.call, "hd-2.echo", {"say": 7})
            assert answer.result["said"] == 7
            assert not [event for event in holder.events.all if event.level is Level.WARN]
            ups = [event.up for event in holder.events.of(PeerChanged) if event.link == "stream"]
            assert ups == ([True] if name == SERVICE else [True, False, True])


async def test_a_server_that_changes_its_name_is_found_again() -> None:
    async with foreign_network() as network:
        callee = network.run(LS, tell, grpc_service=HYPER)
        async with ours(network, HD_1) as caller:
            assert (await caller.call("ls-1.lookup", {"say": 1})).error is None
            callee.close()
            network.run(LS, tell, grpc_service=SERVICE)
            assert (await caller.call("ls-1.lookup", {"say": 2})).result["said"] == 2


async def test_a_server_that_knows_neither_name_has_run_nothing() -> None:
    async with foreign_network() as network:
        callee = network.run(LS, tell, grpc_service="Another")
        async with ours(network, HD_1) as caller:
            for _ in range(2):
                error = (await caller.call("ls-1.lookup")).error
                assert error is not None
                assert error.data["outcome"] == "not_sent"
                assert "has no gRPC service named EPS" in error.message
            assert callee.server.calls == []

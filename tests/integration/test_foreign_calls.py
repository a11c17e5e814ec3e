"""Direct calls between our EPS server and those on the C core (PROTOCOL.md sections 2, 3 and 9, «Calls», «gRPC»)."""

import asyncio
import threading
from typing import Any

import pytest

from eps.core.event import PeerChanged
from eps.core.message import Response as OurResponse
from eps.core.names import Object
from support.foreign.eps import ForeignEps
from support.foreign.habits import Tls
from support.foreign.messages import Request
from support.foreign.network import HD_1, LS, PROXY
from support.foreign.rpc import RpcError
from support.ours import WAIT, echo, foreign_network, in_thread, ours


def tell(method: str, params: Object, request_id: str) -> Any:
    return {"method": method, "id": request_id, "said": params.get("say"), "from": params["_client"]["name"]}


class Gate:
    """A foreign application whose calls wait until the test opens it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.ids: list[str] = []

    def __call__(self, method: str, params: Object, request_id: str) -> Any:
        self.ids.append(request_id)
        self.entered.release()
        assert self.open.wait(WAIT)
        return {"said": params.get("say")}

    async def wait_entered(self, count: int = 1) -> None:
        for _ in range(count):
            assert await in_thread(self.entered.acquire, True, WAIT)


# --- ours calls a foreign server


async def test_our_calls_share_one_connection() -> None:
    async with foreign_network() as network:
        callee = network.run(LS, tell)
        async with ours(network, HD_1) as caller:
            answers = [await caller.call("ls-1.lookup", {"say": number}) for number in range(5)]
            answers += await asyncio.gather(*(caller.call("ls-1.lookup", {"say": n}, f"c{n}") for n in range(5, 40)))
            assert [answer.result["said"] for answer in answers] == list(range(40))
            assert {answer.result["from"] for answer in answers} == {HD_1}
            assert len(callee.server.peers) == 1


@pytest.mark.parametrize(
    ("returned", "expected"),
    [({"a": [1, None, 2.5]}, {"a": [1, None, 2.5]}), ([1, 2], [1, 2]), ("text", "text"), (None, {}), (0, 0), ({}, {})],
)
async def test_results_arrive_as_they_were(returned: Any, expected: Any) -> None:
    async with foreign_network() as network:
        network.run(LS, lambda *_: returned)
        async with ours(network, HD_1) as caller:
            answer = await caller.call("ls-1.lookup")
            assert answer.error is None
            assert (answer.result if answer.result is not None else {}) == expected


async def test_a_services_error_keeps_its_code_and_data() -> None:
    def fail(*_: Any) -> Any:
        raise RpcError(-17, "no such place", ["x"])

    async with foreign_network() as network:
        network.run(LS, fail)
        async with ours(network, HD_1) as caller:
            answer = await caller.call("ls-1.lookup")
            assert answer.error is not None
            assert (answer.error.code, answer.error.message, answer.error.data) == (-17, "no such place", ["x"])


async def test_a_refusal_tells_its_outcome() -> None:
    async with foreign_network() as network:
        network.run(LS, tell)
        async with ours(network, HD_1) as caller:
            denied = await caller.call("ls-1.remove")
            assert denied.error is not None
            assert denied.error.code == 403
            assert denied.error.data["outcome"] == "failed"
            entries = [entry for entry in network.directory.entries if entry["name"] != HD_1]
            network.directory.replace(entries)  # the foreign server no longer knows us
            unknown = await caller.call("ls-1.lookup")
            assert unknown.error is not None
            assert unknown.error.code == 500


async def test_two_of_our_calls_with_one_id_both_succeed_where_ids_in_flight_are_refused() -> None:
    gate = Gate()
    async with foreign_network() as network:
        callee = network.run(LS, gate)
        async with ours(network, HD_1) as caller:
            calls = [asyncio.create_task(caller.call("ls-1.lookup", {"say": n}, "same")) for n in range(3)]
            await gate.wait_entered(3)
            gate.open.set()
            answers = await asyncio.gather(*calls)
    assert [answer.result for answer in answers] == [{"said": n} for n in range(3)]
    assert {answer.id for answer in answers} == {"ls-1.lookup(same)"}
    assert len(set(gate.ids)) == 3
    assert "ls-1.lookup(same)" in gate.ids
    assert all(request.method == "ls-1.lookup" for request in callee.server.calls)


async def test_an_id_that_another_caller_has_in_flight_is_refused_and_said_so() -> None:
    gate = Gate()
    async with foreign_network() as network:
        network.run(LS, gate)
        other = network.run("hd-2")
        async with ours(network, HD_1) as caller:
            first = asyncio.create_task(in_thread(other.call, "ls-1.lookup", {}, "same"))
            await gate.wait_entered()
            refused = await caller.call("ls-1.lookup", {}, "same")
            gate.open.set()
            assert (await first).error is None
    assert refused.error is not None
    assert "in flight" in refused.error.message


async def test_a_call_has_a_deadline_though_the_peer_sets_none() -> None:
    gate = Gate()
    async with foreign_network() as network:
        network.run(LS, gate)
        async with ours(network, HD_1, call_timeout=3.0) as caller:
            answer = await caller.call("ls-1.lookup")
            gate.open.set()
    assert answer.error is not None
    assert answer.error.data["outcome"] == "unknown"


async def test_a_foreign_certificate_that_is_not_pinned_is_refused_before_anything_is_sent() -> None:
    async with foreign_network() as network:
        alternative = network.authority.issue_tls(LS)
        tls = Tls(alternative.cert_pem, alternative.key_pem, network.authority.root_pem)
        impostor = ForeignEps(LS, network.directory, tls, service=tell)
        try:
            network.publish(**{LS: impostor.address})
            async with ours(network, HD_1) as caller:
                answer = await caller.call("ls-1.lookup")
            assert impostor.server.calls == []
        finally:
            await asyncio.to_thread(impostor.close)
    assert answer.error is not None
    assert (answer.error.data["stage"], answer.error.data["outcome"]) == ("tls", "not_sent")


async def test_another_operators_certificate_is_refused() -> None:
    async with foreign_network() as network:
        other = network.run(PROXY)
        async with ours(network, HD_1) as caller:
            network.publish(**{LS: other.address})
            answer = await caller.call("ls-1.lookup")
    assert answer.error is not None
    assert (answer.error.data["stage"], answer.error.data["outcome"]) == ("tls", "not_sent")


@pytest.mark.parametrize("size", [100_000, 3_900_000])
async def test_large_messages_pass_both_ways(size: int) -> None:
    async with foreign_network() as network:
        callee = network.run(LS, tell)
        async with ours(network, HD_1, echo) as caller:
            answer = await caller.call("ls-1.lookup", {"say": "x" * size})
            assert answer.error is None
            assert answer.result["said"] == "x" * size
            foreign = await in_thread(callee.call, "hd-1._ping", {})
            assert foreign.error is not None  # ls-1 has no right; the connection works


# --- GOAWAY


async def test_an_idle_connection_that_the_peer_ended_costs_nothing() -> None:
    async with foreign_network() as network:
        callee = network.run(LS, tell, idle_seconds=0.3)
        async with ours(network, HD_1) as caller:
            assert (await caller.call("ls-1.lookup")).error is None
            await caller.events.wait_for(PeerChanged, lambda event: event.peer == LS and not event.up)
            assert (await caller.call("ls-1.lookup")).error is None
            assert len(callee.server.peers) == 2


async def test_no_call_is_lost_to_a_goaway_that_crosses_it() -> None:
    async with foreign_network() as network:
        callee = network.run(LS, tell, idle_seconds=0.05)
        async with ours(network, HD_1) as caller:
            unknown = 0
            for number in range(60):
                answer = await caller.call("ls-1.lookup", {"say": number}, f"{number}")
                if (
                    answer.error is not None
                ):  # gRPC's C library had taken the call, and ended its connection all the same
                    assert answer.error.message == "ls-1 answered UNAVAILABLE: connection idle", answer
                    assert answer.error.data["outcome"] == "unknown", answer
                    unknown += 1
                await asyncio.sleep(0.04 + number % 10 * 0.002)  # around the idle time, so that they cross
            assert unknown < 30, "that takes a moment that is hard to meet"
            assert 60 - unknown <= len(callee.server.calls) <= 60
            assert len({call.id for call in callee.server.calls}) == len(callee.server.calls), "none ran twice"


async def test_a_graceful_goaway_lets_calls_in_flight_finish() -> None:
    gate = Gate()
    async with foreign_network() as network:
        callee = network.run(LS, gate, age_seconds=0.5)
        async with ours(network, HD_1) as caller:
            slow = asyncio.create_task(caller.call("ls-1.lookup", {"say": "slow"}, "slow"))
            await gate.wait_entered()
            while len(callee.server.peers) < 2:  # calls go out on a new connection once the old one is going away
                other = asyncio.create_task(caller.call("ls-1.lookup", {"say": "next"}, "next"))
                await gate.wait_entered()
                await asyncio.sleep(0.1)
                gate.open.set()
                assert (await other).error is None
                gate.open.clear()
            gate.open.set()
            assert (await slow).result == {"said": "slow"}


async def test_a_restarted_peer_costs_the_next_call_nothing() -> None:
    async with foreign_network() as network:
        network.run(LS, tell)
        async with ours(network, HD_1) as caller:
            assert (await caller.call("ls-1.lookup")).error is None
            await in_thread(network.servers[LS].close)
            network.run(LS, tell)
            assert (await caller.call("ls-1.lookup")).error is None


# --- a foreign client calls ours


async def test_a_foreign_client_opens_a_connection_per_call() -> None:
    async with foreign_network() as network, ours(network, LS, echo):
        caller = network.run(HD_1)
        for number in range(3):
            answer = await in_thread(caller.call, "ls-1.lookup", {"say": number})
            assert answer.result == {"method": "lookup", "id": answer.id, "said": number, "from": HD_1}
        assert caller.client.dialled == [LS] * 3


async def test_many_foreign_calls_at_once() -> None:
    async with foreign_network() as network, ours(network, LS, echo):
        caller = network.run(HD_1, connection_per_call=False)
        answers = await asyncio.gather(*(in_thread(caller.call, "ls-1.lookup", {"say": n}) for n in range(50)))
        assert [answer.result["said"] for answer in answers if answer.result] == list(range(50))


async def test_the_client_entry_is_set_anew_and_fits_what_peers_check() -> None:
    seen: list[Object] = []

    async def remember(method: str, params: Object, request_id: str) -> OurResponse:
        seen.append(params)
        return OurResponse(request_id, {})

    async with foreign_network() as network, ours(network, LS, remember):
        caller = network.run(HD_1)
        request = Request("ls-1.lookup", {"_client": {"name": "evil"}, "a": 1}, "ls-1.lookup(1)", HD_1)
        await in_thread(caller.client.call, LS, request)
    assert seen[0]["a"] == 1
    assert seen[0]["_client"]["name"] == HD_1
    assert seen[0]["_client"]["entry"]["channels"]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Request("ls-1.remove", {}, "ls-1.lookup(1)"), "repeat"),
        (Request("hd-2.echo", {}, "hd-2.echo(1)"), ""),
        (Request("ls-1.remove", {}, "ls-1.remove(1)"), "remove"),
        (Request("ls-1.lookup", {}, "ls-1"), "OPERATOR.METHOD"),
        (Request("ls-1.lookup", {}, "ls-1.lookup(1)", "hd-2"), "clientName"),
    ],
)
async def test_ours_refuses_what_it_must(request_: Request, why: str) -> None:
    async with foreign_network() as network, ours(network, LS, echo):
        caller = network.run(HD_1)
        answer = await in_thread(caller.client.call, LS, request_)
        assert answer.error is not None
        assert why in answer.error.message


async def test_a_client_whose_certificate_is_not_pinned_is_refused() -> None:
    async with foreign_network() as network, ours(network, LS, echo):
        alternative = network.authority.issue_tls(HD_1)
        tls = Tls(alternative.cert_pem, alternative.key_pem, network.authority.root_pem)
        impostor = ForeignEps(HD_1, network.directory, tls)
        try:
            answer = await in_thread(impostor.call, "ls-1.lookup")
        finally:
            await asyncio.to_thread(impostor.close)
    assert answer.error is not None
    assert "UNAVAILABLE" in answer.error.message

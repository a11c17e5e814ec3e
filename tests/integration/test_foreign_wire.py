"""What a C core peer can put on the wire that ours must live with or refuse, one call at a time (section 3)."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import grpc
from eps.core.message import Response as OurResponse
from eps.core.names import Object
from support.foreign import messages
from support.foreign.messages import Request, Response
from support.foreign.network import HD_1, HD_2, LS, PROXY, Network
from support.ours import WAIT, echo, foreign_network, in_thread, ours

MIB = 1024 * 1024


@contextmanager
def channel_of(network: Network, caller: str, callee: str) -> Iterator[grpc.Channel]:
    """A channel that stays open for several calls."""
    with network.servers[caller].dial(callee) as channel:
        yield channel


def unary(channel: grpc.Channel, path: str = messages.CALL) -> Any:
    return channel.unary_unary(path, messages.encode_request, messages.decode_response)


def lookup(number: int = 1, **params: Any) -> Request:
    return Request("ls-1.lookup", params, f"ls-1.lookup({number})")


# --- a foreign client, our server


async def test_three_hundred_calls_in_flight_on_one_connection() -> None:
    entered, release = 0, asyncio.Event()

    async def gated(method: str, params: Object, request_id: str) -> OurResponse:
        nonlocal entered
        entered += 1
        if entered == 300:
            release.set()
        await release.wait()
        return OurResponse(request_id, params["n"])

    async with foreign_network() as network, ours(network, LS, gated):
        network.run(HD_1)
        with channel_of(network, HD_1, LS) as channel:
            calls = [unary(channel).future(lookup(n, n=n), timeout=WAIT) for n in range(300)]
            answers = [await in_thread(call.result) for call in calls]
    assert [answer.result for answer in answers] == [{"_": n} for n in range(300)]


@pytest.mark.parametrize("status_of", ["too large", "compressed", "unknown path"])
async def test_a_refused_message_costs_its_own_call_and_nothing_else(status_of: str) -> None:
    async with foreign_network() as network, ours(network, LS, echo):
        network.run(HD_1)
        with channel_of(network, HD_1, LS) as channel:

            def refused() -> grpc.StatusCode:
                large = lookup(say="x" * (5 * MIB))
                options: dict[str, Any] = {"timeout": WAIT}
                call, request = unary(channel), lookup()
                if status_of == "too large":
                    request = large
                elif status_of == "compressed":
                    request, options["compression"] = lookup(say="x" * MIB), grpc.Compression.Gzip
                else:
                    call = unary(channel, "/EPS/Nothing")
                with pytest.raises(grpc.RpcError) as caught:
                    call(request, **options)
                code: grpc.StatusCode = caught.value.code()
                return code

            code = await in_thread(refused)
            other = await in_thread(lambda: unary(channel)(lookup(2, say="fine"), timeout=WAIT))
    assert other.result["said"] == "fine"
    assert code is (grpc.StatusCode.RESOURCE_EXHAUSTED if status_of == "too large" else grpc.StatusCode.UNIMPLEMENTED)


async def test_a_cancelled_call_leaves_the_connection_as_it_was() -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(method: str, params: Object, request_id: str) -> OurResponse:
        if params.get("hang"):
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        return OurResponse(request_id, "done")

    async with foreign_network() as network, ours(network, LS, hang):
        network.run(HD_1)
        with channel_of(network, HD_1, LS) as channel:
            call = unary(channel).future(lookup(1, hang=True))
            await asyncio.wait_for(entered.wait(), WAIT)
            call.cancel()
            await asyncio.wait_for(cancelled.wait(), WAIT)
            answer = await in_thread(lambda: unary(channel)(lookup(1), timeout=WAIT))
    assert answer.result == {"_": "done"}


async def test_a_result_over_the_limit_is_an_error_that_names_the_size() -> None:
    async def large(method: str, params: Object, request_id: str) -> OurResponse:
        return OurResponse(request_id, "x" * (5 * MIB))

    async with foreign_network() as network, ours(network, LS, large):
        caller = network.run(HD_1)
        answer = await in_thread(caller.client.call, LS, lookup())
    assert answer.error is not None
    assert "4 MiB" in answer.error.message


async def test_a_client_that_half_closes_its_stream_does_not_get_status_ok() -> None:
    async with foreign_network() as network, ours(network, PROXY):
        network.run(HD_2)
        with channel_of(network, HD_2, PROXY) as channel:
            stream = channel.stream_stream(messages.SERVER_CALL, messages.encode_response, messages.decode_request)
            call = stream(iter([Response("1", {"name": HD_2})]))
            assert await in_thread(call.code) is not grpc.StatusCode.OK


# --- our client, a foreign server


async def test_a_call_over_the_limit_is_refused_before_it_is_sent() -> None:
    async with foreign_network() as network:
        callee = network.run(LS, lambda *_: {})
        async with ours(network, HD_1) as caller:
            answer = await caller.call("ls-1.lookup", {"say": "x" * (5 * MIB)})
            assert (await caller.call("ls-1.lookup")).error is None
        assert len(callee.server.calls) == 1
    assert answer.error is not None
    assert "4 MiB" in answer.error.message
    assert answer.error.data["outcome"] == "not_sent"


async def test_a_foreign_result_over_the_limit_is_refused_and_the_connection_kept() -> None:
    async with foreign_network() as network:
        callee = network.run(LS, lambda method, params, request_id: "x" * params.get("size", 1))
        async with ours(network, HD_1) as caller:
            answer = await caller.call("ls-1.lookup", {"size": 5 * MIB})
            assert (await caller.call("ls-1.lookup")).result == "x"
            assert len(callee.server.peers) == 1
    assert answer.error is not None
    assert "4 MiB" in answer.error.message


async def test_large_answers_over_a_stream_to_a_foreign_server_keep_its_order() -> None:
    async def sized(method: str, params: Object, request_id: str) -> OurResponse:
        return OurResponse(request_id, "x" * params["size"])

    async with foreign_network() as network:
        network.extra_groups[PROXY] = ["health-departments"]
        server = network.run(PROXY)
        async with ours(network, HD_2, sized):
            assert await in_thread(server.server.wait_connected, HD_2)
            for size in (3 * MIB, 5 * MIB, 1):
                answer = await in_thread(server.call, "hd-2.echo", {"size": size})
                if size < 4 * MIB:
                    assert answer.result == {"_": "x" * size}
                else:
                    assert answer.error is not None
                    assert "4 MiB" in answer.error.message
            assert all(request.id == answer.id for request, answer in server.server.answers)


@pytest.mark.parametrize("request_id", ["hd-2", "hd-2.other(1)", "hd-1.echo(1)", ""])
async def test_a_bad_request_down_a_stream_gets_one_answer_under_its_own_id(request_id: str) -> None:
    async with foreign_network() as network:
        network.extra_groups[PROXY] = ["health-departments"]
        server = network.run(PROXY)
        async with ours(network, HD_2, echo):
            assert await in_thread(server.server.wait_connected, HD_2)
            bad = Request("hd-2.echo", {}, request_id, PROXY)
            answer = await in_thread(server.server.send, HD_2, bad)
            assert answer.error is not None
            assert answer.id == request_id
            good = await in_thread(server.call, "hd-2.echo", {"say": "fine"})
            assert good.result is not None
            assert good.result["said"] == "fine"


async def test_an_id_whose_call_timed_out_here_may_still_be_in_flight_there() -> None:
    release = threading.Event()

    def hang(method: str, params: Object, request_id: str) -> Any:
        return {} if params.get("quick") else {"released": release.wait(WAIT)}

    async with foreign_network() as network:
        network.run(LS, hang)
        async with ours(network, HD_1, call_timeout=3.0) as caller:
            lost = await caller.call("ls-1.lookup", {}, "1")
            again = await caller.call("ls-1.lookup", {"quick": True}, "1")
            release.set()
    assert lost.error is not None
    assert lost.error.data["outcome"] == "unknown"
    assert again.error is None
    assert again.id == "ls-1.lookup(1)"

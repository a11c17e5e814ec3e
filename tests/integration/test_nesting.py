"""How deep params and results may be, between servers of ours and with others, each way there is; the sign of zeros."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest

import grpc
from eps.channels.jsonrpc_client import JsonRpcClientChannel
from eps.core.limits import MAX_NESTING
from eps.core.message import Response
from eps.core.names import Object
from eps.core.overload import Fixed
from eps.grpc import eps_pb2 as pb
from eps.jsonrpc.client import JsonRpcClient
from support.foreign import messages
from support.foreign.network import LS
from support.foreign.network import Network as ForeignNetwork
from support.grpc_rig import nested, written_by_hand
from support.network import HD_1, HD_2, Network
from support.ours import foreign_network, in_thread, ours

NINETY = ["o" * 90, "o" + "l" * 90, "ol" * 45]
"""Objects, lists in one object, and both in turns."""

AS_DEEP_AS_THE_C_CORE_READS = ["o" * 31, "o" + "l" * 47]
"""Its own limit is 100 messages inside each other."""


# Ours to ours


@pytest.fixture(params=["direct", "tunnel"])
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """Two operators of ours: B dialled, or behind a proxy, to which it holds a stream."""
    async with Network(behind_proxy=() if request.param == "direct" else (HD_1, HD_2)) as made:
        await made.node(HD_1)
        await made.node(HD_2)
        if request.param == "tunnel":
            await made.proxy()
        await made.ready()
        yield made


async def test_a_negative_zero_keeps_its_sign_both_ways(network: Network) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    b.application.answer = lambda request: {"v": [-0.0, 0, request.params["v"]]}
    answer = await a.call("hd-2.echo", {"v": -0.0})
    assert repr(answer.result) == "{'v': [-0.0, 0, -0.0]}"


@pytest.mark.parametrize("kinds", [*NINETY, "o" * MAX_NESTING, "l" * 90, "l" * MAX_NESTING])
async def test_results_and_params_between_ours(network: Network, kinds: str) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    value = nested(kinds)
    b.application.answer = lambda request: value
    params = value if kinds.startswith("o") else {}
    answer = await a.call("hd-2.echo", params)
    assert answer.error is None
    assert answer.result == value
    (asked,) = b.application.requests
    assert {key: item for key, item in asked.params.items() if key != "_client"} == params
    pinged = await a.call("hd-2._ping", nested("o" * 90))
    assert {**pinged.result["params"], "_client": None} == {**nested("o" * 90), "_client": None}


@pytest.mark.parametrize(("kinds", "place"), [("o" * 130, "result.a.a"), ("l" * 129, "result[0][0]")])
async def test_a_result_too_deep_was_executed_and_is_told_with_its_place(
    network: Network, kinds: str, place: str
) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    b.application.answer = lambda request: nested(kinds)
    error = (await a.call("hd-2.echo")).error
    assert error is not None and len(b.application.requests) == 1
    assert (error.code, error.data["outcome"], error.data["side"]) == (500, "executed", "peer")
    assert error.message.startswith(
        f"hd-2 reports: the call was executed, but its answer can't be passed on: too deep at {place}"
    )


# Over JSON-RPC, from an application of A's to one of B's


class Application:
    """Answers every call with ``answer``, as JSON text of its own.

    Attributes:
        seen: the params of all calls.
    """

    def __init__(self) -> None:
        self.answer: Any = {}
        self.seen: list[Object] = []

    async def __call__(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        asked = await request.json()
        self.seen.append(asked["params"])
        return aiohttp.web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": self.answer})


@asynccontextmanager
async def application() -> AsyncIterator[tuple[Application, str]]:
    """One that runs, and its endpoint."""
    behind = Application()
    runner = aiohttp.web.ServerRunner(aiohttp.web.Server(behind))
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield behind, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("kinds", [*NINETY, "l" * 90, "o" * MAX_NESTING])
async def test_an_application_behind_json_rpc(network: Network, kinds: str) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    async with application() as (behind, endpoint):
        channel = JsonRpcClientChannel(HD_2, JsonRpcClient(endpoint, tls=None), Fixed(8), b.events)
        b.application.deliver = channel.deliver  # type: ignore[method-assign]
        behind.answer = nested(kinds)
        params = nested(kinds) if kinds.startswith("o") else {}
        answer = await a.call("hd-2.echo", params)
        assert (answer.error, answer.result) == (None, nested(kinds))
        assert {key: item for key, item in behind.seen[0].items() if key != "_client"} == params
        await channel.close()


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 190, 250, 900])
async def test_an_applications_answer_that_is_too_deep_was_executed(network: Network, depth: int) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    async with application() as (behind, endpoint):
        channel = JsonRpcClientChannel(HD_2, JsonRpcClient(endpoint, tls=None), Fixed(8), b.events)
        b.application.deliver = channel.deliver  # type: ignore[method-assign]
        behind.answer = nested("ol" * (depth // 2) + "o" * (depth % 2))
        error = (await a.call("hd-2.echo")).error
        assert error is not None and len(behind.seen) == 1
        assert (error.data["outcome"], error.data["side"]) == ("executed", "peer")
        assert "executed the call, but its answer can't be passed on: too deep at result.a[0].a[0]" in error.message
        await channel.close()


# With others: on the C core within its own limit, beyond it with Structs that a peer writes by hand


@pytest.mark.parametrize("kinds", AS_DEEP_AS_THE_C_CORE_READS)
async def test_with_the_c_core_both_ways(kinds: str) -> None:
    value = nested(kinds)
    seen: list[Object] = []

    def answer(method: str, params: Object, request_id: str) -> Any:
        return value

    async def echo(method: str, params: Object, request_id: str) -> Response:
        seen.append({key: item for key, item in params.items() if key != "_client"})
        return Response(request_id, value)

    async with foreign_network() as network:
        network.run(LS, answer)
        async with ours(network, HD_1) as caller:
            assert (await caller.call("ls-1.lookup", value)).result == value
    async with foreign_network() as network:
        foreign = network.run(HD_1)
        async with ours(network, LS, echo):
            assert (await in_thread(foreign.call, "ls-1.lookup", value)).result == value
    assert seen == [value]


@pytest.mark.parametrize("kinds", NINETY)
async def test_a_peer_that_writes_by_hand_calls_ours(kinds: str) -> None:
    async def echo(method: str, params: Object, request_id: str) -> Response:
        return Response(request_id, {key: item for key, item in params.items() if key != "_client"})

    async with foreign_network() as network, ours(network, LS, echo):
        foreign = network.run(HD_1)
        request = pb.Request(method="ls-1.lookup", id="ls-1.lookup(1)", params=written_by_hand(kinds))
        with foreign.dial(LS) as channel:
            call = channel.unary_unary(messages.CALL).future(request.SerializeToString(), timeout=10)
            answer = pb.Response.FromString(await in_thread(call.result))
    assert not answer.HasField("error")
    assert answer.result == written_by_hand(kinds)


@contextmanager
def answering(network: ForeignNetwork, name: str, answer: Callable[[bytes], bytes]) -> Iterator[None]:
    """The C core as a server of ``name`` that leaves the messages to ``answer``."""
    pool = ThreadPoolExecutor(2)
    server = grpc.server(pool)
    call = grpc.unary_unary_rpc_method_handler(lambda request, _context: answer(request))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(messages.SERVICE, {"Call": call}),))
    tls = network.tls(name)
    credentials = grpc.ssl_server_credentials([(tls.key_pem, tls.cert_pem)], tls.root_pem, True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    network.publish(**{name: f"127.0.0.1:{port}"})
    try:
        yield
    finally:
        server.stop(0).wait()
        pool.shutdown()


@pytest.mark.parametrize("kinds", NINETY)
async def test_ours_calls_a_peer_that_writes_by_hand(kinds: str) -> None:
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        asked = pb.Request.FromString(request)
        seen.append(asked.params)
        return pb.Response(id=asked.id, result=written_by_hand(kinds)).SerializeToString()

    async with foreign_network() as network:
        with answering(network, LS, answer):
            async with ours(network, HD_1) as caller:
                assert (await caller.call("ls-1.lookup", nested(kinds))).result == nested(kinds)
    assert seen == [written_by_hand(kinds)]


async def test_a_peers_answer_that_is_too_deep_was_executed() -> None:
    def answer(request: bytes) -> bytes:
        return pb.Response(id=pb.Request.FromString(request).id, result=written_by_hand("o" * 500)).SerializeToString()

    async with foreign_network() as network:
        with answering(network, LS, answer):
            async with ours(network, HD_1) as caller:
                error = (await caller.call("ls-1.lookup")).error
    assert error is not None
    assert (error.code, error.data["outcome"]) == (500, "executed")
    assert error.message.startswith("ls-1 executed the call, but its answer can't be passed on: too deep at result.a.a")


async def test_a_peers_params_that_are_too_deep_are_refused_before_anything_runs() -> None:
    ran: list[str] = []

    async def note(method: str, params: Object, request_id: str) -> Response:
        ran.append(method)
        return Response(request_id, {})

    async with foreign_network() as network, ours(network, LS, note):
        foreign = network.run(HD_1)
        request = pb.Request(method="ls-1.lookup", id="ls-1.lookup(1)", params=written_by_hand("o" * 500))
        with foreign.dial(LS) as channel:
            call = channel.unary_unary(messages.CALL).future(request.SerializeToString(), timeout=10)
            error = messages.decode_response(await in_thread(call.result)).error
    assert error is not None and not ran
    assert (error.code, error.data["outcome"]) == (-32600, "not_sent")
    assert error.message.startswith("too deep at params.a.a"), json.dumps(error.data)

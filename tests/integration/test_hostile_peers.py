"""Operators and proxies that do what they must not, against servers of ours on real sockets."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from eps.channels import grpc_client, grpc_server
from eps.core.event import Level, PeerChanged, Refused
from eps.core.message import Request, Response
from eps.core.names import Operator
from eps.core.warn_rate import WARN_SECONDS
from eps.errors import DeliveryError
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.grpc.struct_encoder import encode_struct
from eps.transport.dial import connect
from eps.transport.tls import PeerIdentity, client_context
from support.network import HD_1, HD_2, PROXY, Network, Node
from support.promptness import A_TURN, shortest_longest_turn

TOKEN = "A" * 43 + "="
"""32 zero bytes."""


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """Two operators behind a proxy."""
    async with Network() as made:
        await made.node(HD_1)
        await made.node(HD_2)
        await made.proxy()
        await made.ready()
        yield made


@pytest.fixture
async def direct() -> AsyncIterator[Network]:
    """Two operators that dial each other."""
    async with Network(behind_proxy=()) as made:
        await made.node(HD_1)
        await made.node(HD_2)
        yield made


@asynccontextmanager
async def dialled(network: Network, name: str = HD_1, to: str = HD_2) -> AsyncIterator[ClientConnection]:
    """A connection that a test drives in the name of ``name``."""
    files = network.certificates.tls_files(name)
    connection = await ClientConnection.open(
        await connect(network.nodes[to].address, 5),
        operator=Operator(to),
        context=client_context(files, ["h2"]),
        pins=network.certificates.pins(to),
        timeout=5,
    )
    try:
        yield connection
    finally:
        connection.abort("the test is over")
        await connection.closed


@asynccontextmanager
async def relay(behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """Something that takes connections where a relay should be; its endpoint."""

    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await behave(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


# Answers


async def test_a_result_that_cannot_travel_does_not_say_that_the_call_was_not_sent(direct: Network) -> None:
    a, b = direct.nodes[HD_1], direct.nodes[HD_2]
    b.application.answer = lambda request: {"numbers": [1] * 500_000}  # 1 MB of JSON, over 5 MB of protobuf
    error = (await a.call("hd-2.echo")).error
    assert error is not None and len(b.application.requests) == 1
    assert (error.code, error.data["outcome"], error.data["side"]) == (400, "executed", "peer")
    assert error.message.startswith(
        "hd-2 reports: the call was executed, but its answer can't be passed on: the result has 5,"
    )
    assert "4,194,304" in error.message


def nan(_response: Response, message_id: str) -> pb.Response:
    """What a gRPC server of ours never answers."""
    result = Struct()
    result["token"] = float("nan")
    return pb.Response(id=message_id, result=result.SerializeToString())


async def test_an_answer_that_json_cannot_express_was_executed(
    direct: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eps.grpc.codec.encode_response", nan)
    error = (await direct.nodes[HD_1].call("hd-2.echo")).error
    assert error is not None
    assert (error.code, error.data["outcome"], error.data["side"]) == (500, "executed", "peer")
    told = "hd-2 executed the call, but its answer can't be passed on: result holds a number that JSON doesn't know"
    assert error.message.startswith(told)


async def test_the_same_from_a_proxy_means_that_it_brought_no_tunnel(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eps.grpc.codec.encode_response", nan)
    error = (await network.nodes[HD_1].call("hd-2.echo")).error
    assert error is not None
    assert (error.code, error.data["outcome"], error.data["stage"]) == (500, "not_sent", "relay")


async def test_a_callee_that_dies_in_the_middle_has_run_the_call_once_and_the_caller_knows_that_it_may(
    network: Network,
) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    b.application.answer = lambda request: asyncio.sleep(60)
    calling = asyncio.create_task(a.call("hd-2.echo"))
    await until(lambda: b.application.requests)
    for connection in b.server.endpoint.connections:
        connection.abort("power cut")
    error = (await calling).error
    assert error is not None and error.data["outcome"] == "unknown"
    b.application.answer = lambda request: "again"
    assert (await a.call("hd-2.echo")).result == "again"
    assert len(b.application.requests) == 2


async def test_a_caller_that_gives_up_ends_the_work_at_the_callee(network: Network) -> None:
    a, b = network.nodes[HD_1], network.nodes[HD_2]
    ended = asyncio.Event()

    async def work(request: Request) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    b.application.answer = work
    calling = asyncio.create_task(a.call("hd-2.echo"))
    await until(lambda: b.application.requests)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    async with asyncio.timeout(30):
        await ended.wait()


# Names


async def test_a_name_whose_pin_is_withdrawn_is_lost_at_once_on_connections_that_have_others(direct: Network) -> None:
    """hd-1's certificate also carries ``*.hd-1.local``; here the directory knows an operator of that name."""
    second = "*.hd-1.local"
    direct.addresses[second] = "127.0.0.1:1"
    direct.pins[second] = [direct.certificates.fingerprint(HD_1)]
    direct.publish()
    request = pb.Request(method="hd-2.echo", id="hd-2.echo(1)", clientName=second)
    async with dialled(direct) as connection:
        assert not (await connection.call(request, 5)).HasField("error")
        direct.pins[second] = []
        direct.publish()
        # Before anything else has run: the directory in force decides, not what it said when the connection came up.
        answer = direct.nodes[HD_2].server.answer(connection_seen_by(direct), request)
        assert (await answer).error.code == 404
        async with asyncio.timeout(30):
            await connection.closed


def connection_seen_by(network: Network) -> PeerIdentity:
    (connection,) = network.nodes[HD_2].server.endpoint.connections
    peer: PeerIdentity = connection.peer
    return peer


@pytest.mark.parametrize("client_name", ["hd-2", PROXY, "nobody", "hd-1\0", "HD-1", "*"])
async def test_nobody_sends_in_the_name_of_another(direct: Network, client_name: str) -> None:
    async with dialled(direct) as connection:
        request = pb.Request(method="hd-2.echo", id="hd-2.echo(1)", clientName=client_name)
        assert (await connection.call(request, 5)).error.code == 404
    assert not direct.nodes[HD_2].application.requests


@pytest.mark.parametrize(
    ("method", "request_id"),
    [
        ("hd-2._ping", "hd-2.echo(1)"),
        ("hd-2.echo", "hd-2._ping(1)"),
        ("", "hd-2.echo(1)"),
        ("hd-2.echo", "hd-2.echo(1"),
        ("hd-2.echo", "hd-2.echo()"),
        ("hd-2.echo", "hd-2.echo(1)\n"),
        ("hd-2.echo", "\nhd-2.echo(1)"),
        ("hd-2.echo", "hd-2.echo(1).echo(2"),
        ("hd-2.echo", "hd-2.echo(x.y(1)"),
        ("hd-2.echo", "hd-2.echo(" + "1" * 8192 + ")"),
        ("hd-1.echo", "hd-1.echo(1)"),
        ("hd-2.echo(x.y", "hd-2.echo(x.y(1)"),
        (".echo", ".echo(1)"),
    ],
)
async def test_addresses_that_do_not_fit_reach_no_application(direct: Network, method: str, request_id: str) -> None:
    async with dialled(direct) as connection:
        answer = await connection.call(pb.Request(method=method, id=request_id), 5)
        assert answer.error.code in (1, 403, -32600)
    assert not direct.nodes[HD_2].application.requests


async def test_the_client_that_a_caller_puts_into_its_params_is_replaced(direct: Network) -> None:
    forged = {"_client": {"name": PROXY, "entry": {"name": PROXY, "groups": ["sd-admin"]}}}
    request = pb.Request(method="hd-2.echo", id="hd-2.echo(1)", params=encode_struct(forged))
    async with dialled(direct) as connection:
        await connection.call(request, 5)
    (seen,) = direct.nodes[HD_2].application.requests
    client = seen.params["_client"]
    assert (client["name"], client["entry"]["name"], client["entry"]["groups"]) == (HD_1, HD_1, ["health-departments"])


@pytest.mark.parametrize(
    "result",
    [
        encode_struct({"name": {"k": [1, 2, 3, "x"]}}),
        encode_struct({"name": "hd-1", "more": "x" * 5_000}),
        encode_struct({"_": "hd-1"}),
        b"",
        b"\xff\xff",
    ],
)
async def test_an_announcement_without_a_name_is_not_shown(direct: Network, result: bytes) -> None:
    """Of 4 MiB, a structure takes a second of everybody's time."""
    first = pb.Response(id="1", result=result)
    async with dialled(direct) as connection, connection.open_stream() as stream:
        await stream.send(first)
        assert await stream.recv() is None
    (refused,) = direct.nodes[HD_2].events.of(Refused)
    assert (refused.why, "as ''," in refused.detail) == ("stream", True)


# Proxies


async def test_a_proxy_that_joins_us_to_another_operator_is_found_out_before_anything_is_sent(network: Network) -> None:
    other = await network.node("op-3")
    network.behind_proxy = (HD_1, HD_2, "op-3")
    network.publish()
    proxy = network.nodes[PROXY]
    await proxy.connected("op-3")
    honest = proxy.application.answer
    proxy.application.answer = lambda request: honest(Request(request.address, {**request.params, "to": "op-3"}))
    error = (await network.nodes[HD_1].call("hd-2.echo", {"secret": 1})).error
    assert error is not None
    assert (error.data["stage"], error.data["outcome"]) == ("tls", "not_sent")
    assert not other.application.requests and not network.nodes[HD_2].application.requests


@pytest.mark.parametrize(
    "offer",
    [
        {},
        [],
        5,
        {"token": "A" * 44, "endpoint": "127.0.0.1:1"},
        {"token": TOKEN, "endpoint": ""},
        {"token": TOKEN, "endpoint": "169.254.169.254:80"},
        {"token": TOKEN, "endpoint": "10.0.0.1:80"},
        {"token": TOKEN, "endpoint": "[::ffff:10.0.0.1]:80"},
        {"token": TOKEN, "endpoint": "[fe80::1%lo]:80"},
        {"token": TOKEN, "endpoint": "0.0.0.0:80"},
        {"token": TOKEN, "endpoint": "127.1:80"},
        {"token": TOKEN, "endpoint": "a b:1"},
        {"token": TOKEN, "endpoint": "x" * 5000},
    ],
)
async def test_offers_that_are_none_are_refused(network: Network, offer: Any) -> None:
    network.addresses[PROXY] = network.addresses[PROXY].replace("127.0.0.1", "localhost")
    network.nodes[PROXY].application.answer = lambda request: offer
    error = (await network.nodes[HD_1].call("hd-2.echo")).error
    assert error is not None
    assert (error.code, error.data["stage"], error.data["outcome"]) == (500, "relay", "not_sent")


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(32)


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(32)
    writer.write(b"\x16\x03\x01" + b"x" * 1000)
    await reader.read()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


@pytest.mark.parametrize("behave", [cut, garbage, silence])
async def test_relays_that_lead_nowhere(
    network: Network,
    behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, proxy = network.nodes[HD_1], network.nodes[PROXY]
    honest = proxy.application.answer
    async with relay(behave) as endpoint:
        proxy.application.answer = lambda request: {"token": TOKEN, "endpoint": endpoint}
        with monkeypatch.context() as patch:
            patch.setattr(grpc_client, "CONNECT_TIMEOUT", 1.0)
            error = (await a.call("hd-2.echo")).error
    assert error is not None
    assert (error.data["stage"], error.data["outcome"]) == ("tls", "not_sent")
    proxy.application.answer = honest
    assert (await a.call("hd-2.echo")).error is None


async def test_a_proxy_that_asks_without_end_does_not_take_all_our_files(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_server, "MAX_TUNNELS_UNDER_WAY", 20)
    proxy = network.nodes[PROXY]
    client = {"name": HD_1, "entry": {"name": HD_1, "channels": []}}
    async with relay(silence) as endpoint:
        params = {"endpoint": endpoint, "client": client, "channel": "grpc_server", "token": TOKEN}
        asking = (proxy.call("hd-2._connectionRequest", params, f"f{number}") for number in range(50))
        answers: list[Response] = await asyncio.gather(*asking)
    refused = [answer.error for answer in answers if answer.error is not None]
    assert len(refused) == 30
    assert {(error.code, error.data["stage"]) for error in refused} == {(500, "relay")}
    await until(lambda: not network.nodes[HD_2].server.tunnels_under_way)
    assert (await network.nodes[HD_1].call("hd-2.echo")).error is None


async def test_closing_cuts_also_connections_that_are_being_drained(direct: Network) -> None:
    a, b = direct.nodes[HD_1], direct.nodes[HD_2]
    b.application.answer = lambda request: asyncio.sleep(60)
    calling = asyncio.create_task(a.call("hd-2.echo"))
    await until(lambda: b.application.requests)
    direct.addresses[HD_2] = direct.addresses[HD_2].replace("127.0.0.1", "localhost")
    direct.publish()
    await until(lambda: sum(event.up for event in a.events.of(PeerChanged)) == 2)  # then the first one drains
    await a.client.close()
    async with asyncio.timeout(30):
        error = (await calling).error
    assert error is not None and error.data["outcome"] == "unknown"


async def test_a_stranger_with_a_certificate_of_the_network_gets_no_word_in(direct: Network) -> None:
    direct.certificates.issued("stranger")
    with pytest.raises(DeliveryError, match=r"refused our certificate|closed the connection"):
        async with dialled(direct, "stranger"):
            pass
    await direct.nodes[HD_2].events.wait_for(Refused, lambda event: event.why == "pin")


# What a large call costs


def packed(field: bytes, item: bytes) -> bytes:
    """The bytes of the Struct {"a": [item, item, …]}, 4 MB long."""
    items = item * (4_100_000 // len(item))
    listed = b"\x32" + length(len(items)) + items
    entry = b"\x0a\x01a\x12" + length(len(listed)) + listed
    return field + length(len(entry)) + entry


def length(number: int) -> bytes:
    """As a varint."""
    return bytes([number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14 & 0x7F | 0x80, number >> 21])


COSTLY = {"objects": b"\x0a\x02\x2a\x00", "lists": b"\x0a\x02\x32\x00", "nulls": b"\x0a\x02\x08\x00"}
"""Items of a list that take most time for each byte."""


async def longest_turn_of(make: Callable[[int], Awaitable[object]]) -> float:
    longest = await shortest_longest_turn(make)
    gc.collect()
    return longest


@pytest.mark.parametrize("kind", COSTLY)
async def test_a_large_call_that_is_refused_costs_the_loop_nothing(direct: Network, kind: str) -> None:
    params = packed(b"\x0a", COSTLY[kind])
    async with dialled(direct) as connection:

        async def call(number: int) -> None:
            began = time.process_time()
            request_id = f"hd-2.forbidden({number})"
            message = pb.Request(method="hd-2.forbidden", id=request_id, clientName=HD_1, params=params)
            answer = await connection.call(message, 20)
            assert (answer.id, answer.error.code) == (request_id, 403)
            spent.append(time.process_time() - began)

        spent: list[float] = []
        assert await longest_turn_of(call) < A_TURN
        assert min(spent) < 0.15  # in all threads: 4 MB of TLS, and nothing is decoded
    assert direct.nodes[HD_2].application.requests == []


@pytest.mark.parametrize("kind", COSTLY)
async def test_a_large_call_and_its_large_answer_are_worked_on_beside_the_loop(direct: Network, kind: str) -> None:
    params = packed(b"\x0a", COSTLY[kind])
    node = direct.nodes[HD_2]
    node.application.answer = lambda request: {"a": request.params["a"]}
    async with dialled(direct) as connection:

        async def call(number: int) -> None:
            message = pb.Request(method="hd-2.echo", id=f"hd-2.echo({number})", clientName=HD_1, params=params)
            answer = await connection.call(message, 20)
            assert answer.result == params
            node.application.requests.clear()

        assert await longest_turn_of(call) < A_TURN


async def test_so_are_those_that_we_send_and_their_answers_on_both_ways(network: Network, direct: Network) -> None:
    value = {"a": [{} for _ in range(600_000)]}
    for made in (direct, network):  # network's public proxy calls down the streams that are held to it
        made.nodes[HD_2].application.answer = lambda request: {"a": request.params["a"]}
    callers = [(direct.nodes[HD_1], "hd-2.echo"), (network.nodes[HD_1], "hd-2.echo")]
    for node, method in callers:

        async def call(number: int, node: Node = node, method: str = method) -> None:
            answer = await node.call(method, value, str(number))
            assert answer.error is None and len(answer.result["a"]) == 600_000

        assert await longest_turn_of(call) < A_TURN


# What a stranger writes into the log


async def test_strangers_at_the_grpc_port_get_a_line_a_second_that_counts_them(direct: Network) -> None:
    node = direct.nodes[HD_2]
    host, _, port = node.address.rpartition(":")

    async def knock() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(OSError):
            await reader.read()
        writer.close()

    started = time.monotonic()
    for _ in range(8):
        await asyncio.gather(*(knock() for _ in range(32)))
    await asyncio.sleep(WARN_SECONDS)
    await knock()
    await until(lambda: len(node.events.of(Refused)) == 8 * 32 + 1)
    refused = node.events.of(Refused)
    told = [event for event in refused if event.level is Level.WARN]
    assert len(told) <= time.monotonic() - started + 1
    assert sum(event.left_out for event in told) + len(told) == len(refused)  # each of them is told of, or counted

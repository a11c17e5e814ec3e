"""Foreign peers on grpcio's C core, both ways: with our code at both ends, bugs on the wire would hide."""

import asyncio
import os
import queue
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # handshakes fail here on purpose

import pytest

import grpc
from eps.core.event import Refused
from eps.errors import DeliveryError, OutcomeUnknown, TlsFailed
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.grpc.server import ServerStream
from eps.grpc.struct_decoder import decode_struct
from eps.pki import Authority
from eps.transport.tls import PeerIdentity, TlsFiles, client_context
from support.grpc_rig import HD_2, Rig, echo, ping, pins, rig, server_limits, soon, struct
from support.testing import certificates, tls_files


async def in_thread(function: Callable[[], Any]) -> Any:
    return await soon(asyncio.to_thread(function), 30)


# -- their client, our server


@asynccontextmanager
async def listening(it: Rig) -> AsyncIterator[str]:
    """An address that leads to the rig's endpoint."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    raw = socket.create_server(("127.0.0.1", 0))
    raw.setblocking(False)

    async def accept() -> None:
        while True:
            accepted, _ = await loop.sock_accept(raw)
            task = asyncio.create_task(it.endpoint.accept(accepted))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    accepting = asyncio.create_task(accept())
    try:
        yield f"127.0.0.1:{raw.getsockname()[1]}"
    finally:
        accepting.cancel()
        await asyncio.gather(accepting, *tasks, return_exceptions=True)
        raw.close()


@contextmanager
def channel(address: str, name: str = "hd-1", **options: int) -> Iterator[grpc.Channel]:
    issued = certificates().issued(name)
    credentials = grpc.ssl_channel_credentials(certificates().authority.root_pem, issued.key_pem, issued.cert_pem)
    fixed: dict[str, Any] = {
        "grpc.ssl_target_name_override": "hd-2",
        "grpc.use_local_subchannel_pool": 1,
        "grpc.enable_retries": 0,
        "grpc.max_receive_message_length": 16 * 1024 * 1024,
        "grpc.max_send_message_length": 16 * 1024 * 1024,
    }
    named = {f"grpc.{key}": value for key, value in options.items()}
    with grpc.secure_channel(address, credentials, list({**fixed, **named}.items())) as made:
        yield made


def call_method(made: grpc.Channel) -> Any:
    return made.unary_unary("/EPS/Call", pb.Request.SerializeToString, pb.Response.FromString)


def stream_method(made: grpc.Channel) -> Any:
    return made.stream_stream("/EPS/ServerCall", pb.Response.SerializeToString, pb.Request.FromString)


async def test_a_foreign_client_calls() -> None:
    def work(address: str) -> list[Any]:
        with channel(address) as made:
            call = call_method(made)
            many = [call.future(ping(str(i), i=i), timeout=20) for i in range(200)]
            return [call(ping(x="y" * size), timeout=20) for size in (0, 70_000, 4_000_000)] + [
                f.result() for f in many
            ]

    async with rig() as it, listening(it) as address:
        answers = await in_thread(lambda: work(address))
        assert [len(decode_struct(answer.result)["x"]) for answer in answers[:3]] == [0, 70_000, 4_000_000]
        assert [decode_struct(answer.result)["i"] for answer in answers[3:]] == list(range(200))


async def test_a_foreign_client_is_told_of_errors() -> None:
    async def on_call(peer: PeerIdentity, request: pb.Request) -> pb.Response:
        if "slow" in decode_struct(request.params):
            await asyncio.Event().wait()
        if "great" in decode_struct(request.params):
            return pb.Response(result=struct(x="y" * 4_200_000))
        if "fail" in decode_struct(request.params):
            raise RuntimeError("secret")
        return await echo(peer, request)

    def status(call: Any, request: Any, **options: Any) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as caught:
            call(request, **options)
        return caught.value.code().name, caught.value.details()

    def work(address: str) -> None:
        with channel(address) as made:
            call = call_method(made)
            assert status(call, ping(slow=1), timeout=0.2)[0] == "DEADLINE_EXCEEDED"
            assert status(call, ping(great=1))[0] == "RESOURCE_EXHAUSTED"
            assert status(call, ping(fail=1)) == ("INTERNAL", "internal error")
            assert status(call, ping(x="y" * 4_194_304))[0] == "RESOURCE_EXHAUSTED"
            assert status(call, ping(x="y" * 10_000), compression=grpc.Compression.Gzip)[0] == "UNIMPLEMENTED"
            unknown = made.unary_unary("/EPS/Other", pb.Request.SerializeToString, pb.Response.FromString)
            assert status(unknown, ping()) == ("UNIMPLEMENTED", "unknown method /EPS/Other")
            assert call(ping()).id == "hd-2._ping(1)"  # all on one connection, which lives

    async with rig(on_call) as it, listening(it) as address:
        await in_thread(lambda: work(address))
        assert len(it.endpoint.connections) <= 1


async def test_a_foreign_client_holds_a_stream() -> None:
    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        assert dict(stream.client_metadata) == {}
        first = await stream.recv()
        assert first is not None
        for number in range(100):
            await stream.send(pb.Request(id=str(number)))
            answer = await stream.recv()
            assert answer is not None
            assert answer.id == str(number)

    def work(address: str) -> tuple[dict[str, str], int, str, str]:
        with channel(address) as made:
            answers: queue.Queue[pb.Response | None] = queue.Queue()
            answers.put(pb.Response(id="1", result=struct(name="hd-1")))
            running = stream_method(made)(iter(answers.get, None))
            metadata = dict(running.initial_metadata())
            count = 0
            try:
                for request in running:
                    count += 1
                    answers.put(pb.Response(id=request.id))
            except grpc.RpcError:  # how every ServerCall ends
                answers.put(None)
            return metadata, count, running.code().name, running.details()

    async with rig(on_stream=on_stream) as it, listening(it) as address:
        metadata, count, status, text = await in_thread(lambda: work(address))
        assert metadata["eps-streams"] == "unordered"
        assert count == 100
        assert (status, text) == ("UNAVAILABLE", "ended by the server")


async def test_a_foreign_client_cancels_its_stream() -> None:
    reasons: list[str] = []

    async def on_stream(_peer: PeerIdentity, stream: ServerStream) -> None:
        while await stream.recv() is not None:
            pass
        reasons.append(stream.reason)

    def work(address: str) -> None:
        with channel(address) as made:
            running = stream_method(made)(iter([pb.Response(id="1")]))
            running.initial_metadata()
            running.cancel()
            closing = stream_method(made)(iter([]))  # half-closes at once
            with pytest.raises(grpc.RpcError) as caught:
                list(closing)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    async with rig(on_stream=on_stream) as it, listening(it) as address:
        await in_thread(lambda: work(address))
        assert len(reasons) == 2


async def test_a_foreign_client_follows_our_goaway_to_a_new_connection() -> None:
    """A call that it starts as our first GOAWAY comes never leaves it: its own retries, on by default, carry it."""

    def work(address: str) -> None:
        with channel(address, enable_retries=1) as made:
            call = call_method(made)
            for number in range(300):
                assert call(ping(str(number)), timeout=10).id

    async with rig(limits=server_limits(max_age=0.05)) as it, listening(it) as address:
        await in_thread(lambda: work(address))


async def test_a_foreign_client_keeps_its_connection_alive() -> None:
    def work(address: str) -> None:
        with channel(
            address, keepalive_time_ms=10, keepalive_permit_without_calls=1, **{"http2.max_pings_without_data": 0}
        ) as made:
            call = call_method(made)
            for _ in range(20):
                assert call(ping(x="y" * 100_000), timeout=10).id  # with it come bandwidth estimates: more pings

    async with rig() as it, listening(it) as address:
        await in_thread(lambda: work(address))
        assert not it.events.of(Refused)


async def test_a_foreign_client_without_a_pin_is_refused() -> None:
    def work(address: str) -> str:
        with channel(address, "ls-1") as made, pytest.raises(grpc.RpcError) as caught:
            call_method(made)(ping(), timeout=10)
        return caught.value.code().name

    async with rig() as it, listening(it) as address:
        assert await in_thread(lambda: work(address)) == "UNAVAILABLE"
        assert it.events.of(Refused)[0].why == "pin"


# -- our client, their server


class Foreign:
    """A server on the C core; what it does with a call or a stream is up to the test."""

    def __init__(self, on_call: Any = None, on_stream: Any = None, **options: int) -> None:
        issued = certificates().issued("hd-2")
        credentials = grpc.ssl_server_credentials(
            [(issued.key_pem, issued.cert_pem)], certificates().authority.root_pem, require_client_auth=True
        )
        self._pool = ThreadPoolExecutor(8)
        named = [(f"grpc.{key}", value) for key, value in options.items()]
        self.server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0), *named])
        handlers = {
            "Call": grpc.unary_unary_rpc_method_handler(
                on_call or (lambda request, _context: pb.Response(id=request.id, result=request.params)),
                pb.Request.FromString,
                pb.Response.SerializeToString,
            ),
            "ServerCall": grpc.stream_stream_rpc_method_handler(
                on_stream or (lambda _answers, _context: iter([])), pb.Response.FromString, pb.Request.SerializeToString
            ),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("EPS", handlers),))
        self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()

    async def connect(self, name: str = "hd-1") -> ClientConnection:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setblocking(False)
        context = client_context(tls_files(name), ["h2"])
        return await ClientConnection.open(sock, operator=HD_2, context=context, pins=pins(), timeout=10)

    def close(self) -> None:
        self.server.stop(0).wait()
        self._pool.shutdown()


@asynccontextmanager
async def foreign(*handlers: Any, **options: int) -> AsyncIterator[Foreign]:
    made = Foreign(*handlers, **options)
    try:
        yield made
    finally:
        await in_thread(made.close)


async def test_we_call_a_foreign_server() -> None:
    async with foreign() as server:
        connection = await server.connect()
        sizes = (0, 70_000, 4_000_000)
        answers = [await connection.call(ping(x="y" * size), 20) for size in sizes]
        assert [len(decode_struct(answer.result)["x"]) for answer in answers] == list(sizes)
        many = await soon(asyncio.gather(*[connection.call(ping(str(i), i=i), 20) for i in range(300)]))
        assert [decode_struct(answer.result)["i"] for answer in many] == list(range(300))
        await soon(connection.drain(1))


async def test_a_foreign_servers_status_is_told_with_its_text() -> None:
    def on_call(request: pb.Request, context: grpc.ServicerContext) -> pb.Response:
        if "slow" in decode_struct(request.params):
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(20)
        context.abort(grpc.StatusCode.UNKNOWN, "a request with this id is in flight")
        raise AssertionError

    async with foreign(on_call) as server:
        connection = await server.connect()
        with pytest.raises(DeliveryError, match="hd-2 answered UNKNOWN: a request with this id is in flight"):
            await connection.call(ping(), 10)
        with pytest.raises(OutcomeUnknown):
            await connection.call(ping(slow=1), 0.2)
        assert connection.usable
        connection.abort("test")
        await soon(connection.closed)


async def test_a_foreign_server_refuses_a_certificate_of_another_authority(tmp_path: Any) -> None:
    certificate, key = Authority.create(fast=True).issue_tls("hd-1").write(tmp_path, "hd-1")
    context = client_context(TlsFiles((str(certificates().root_file),), str(certificate), str(key)), ["h2"])
    async with foreign() as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.setblocking(False)
        with pytest.raises(TlsFailed, match=r"hd-2 (refused the connection|closed the connection right after)"):
            await ClientConnection.open(sock, operator=HD_2, context=context, pins=pins(), timeout=10)


async def test_we_hold_a_stream_to_a_foreign_server() -> None:
    def on_stream(answers: Any, context: grpc.ServicerContext) -> Iterator[pb.Request]:
        metadata = dict(context.invocation_metadata())
        assert metadata["eps-streams"] == "unordered"
        assert decode_struct(next(answers).result)["name"] == "hd-1"
        for number in range(100):
            yield pb.Request(id=str(number))
            assert next(answers).id == str(number)
        context.abort(grpc.StatusCode.UNAVAILABLE, "that was all")

    async with foreign(None, on_stream) as server:
        connection = await server.connect()
        async with connection.open_stream() as stream:
            await stream.send(pb.Response(id="1", result=struct(name="hd-1")))
            count = 0
            while (request := await soon(stream.recv())) is not None:
                assert "eps-streams" not in await soon(stream.server_metadata())
                await stream.send(pb.Response(id=request.id))
                count += 1
            assert count == 100
            assert stream.reason == "hd-2 ended the stream (UNAVAILABLE: that was all)"
        assert connection.usable
        connection.abort("test")
        await soon(connection.closed)


async def test_a_foreign_servers_age_limit_lets_calls_finish() -> None:
    release = threading.Event()

    def on_call(request: pb.Request, _context: grpc.ServicerContext) -> pb.Response:
        release.wait(20)
        return pb.Response(id=request.id)

    async with foreign(on_call, max_connection_age_ms=100, max_connection_age_grace_ms=20_000) as server:
        connection = await server.connect()
        call = asyncio.create_task(connection.call(ping(), 20))
        assert "GOAWAY NO_ERROR" in await soon(asyncio.shield(connection.leaving))
        release.set()
        assert (await soon(call)).id == "hd-2._ping(1)"
        await soon(asyncio.shield(connection.closed))


async def test_a_foreign_server_that_stops_fails_calls_in_flight() -> None:
    started = threading.Event()

    def on_call(_request: pb.Request, context: grpc.ServicerContext) -> pb.Response:
        ended = threading.Event()
        context.add_callback(ended.set)
        started.set()
        ended.wait(20)
        return pb.Response()

    async with foreign(on_call) as server:
        connection = await server.connect()
        call = asyncio.create_task(connection.call(ping(), 20))
        await in_thread(lambda: started.wait(10))
        await in_thread(lambda: server.server.stop(0).wait())
        with pytest.raises(DeliveryError):
            await soon(call)
        await soon(asyncio.shield(connection.closed))

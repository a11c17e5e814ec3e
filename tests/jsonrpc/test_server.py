"""jsonrpc/server beyond the recorded exchanges: who may call, limits, deadlines, trouble, shutdown."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import uvloop
from aiohttp.web_protocol import RequestPayloadError

from eps.core.event import Notice, Refused
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.errors import Busy, NotFound, NotJson, Side, StartError
from eps.jsonrpc import request_body, server_connection
from eps.jsonrpc import server as module
from eps.jsonrpc.cors import Cors
from eps.jsonrpc.requests import Requests
from eps.jsonrpc.server import JsonRpcServer, ServerLimits, Serving
from eps.transport import large_values
from eps.transport.tls import TlsFiles, client_context
from support.testing import Events, jsonrpc_server, tls_files

SHORT = ServerLimits(max_body=100)


async def echo(call: Call) -> Response:
    return Response(call.id, {"method": call.method, "params": call.params, "names": list(call.client_names)})


class Connection:
    """One raw HTTP connection, as a client that is not ours would have."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, head: str, body: bytes = b"") -> None:
        self.writer.write(head.replace("\n", "\r\n").encode() + body)

    def post(self, body: bytes, path: str = "/jsonrpc", extra: str = "") -> None:
        self.send(
            f"POST {path} HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: {len(body)}\n{extra}\n",
            body,
        )

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and the JSON body of the next answer."""
        async with asyncio.timeout(30):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers.get("Content-Length", "0")))
        return int(status.split()[1]), headers, json.loads(body) if body else None

    async def ended(self) -> bool:
        async with asyncio.timeout(30):
            with suppress(ConnectionError):
                return await self.reader.read() == b""
            return True


@asynccontextmanager
async def connected(server: JsonRpcServer, tls: TlsFiles | None = None) -> AsyncIterator[Connection]:
    context = client_context(tls) if tls else None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, server_hostname="hd-1" if tls else None
    )
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def request(**changes: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": "a.b", "params": {}, "id": "1", **changes}).encode()


# --- who asks for nothing ---


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("begun", [0, 40], ids=["nothing", "half-head"])
async def test_who_asks_for_nothing_gives_way_to_new_ones(begun: int, tls: bool) -> None:
    body = request()
    head = f"POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: {len(body)}\n\n"
    events = Events()
    files = tls_files("hd-1") if tls else None
    own = tls_files("app") if tls else None
    async with (
        jsonrpc_server(echo, tls=files, limits=ServerLimits(max_arriving=2), emit=events) as server,
        connected(server, own) as busy,
    ):
        busy.post(request())
        assert (await busy.answer())[0] == 200
        async with connected(server, own) as first, connected(server, own) as second:
            for each in (first, second):
                each.send(head[:begun])
            await asyncio.sleep(0.05)
            async with connected(server, own) as third:
                third.post(request())
                assert (await third.answer())[0] == 200
            assert await first.ended()
            refused = await events.wait_for(Refused)
            assert (refused.why, refused.source) == ("silent", "127.0.0.1")
            second.send(head[begun:], body)
            assert (await second.answer())[0] == 200
        busy.post(request())
        assert (await busy.answer())[0] == 200


# --- who may call ---


async def test_the_names_of_the_clients_certificate_are_known() -> None:
    async with jsonrpc_server(echo, tls=tls_files("hd-1")) as server, connected(server, tls_files("app")) as client:
        for _ in range(2):  # on one connection
            client.post(request())
            status, _, answer = await client.answer()
            assert status == 200
            assert answer["result"]["names"] == ["app", "*.app.local"]


async def test_without_tls_there_are_no_names() -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:
        client.post(request())
        assert (await client.answer())[2]["result"]["names"] == []


@pytest.mark.parametrize(
    ("allowed", "status"), [(None, 200), (("app",), 200), (("x", "*.app.local"), 200), (("x",), 400)]
)
async def test_only_allowed_names_may_call(allowed: tuple[str, ...] | None, status: int) -> None:
    files = tls_files("hd-1", allowed_names=allowed)
    async with jsonrpc_server(echo, tls=files) as server, connected(server, tls_files("app")) as client:
        client.post(request())
        got, _, answer = await client.answer()
        assert got == status
        if status == 400:
            assert answer["id"] is None, "the body was not read"
            assert answer["error"]["code"] == 403
            assert (
                "certificates of x may call here; your certificate carries app, *.app.local"
                in answer["error"]["message"]
            )
            assert answer["error"]["data"]["stage"] == "permission"
            assert answer["error"]["data"]["outcome"] == "not_sent"
            assert "tls.allowed_names" in answer["error"]["data"]["hint"]


async def test_who_may_not_call_is_refused_before_the_body_is_read() -> None:
    """The request's id was not read either: the refusal has id null (PROTOCOL.md section 5)."""
    files = tls_files("hd-1", allowed_names=("x",))
    async with jsonrpc_server(echo, tls=files) as server, connected(server, tls_files("app")) as client:
        client.send(
            "POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 4000000\n\n", b"{"
        )
        status, _, answer = await client.answer()
    assert (status, answer["id"], answer["error"]["code"]) == (400, None, 403)


async def test_allowed_names_refuse_a_client_without_a_certificate() -> None:
    files = tls_files("hd-1", allowed_names=("app",), verify_client=False, request_client_cert=True)
    nobody = replace(tls_files("app"), certificate_file="", key_file="")
    async with jsonrpc_server(echo, tls=files) as server, connected(server, nobody) as client:
        client.post(request())
        answer = (await client.answer())[2]
        assert answer["error"]["code"] == 403
        assert "you show no certificate" in answer["error"]["message"]


async def test_a_certificate_that_can_not_be_read_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(der: bytes) -> list[str]:
        raise server_connection.TlsFailed("no")

    monkeypatch.setattr(server_connection, "certificate_names", unreadable)
    async with jsonrpc_server(echo, tls=tls_files("hd-1")) as server, connected(server, tls_files("app")) as client:
        client.post(request())
        assert (await client.answer())[2]["result"]["names"] == []


# --- HTTP ---


async def test_connections_are_kept_and_nothing_of_the_library_shows() -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:
        for number in range(3):
            client.post(request(id=number))
            status, headers, answer = await client.answer()
            assert (status, answer["id"]) == (200, number)
            assert headers["Keep-Alive"] == "timeout=75"
            assert "Server" not in headers


async def test_only_other_certificates_end_a_connection_when_settings_are_read_again() -> None:
    first = Serving(mark=b"1")
    async with jsonrpc_server(echo, mark=b"1") as server, connected(server) as client:
        for serving, is_last in ((first, False), (replace(first, requests=Requests("/rpc")), False), (Serving(), True)):
            server.renew(None, serving)
            path = serving.requests.path
            client.post(request(), path=path)
            status, headers, _ = await client.answer()
            assert (status, headers.get("Connection") == "close") == (200, is_last), serving


async def test_pipelined_calls_are_answered_in_order() -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:
        for number in range(5):
            client.post(request(id=number))
        assert [(await client.answer())[2]["id"] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_connection_close_is_obeyed() -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:
        client.post(request(), extra="Connection: close\n")
        assert "Keep-Alive" not in (await client.answer())[1]
        assert await client.ended()


async def test_the_path_is_a_setting() -> None:
    async with jsonrpc_server(echo, requests=Requests("rpc")) as server, connected(server) as client:
        client.post(request(), path="/rpc?x=1")
        assert (await client.answer())[0] == 200
        client.post(request())
        assert (await client.answer())[2] == {"message": "not found"}


@pytest.mark.parametrize(
    "garbage", ["\x16\x03\x01 nonsense\n\n", "POST /jsonrpc HTTP/9.9\nA\n\n", "GET / HTTP/1.1\n" + "x" * 9000]
)
async def test_broken_http_gets_an_error_of_ours(garbage: str, capfd: pytest.CaptureFixture[str]) -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:
        client.send(garbage)
        status, headers, answer = await client.answer()
        assert (status, answer["error"]["code"]) == (400, -32700)
        assert "Server" not in headers
        assert await client.ended()
    assert capfd.readouterr() == ("", "")  # no traceback anywhere


async def test_expect_100_continue() -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:
        body = request()
        client.send(
            f"POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: {len(body)}\n"
            "Expect: 100-continue\n\n"
        )
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.writer.write(body)
        assert (await client.answer())[0] == 200


async def test_chunked_bodies_in_many_pieces() -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:
        client.send("POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n")
        for byte in request():
            client.writer.write(b"1\r\n" + bytes([byte]) + b"\r\n")
            await client.writer.drain()
        client.writer.write(b"0\r\n\r\n")
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("begun", [False, True])
async def test_broken_chunks_are_an_error_not_a_traceback(
    begun: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """aiohttp doesn't tell a call that waits for its body of a broken chunk; then the deadline ends it."""
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.05)
    events = Events()
    async with (
        jsonrpc_server(echo, emit=events, limits=SHORT) as server,
        connected(server) as client,
    ):
        client.send("POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n")
        if begun:
            async with asyncio.timeout(30):
                while not server.in_progress:
                    await asyncio.sleep(0)
        client.writer.write(b"xyz\r\n")
        status, _, answer = await client.answer()
        assert status == 400
        assert answer["error"]["code"] in (-32700, -32600)
    assert capfd.readouterr() == ("", "")
    assert not events.of(Notice)


async def test_a_body_that_can_not_be_decoded_is_not_json() -> None:
    """aiohttp's parser in Python, which takes over where its extension module is missing, reports it so."""

    class Broken:
        content_length = None
        headers: ClassVar[dict[str, str]] = {}
        content: "Broken"

        def is_eof(self) -> bool:
            return False

        async def readany(self) -> bytes:
            raise RequestPayloadError("bad chunk")

    request = Broken()
    request.content = request
    with pytest.raises(NotJson, match="bad chunk"):
        await request_body.RequestBody(request, 100, lambda size: None).begin(100)  # type: ignore[arg-type]  # stands for one


async def test_a_compressed_body_is_not_json() -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:
        client.post(b"\x1f\x8b\x08\x00 bomb", extra="Content-Encoding: gzip\n")
        assert (await client.answer())[2]["error"]["code"] == -32700


# --- limits ---


@pytest.mark.parametrize("declared", [True, False])
async def test_bodies_over_the_limit_are_refused(declared: bool) -> None:
    async with jsonrpc_server(echo, limits=ServerLimits(max_body=1000)) as server, connected(server) as client:
        if declared:
            client.send("POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 5000000\n\n")
        else:
            client.send(
                "POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n"
            )
            client.writer.write(b"7d0\r\n" + b" " * 2000 + b"\r\n")
        status, _, answer = await client.answer()
        assert (status, answer["id"], answer["error"]["code"]) == (400, None, 400)
        assert "the limit is 1000" in answer["error"]["message"]


async def test_a_body_of_exactly_the_limit_passes() -> None:
    body = request()
    async with jsonrpc_server(echo, limits=ServerLimits(max_body=len(body))) as server, connected(server) as client:
        client.post(body)
        assert (await client.answer())[0] == 200


async def test_a_body_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.05)
    async with jsonrpc_server(echo, limits=SHORT) as server, connected(server) as client:
        client.send("POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 99\n\n{")
        status, _, answer = await client.answer()
        assert (status, answer["error"]["code"]) == (400, -32600)
        assert "did not arrive" in answer["error"]["message"]


async def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(module, "BODY_BYTES_PER_SECOND", 10**12)
    answered = asyncio.Event()

    async def huge(call: Call) -> Response:
        answered.set()
        return Response(call.id, "x" * 20_000_000)

    async with jsonrpc_server(huge) as server, connected(server) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a ReadTransport
        client.post(request())
        await answered.wait()
        async with asyncio.timeout(30):
            while server.in_progress:
                await asyncio.sleep(0.001)


async def test_large_answers_come_whole_and_the_connection_stays() -> None:
    async def large(call: Call) -> Response:
        return Response(call.id, "x" * 1_000_000)

    async with jsonrpc_server(large, tls=tls_files("hd-1")) as server, connected(server, tls_files("app")) as client:
        for _ in range(2):
            client.post(request())
            status, headers, answer = await client.answer()
            assert (status, len(answer["result"])) == (200, 1_000_000)
            assert headers["Content-Type"] == "application/json; charset=utf-8"
            assert headers["Keep-Alive"] == "timeout=75"
            assert "Server" not in headers


# --- handlers ---


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (NotFound("no such thing", hint="look"), 404, "no such thing"),
        (ValueError("secret"), -32603, "inside this server"),
    ],
)
async def test_what_a_handler_raises_is_an_answer(error: Exception, code: int, words: str) -> None:
    async def fail(call: Call) -> Response:
        raise error

    events = Events()
    async with jsonrpc_server(fail, emit=events) as server, connected(server) as client:
        client.post(request())
        status, _, answer = await client.answer()
    assert (status, answer["id"], answer["error"]["code"]) == (400, "1", code)
    assert words in answer["error"]["message"]
    assert "secret" not in json.dumps(answer)
    assert set(answer["error"]["data"]) == {"stage", "side", "outcome", "reason", "hint"}
    assert [notice.text for notice in events.of(Notice)] == (
        [] if code == 404 else ["test: an error inside this server: ValueError: secret"]
    )


async def test_an_error_that_a_handler_answers_passes_unchanged() -> None:
    async def refuse(call: Call) -> Response:
        return Response("another id", error=Error(4711, "no", ["x"]))

    async with jsonrpc_server(refuse) as server, connected(server) as client:
        client.post(request(id=5))
        status, _, answer = await client.answer()
    assert (status, answer) == (
        400,
        {"jsonrpc": "2.0", "error": {"code": 4711, "message": "no", "data": ["x"]}, "id": 5},
    )


async def test_a_result_that_is_no_json_is_an_error() -> None:
    async def odd(call: Call) -> Response:
        return Response(call.id, {"x": object()})

    async with jsonrpc_server(odd) as server, connected(server) as client:
        client.post(request())
        status, _, answer = await client.answer()
    assert (status, answer["error"]["code"]) == (400, -32603)


async def test_trouble_outside_the_handler_is_an_answer_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    async with jsonrpc_server(echo) as server, connected(server) as client:

        async def fail(request: Any) -> Any:
            raise ValueError("secret")

        monkeypatch.setattr(server, "_answer", fail)
        client.post(request())
        _, _, answer = await client.answer()
        assert answer["error"]["code"] == -32603
        assert "secret" not in json.dumps(answer)


class Slow:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.ended = asyncio.Event()
        self.how = ""

    async def __call__(self, call: Call) -> Response:
        self.begun.set()
        try:
            await self.go.wait()
            self.how = "finished"
        except asyncio.CancelledError:
            self.how = "cancelled"
            raise
        finally:
            self.ended.set()
        return Response(call.id, "done")


async def test_calls_beyond_the_limit_are_busy_and_never_begin() -> None:
    slow, events = Slow(), Events()
    async with (
        jsonrpc_server(slow, limits=ServerLimits(max_calls=1), emit=events) as server,
        connected(server) as first,
        connected(server) as second,
    ):
        first.post(request())
        await slow.begun.wait()
        second.post(request(id="2"))
        status, _, answer = await second.answer()
        assert status == 400 and answer["id"] == "2"
        assert answer["error"]["code"] == 500 and "is at 1 calls already" in answer["error"]["message"]
        data = answer["error"]["data"]
        assert (data["reason"], data["outcome"], data["retry_after"]) == ("busy", "not_sent", 1)
        (refused,) = events.of(Refused)
        assert (refused.listener, refused.why) == ("test", "busy")
        slow.go.set()
        assert (await first.answer())[2]["result"] == "done"
        second.post(request(id="3"))
        assert (await second.answer())[2]["result"] == "done"


async def test_requests_of_too_many_bytes_are_busy_while_others_are_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CALL_BYTES", 1_000)
    slow = Slow()
    long = request(params={"text": "x" * 1_500})
    async with (
        jsonrpc_server(slow, limits=ServerLimits(max_body=2_000)) as server,
        connected(server) as first,
        connected(server) as second,
        connected(server) as third,
    ):
        first.post(long)
        await slow.begun.wait()
        second.post(long)
        answer = (await second.answer())[2]
        assert answer["error"]["data"]["reason"] == "busy" and "calls of 1,5" in answer["error"]["message"]
        slow.go.set()
        assert (await first.answer())[2]["result"] == "done"
        third.post(long)
        assert (await third.answer())[2]["result"] == "done", "what is answered is not in hand any more"


async def call_and_leave(server: JsonRpcServer, come: asyncio.Event) -> None:
    """A client that calls, and goes when its call has come so far; the server has noticed that."""
    async with connected(server) as client:
        client.post(request())
        await come.wait()
        (connection,) = server.connections
    async with asyncio.timeout(30):
        while connection.transport is not None:
            await asyncio.sleep(0.01)


async def test_a_call_whose_client_has_gone_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    parsing, go = asyncio.Event(), asyncio.Event()
    begun: list[Call] = []

    async def handler(call: Call) -> Response:
        begun.append(call)
        return Response(call.id, "done")

    async def slowly(work: Any) -> Any:
        parsing.set()
        await go.wait()
        return work()

    monkeypatch.setattr(module, "LARGE_BYTES", 10)
    monkeypatch.setattr(large_values, "aside", slowly)
    async with jsonrpc_server(handler) as server:
        await call_and_leave(server, parsing)
        go.set()
        async with connected(server) as client:
            client.post(request(id="2"))
            assert (await client.answer())[2]["result"] == "done"
    assert [call.id for call in begun] == ["2"]


async def test_a_call_knows_whether_its_client_is_still_there() -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    wanted: list[bool] = []

    async def handler(call: Call) -> Response:
        wanted.append(call.asker.waits())
        begun.set()
        await go.wait()
        wanted.append(call.asker.waits())
        return Response(call.id, "done")

    async with jsonrpc_server(handler) as server:
        await call_and_leave(server, begun)
        go.set()
        async with asyncio.timeout(30):
            while len(wanted) < 2:
                await asyncio.sleep(0.01)
    assert wanted == [True, False]


async def test_a_client_that_goes_away_does_not_stop_its_call() -> None:
    slow = Slow()
    async with jsonrpc_server(slow) as server:
        async with connected(server) as client:
            client.post(request())
            await slow.begun.wait()
        assert not slow.ended.is_set()
        slow.go.set()
        await slow.ended.wait()
    assert slow.how == "finished"


async def test_close_lets_calls_in_flight_finish() -> None:
    slow = Slow()
    async with jsonrpc_server(slow) as server, connected(server) as client, connected(server) as idle:
        client.post(request())
        await slow.begun.wait()
        port = server.port
        closing = asyncio.create_task(server.close())
        assert await idle.ended()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert not closing.done()
        slow.go.set()
        assert (await client.answer())[2]["result"] == "done"
        await closing
    assert slow.how == "finished"


async def test_close_answers_calls_that_have_just_come() -> None:
    slow = Slow()
    async with jsonrpc_server(slow) as server, connected(server) as client:
        client.post(b"{")
        assert (await client.answer())[0] == 400
        async with asyncio.timeout(30):
            while not server.connections[0].is_unused:
                await asyncio.sleep(0)
        body = request()
        head = b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        server.connections[0].data_received(head % len(body) + body)
        closing = asyncio.create_task(server.close())
        await asyncio.wait_for(slow.begun.wait(), 30)
        slow.go.set()
        assert (await client.answer())[2]["result"] == "done"
        await closing


async def test_a_client_that_goes_away_in_the_middle_of_its_body() -> None:
    events = Events()
    async with jsonrpc_server(echo, emit=events) as server:
        async with connected(server) as client:
            client.send("POST /jsonrpc HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 99\n\n{")
            await client.writer.drain()
            async with asyncio.timeout(30):
                while not server.in_progress:
                    await asyncio.sleep(0)
        async with asyncio.timeout(30):
            while server.in_progress:
                await asyncio.sleep(0.001)
    assert events.all == []


@pytest.mark.parametrize("gone", [False, True])
async def test_close_ends_calls_that_take_too_long(gone: bool) -> None:
    slow = Slow()
    async with jsonrpc_server(slow, limits=ServerLimits(grace=0.05)) as server, connected(server) as client:
        client.post(request())
        await slow.begun.wait()
        if gone:  # aiohttp has forgotten such a call; we have not
            client.writer.transport.abort()
            async with asyncio.timeout(30):
                while any(each.transport for each in server.connections):
                    await asyncio.sleep(0)
        await server.close()
        assert slow.how == "cancelled"
        assert await client.ended()


async def test_close_before_start_is_harmless() -> None:
    await JsonRpcServer("test", "localhost:0", echo).close()


# --- CORS and start ---


@pytest.mark.parametrize(
    ("cors", "origin", "asked", "expected"),
    [
        (Cors((r"^https://app\.",)), "https://app.example", "", {"Access-Control-Allow-Headers": ""}),
        (Cors((r"example",)), "https://app.example.org", "a, b", {"Access-Control-Allow-Headers": "a, b"}),
        (Cors((r".",), ("Content-Type",)), "x", "content-type, x", {"Access-Control-Allow-Headers": "content-type"}),
        (Cors((r".",), ("*",)), "x", "y", {"Access-Control-Allow-Headers": "y"}),
        (Cors((r".",), (), ("POST",)), "x", "", {"Access-Control-Allow-Methods": "POST", "Vary": "Origin"}),
        (Cors((r"^https://app\.",)), "http://app.example", "", None),
        (Cors(()), "x", "", None),
        (
            Cors(allowed_origins=("https://app.example",)),
            "https://app.example",
            "content-type, x-other",
            {
                "Access-Control-Allow-Headers": "content-type, eps-timeout, traceparent",
                "Access-Control-Allow-Methods": "POST",
            },
        ),
        (Cors(allowed_origins=("https://app.example",)), "https://app.example.org", "", None),
        (Cors(allowed_origins=("https://app.example",)), "https://app.exampl", "", None),
        (Cors(allowed_origins=("https://app.example",)), "http://app.example", "", None),
        (Cors(allowed_origins=("https://app.example",)), "null", "", None),
        (Cors((r".*",)), "", "", None),
    ],
)
def test_cors_headers(cors: Cors, origin: str, asked: str, expected: dict[str, str] | None) -> None:
    headers = cors.headers(origin, asked)
    if expected is None:
        assert headers == {}
    else:
        assert headers["Access-Control-Allow-Origin"] == origin
        assert expected.items() <= headers.items()


async def test_options_from_an_origin_that_is_not_allowed_is_no_call() -> None:
    async with jsonrpc_server(echo, requests=Requests(cors=Cors(("nowhere",)))) as server, connected(server) as client:
        client.send("OPTIONS /jsonrpc HTTP/1.1\nHost: x\nOrigin: https://evil\n\n")
        status, headers, answer = await client.answer()
        assert (status, answer["error"]["code"]) == (400, -32700)
        assert not [name for name in headers if name.startswith("Access-Control")]


async def test_what_keeps_a_server_from_starting() -> None:
    for options in (
        {"requests": Requests(cors=Cors(("(",)))},
        {"tls": TlsFiles(("x",), "/nowhere/a.crt", "/nowhere/a.key")},
    ):
        with pytest.raises(StartError):
            await JsonRpcServer("test", "localhost:0", echo, serving=Serving(**options)).start()  # type: ignore[arg-type]
    async with jsonrpc_server(echo) as server:
        with pytest.raises(StartError, match="jsonrpc: can't listen"):
            await JsonRpcServer("jsonrpc", f"localhost:{server.port}", echo).start()


def test_all_of_it_runs_on_uvloop() -> None:
    async def scenario() -> None:
        async with jsonrpc_server(echo, tls=tls_files("hd-1")) as server, connected(server, tls_files("app")) as client:
            client.post(request())
            assert (await client.answer())[2]["result"]["names"] == ["app", "*.app.local"]

    uvloop.run(asyncio.wait_for(scenario(), 10))


@pytest.mark.parametrize("apart", [False, True])
async def test_a_body_that_comes_with_its_headers_or_later(apart: bool) -> None:
    async with jsonrpc_server(echo) as server:
        reader, writer = await asyncio.open_connection("localhost", server.port)
        body = b'{"jsonrpc":"2.0","method":"m","params":{"a":1},"id":"x"}'
        head = (
            b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        for _ in range(2):  # also on the kept connection
            if apart:
                writer.write(head)
                await writer.drain()
                writer.write(body)
            else:
                writer.write(head + body)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert answer.startswith(b"HTTP/1.1 200 ")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r")[0])
            assert b'"a":1' in await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()


async def test_a_chunked_body_over_the_limit_that_comes_at_once() -> None:
    async with jsonrpc_server(echo, limits=SHORT) as server:
        reader, writer = await asyncio.open_connection("localhost", server.port)
        chunk = b"%x\r\n" % 200 + b" " * 200 + b"\r\n0\r\n\r\n"
        head = (
            b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        writer.write(head + chunk)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert answer.startswith(b"HTTP/1.1 400 ")
        writer.close()
        await writer.wait_closed()


# --- answers that leave past aiohttp ---


async def raw_answer(server: JsonRpcServer, body: bytes) -> dict[str, Any]:
    async with connected(server) as client:
        client.post(body)
        status, headers, value = await client.answer()
        client.post(body)
        assert (await client.answer())[2] == value, "the connection goes on"
        return {"status": status, "value": value, "headers": {**headers, "Date": len(headers["Date"])}}


@pytest.mark.parametrize("fails", [True, False])
async def test_usual_answers_are_as_aiohttp_writes_them(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    async def handler(call: Call) -> Response:
        if fails:
            raise Busy("no room", 1, Side.OURS)
        return Response(call.id, "ä")

    async with jsonrpc_server(handler) as server:
        usual = await raw_answer(server, request())
        monkeypatch.setattr(module, "send_usual", lambda *_: None)
        assert await raw_answer(server, request()) == usual


@pytest.mark.parametrize(
    ("head", "status", "last"),
    [
        ("POST /jsonrpc HTTP/1.0", 200, True),
        ("POST /jsonrpc HTTP/1.1\nConnection: close", 200, True),
        ("HEAD /jsonrpc HTTP/1.1", 400, False),
        ("GET /jsonrpc HTTP/1.1", 400, False),
        ("POST /other HTTP/1.1", 404, False),
    ],
)
async def test_unusual_requests_are_answered_by_aiohttp(head: str, status: int, last: bool) -> None:
    async def handler(call: Call) -> Response:
        return Response(call.id, "done")

    async with jsonrpc_server(handler) as server, connected(server) as client:
        body = request()
        client.send(f"{head}\nHost: x\nContent-Type: application/json\nContent-Length: {len(body)}\n\n", body)
        lines = (await client.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert lines[0].split()[1] == str(status)
        length = next(int(line.split(": ")[1]) for line in lines if line.startswith("Content-Length"))
        if not head.startswith("HEAD"):
            await client.reader.readexactly(length)
        if last:
            assert await client.ended()
        else:
            client.post(body)
            assert (await client.answer())[2]["result"] == "done"

"""jsonrpc/client: what came back, what went wrong, and what is known of a call that failed."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from eps.core.json_steps import load_in_steps
from eps.core.jsonrpc_text import Call
from eps.core.message import Error, Response
from eps.errors import (
    AnswerRefused,
    DeliveryError,
    InternalError,
    NotFound,
    NotSent,
    OutcomeUnknown,
    Side,
    StartError,
    TlsFailed,
    Unreachable,
)
from eps.http1.client import open_connection
from eps.jsonrpc import client as module
from eps.jsonrpc.answers import in_steps
from eps.jsonrpc.callee import Callee
from eps.jsonrpc.client import ClientLimits, JsonRpcClient
from eps.pki import Authority
from eps.transport.tls import server_context
from support.testing import jsonrpc_server, tls_files


async def echo(call: Call) -> Response:
    if call.method == "fail":
        raise NotFound("no such thing")
    return Response(
        call.id, {"method": call.method, "params": call.params, "id": call.id, "names": list(call.client_names)}
    )


@asynccontextmanager
async def client(endpoint: str, **options: Any) -> AsyncIterator[JsonRpcClient]:
    options.setdefault("tls", None)
    made = JsonRpcClient(endpoint, **options)
    try:
        yield made
    finally:
        await made.close()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Server:
    """A server that behaves as one test wants it to; ``talk`` handles one connection."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.connections = 0
        self.port = 0
        self.ended = asyncio.Event()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self.ended.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jsonrpc"


@asynccontextmanager
async def serving(talk: Talk, **options: Any) -> AsyncIterator[Server]:
    server = Server(talk)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0, **options)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Request line, headers and JSON body of the next request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
    return line, headers, json.loads(await reader.readexactly(int(headers["content-length"])))


def http(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def success(request: dict[str, Any], result: Any = None, extra: str = "") -> bytes:
    return http(json.dumps({"jsonrpc": "2.0", "result": result, "id": request["id"]}).encode(), extra=extra)


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        _, _, request = await read_request(reader)
        writer.write(success(request))


# --- what comes back ---


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
async def test_a_call_and_its_answer(host: str) -> None:
    async with jsonrpc_server(echo) as server, client(f"http://{host}:{server.port}/jsonrpc") as calling:
        answer = await calling.call("m", {"a": [1, "ü"]}, request_id="hd-1.m(n:7)")
        expected = {"method": "m", "params": {"a": [1, "ü"]}, "id": "hd-1.m(n:7)", "names": []}
        assert answer == Response("hd-1.m(n:7)", expected)


async def test_without_an_id_a_random_one_is_sent() -> None:
    async with jsonrpc_server(echo) as server, client(f"http://localhost:{server.port}/jsonrpc") as calling:
        first, second = await calling.call("m", {}), await calling.call("m", {})
        assert len(first.id) == 32
        assert first.id == first.result["id"] != second.id


async def test_an_error_that_is_answered_is_a_response() -> None:
    async with jsonrpc_server(echo) as server, client(f"http://localhost:{server.port}/jsonrpc") as calling:
        answer = await calling.call("fail", {}, request_id="1")
        data = {"stage": "call", "side": "ours", "outcome": "not_sent", "reason": "not-found", "hint": ""}
        assert answer == Response("1", error=Error(404, "no such thing", data))


async def test_mutual_tls_with_a_server_name() -> None:
    async with (
        jsonrpc_server(echo, tls=tls_files("hd-1")) as server,
        client(f"https://localhost:{server.port}/jsonrpc", tls=tls_files("app"), server_name="hd-1") as by_argument,
        client(f"https://127.0.0.1:{server.port}/jsonrpc", tls=tls_files("app", server_name="hd-1")) as by_settings,
    ):
        for calling in (by_argument, by_settings):
            assert (await calling.call("m", {})).result["names"] == ["app", "*.app.local"]


async def test_large_requests_and_answers() -> None:
    text = "x" * 3_000_000
    async with jsonrpc_server(echo) as server, client(f"http://localhost:{server.port}/jsonrpc") as calling:
        assert (await calling.call("m", {"text": text})).result["params"] == {"text": text}


async def test_what_a_request_looks_like() -> None:
    seen: list[Any] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, headers, request = await read_request(reader)
        seen.append((line, headers, request))
        writer.write(success(request))

    async with serving(look) as server, client(server.url.replace("http://", "http://user:secret@")) as calling:
        await calling.call("m", {"a": 1}, request_id="1")
    line, headers, request = seen[0]
    assert line == "POST /jsonrpc HTTP/1.1"
    assert request == {"jsonrpc": "2.0", "method": "m", "params": {"a": 1}, "id": "1"}
    assert headers["content-type"] == "application/json"
    assert headers["authorization"].startswith("Basic ")
    assert "user-agent" not in headers


async def test_a_large_list_is_parsed_beside_other_work() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    result = [{"number": number, "text": "x" * 500} for number in range(8000)]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, _, request = await read_request(reader)
        writer.write(success(request, [*result, {"number": 2**60}] if request["method"] == "bad" else result))

    async with serving(talk) as server, client(server.url, limits=ClientLimits(max_answer=2**30)) as calling:
        body = json.dumps({"jsonrpc": "2.0", "result": result, "id": "1"}).encode()
        counting = asyncio.create_task(count_turns())
        assert (await in_steps(load_in_steps(body, max_bytes=2**30)))["result"] == result
        assert turns > 10
        counting.cancel()
        assert (await calling.call("good", {})).result == result
        with pytest.raises(AnswerRefused, match=r"result\[8000\]\.number: the integer"):
            await calling.call("bad", {})


# --- kept connections ---


async def test_connections_are_kept_and_shared() -> None:
    async with serving(answer_all) as server, client(server.url) as calling:
        for _ in range(5):
            await calling.call("m", {})
        assert server.connections == 1
        await asyncio.gather(*(calling.call("m", {}) for _ in range(10)))
        assert server.connections <= 10


async def test_without_keep_alive_every_call_has_its_own_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, _, request = await read_request(reader)
            writer.write(success(request, extra="Keep-Alive: timeout=60\r\n"))

    async with serving(talk) as server, client(server.url, limits=ClientLimits(keep_alive=0)) as calling:
        for _ in range(3):
            await calling.call("m", {})
        assert server.connections == 3


@pytest.mark.parametrize(
    ("header", "expected"),
    [("timeout=5", 4.0), ("max=3, TIMEOUT = 1", 0.5), ("timeout=9000", 60.0), ("max=3", 1.5), ("timeout=0", 0.0)],
)
async def test_the_servers_keep_alive_is_honoured(header: str, expected: float) -> None:
    async def say_so(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, _, request = await read_request(reader)
        writer.write(success(request, extra=f"Keep-Alive: {header}\r\n"))

    async with serving(say_so) as server, client(server.url) as calling:
        await calling.call("m", {})
        assert calling.kept_for == expected


async def test_what_a_server_no_longer_says_of_its_keep_alive_is_forgotten() -> None:
    extras = ["Keep-Alive: timeout=60\r\n", ""]

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, _, request = await read_request(reader)
            writer.write(success(request, extra=extras.pop(0)))

    async with serving(once) as server, client(server.url) as calling:
        for expected in (59.0, 1.5):
            await calling.call("m", {})
            assert calling.kept_for == expected


def run_on_both(scenario: Callable[[], Awaitable[None]]) -> None:
    """The event loops differ in how they report broken connections."""

    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20)

    asyncio.run(bounded())
    uvloop.run(bounded())


@pytest.mark.parametrize("secure", [False, True])
def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing(secure: bool) -> None:
    """The end of the old connection lies unread in the kernel when the next call goes out."""
    context = server_context(tls_files("hd-1")) if secure else None

    async def scenario() -> None:
        requests: list[str] = []

        async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _, _, request = await read_request(reader)
            requests.append(request["id"])
            writer.write(success(request))

        async with serving(answer_one, ssl=context) as server:
            url = server.url.replace("http", "https") if secure else server.url
            async with client(url, tls=tls_files("app"), server_name="hd-1") as calling:
                for number in range(10):
                    await calling.call("m", {}, request_id=str(number))
                    server.ended.clear() if number % 2 else await server.ended.wait()
        assert requests == [str(number) for number in range(10)]

    run_on_both(scenario)


async def test_an_end_that_the_event_loop_has_not_seen_is_noticed_before_anything_is_sent() -> None:
    """A server closes at the very moment when the next call has already chosen its kept connection."""
    writers: list[asyncio.StreamWriter] = []
    requests: list[str] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while True:
            _, _, request = await read_request(reader)
            requests.append(request["id"])
            writer.write(success(request))

    async with serving(keep) as server, client(server.url) as calling:
        await calling.call("m", {}, request_id="1")
        with socket.socket(fileno=os.dup(writers[-1].transport.get_extra_info("socket").fileno())) as far:
            far.shutdown(socket.SHUT_RDWR)
        await calling.call("m", {}, request_id="2")  # nothing ran in between
        assert requests == ["1", "2"]
        assert server.connections == 2


@pytest.mark.parametrize("ends", [False, True])
async def test_what_a_server_says_by_itself_is_no_answer(ends: bool) -> None:
    """A word of farewell on an idle connection, as some servers send it (RFC 9110, section 15.5.9)."""
    requests: list[str] = []
    unused = asyncio.Event()

    async def say_goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, _, request = await read_request(reader)
            requests.append(request["id"])
            writer.write(success(request))
            if len(requests) == 1:
                await unused.wait()
                writer.write(http(b"", "408 Request Timeout", "Connection: close\r\n"))
                if ends:
                    return

    async with serving(say_goodbye) as server, client(server.url) as calling:
        for number in ("1", "2"):
            assert (await calling.call("m", {}, request_id=number)).id == number
            unused.set()
            await asyncio.sleep(0.05)  # the event loop reads what has come
        assert requests == ["1", "2"]
        assert server.connections == 2


def test_what_a_server_says_before_the_first_call_is_its_answer() -> None:
    """As a load balancer does that is overloaded: to dial it again and again would not help."""

    async def scenario() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(http(b"busy", "503 Service Unavailable", "Connection: close\r\n"))
            await writer.drain()
            await reader.read()

        async with serving(refuse) as server, client(server.url) as calling:
            with pytest.raises(DeliveryError, match="HTTP 503"):
                await calling.call("m", {})
            assert server.connections == 1

    run_on_both(scenario)


async def test_any_number_of_dead_connections_is_left_for_a_new_one() -> None:
    writers: list[asyncio.StreamWriter] = []
    together = asyncio.Barrier(5)

    async def one_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while True:
            _, _, request = await read_request(reader)
            if len(writers) <= 5:
                await together.wait()
            writer.write(success(request))

    async with serving(one_each) as server, client(server.url) as calling:
        await asyncio.gather(*(calling.call("m", {}) for _ in range(5)))
        for writer in writers:
            with socket.socket(fileno=os.dup(writer.transport.get_extra_info("socket").fileno())) as far:
                far.shutdown(socket.SHUT_RDWR)
        await calling.call("m", {})
        assert server.connections == 6


# --- nothing was sent ---


async def not_sent(calling: JsonRpcClient, kind: type[NotSent] = Unreachable, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        await calling.call("m", {}, **options)
    assert caught.value.outcome == "not_sent"
    return caught.value.message


async def test_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/jsonrpc"
        async with client(url, callee=Callee(side=Side.DIRECTORY)) as calling:
            with pytest.raises(Unreachable, match=f"^{url}: connection refused") as caught:
                await calling.call("m", {})
            assert caught.value.data()["side"] == "directory"


async def test_a_name_that_does_not_resolve() -> None:
    async with client("http://user:secret@nowhere.invalid/") as calling:
        message = await not_sent(calling)
        assert message.startswith("http://nowhere.invalid/: the name has no address")


async def test_a_server_of_another_name() -> None:
    async with (
        jsonrpc_server(echo, tls=tls_files("hd-1")) as server,
        client(f"https://localhost:{server.port}/", tls=tls_files("app")) as calling,
    ):
        assert "does not carry the name" in await not_sent(calling, TlsFailed)


async def test_a_server_from_another_authority(tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    other.write_bytes(Authority.create(fast=True).root_pem)
    files = tls_files("app", ca_certificate_files=(str(other),))
    async with (
        jsonrpc_server(echo, tls=tls_files("hd-1")) as server,
        client(f"https://localhost:{server.port}/", tls=files, server_name="hd-1") as calling,
    ):
        assert "ca_certificate_files" in await not_sent(calling, TlsFailed)


async def test_a_server_without_tls() -> None:
    async with (
        jsonrpc_server(echo) as server,
        client(f"https://localhost:{server.port}/", tls=tls_files("app")) as calling,
    ):
        await not_sent(calling, TlsFailed)


def test_a_server_that_refuses_our_certificate_has_not_run_the_call() -> None:
    """In TLS 1.3 the refusal arrives when our request is already on its way."""

    async def scenario() -> None:
        nobody = replace(tls_files("app"), certificate_file="", key_file="")
        async with (
            jsonrpc_server(echo, tls=tls_files("hd-1")) as server,
            client(f"https://localhost:{server.port}/", tls=nobody, server_name="hd-1") as calling,
        ):
            message = await not_sent(calling, TlsFailed)
            assert "requires a client certificate" in message

    run_on_both(scenario)


async def test_a_server_that_accepts_and_says_nothing_during_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as server:
        async with client(server.url.replace("http", "https"), tls=tls_files("app")) as calling:
            assert "no connection within" in await not_sent(calling)
        async with client(server.url.replace("http", "https"), tls=tls_files("app")) as calling:
            monkeypatch.setattr(module, "CONNECT_SECONDS", 10)
            assert "no connection within 0.05 s" in await not_sent(calling, timeout=0.05)


async def test_a_new_connection_that_has_ended_before_anything_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async def opened_late(*options: Any) -> Any:
        connection = await open_connection(*options)
        await connection.ended
        return connection

    monkeypatch.setattr(module, "open_connection", opened_late)
    async with serving(hang_up) as server, client(server.url) as calling:
        assert "closed before anything was sent" in await not_sent(calling)


async def test_params_that_are_no_json() -> None:
    async with client("http://localhost:1/") as calling:
        with pytest.raises(InternalError):
            await calling.call("m", {"a": object()})


async def test_after_close_nothing_is_sent() -> None:
    async with client("http://localhost:1/") as calling:
        await calling.close()
        assert "closed" in await not_sent(calling, NotSent)


@pytest.mark.parametrize("endpoint", ["", "localhost:5555", "ftp://x/", "http://", "http://[x/", "unix:/x"])
def test_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(StartError, match="endpoint"):
        JsonRpcClient(endpoint, tls=None)
    if endpoint:
        with pytest.raises(StartError, match="proxy_url"):
            JsonRpcClient("http://x/", tls=None, proxy_url=endpoint)


def test_an_http_proxy_is_spoken_to_without_tls() -> None:
    with pytest.raises(StartError, match="proxy_url: 'https://x:1' is no http:// URL"):
        JsonRpcClient("http://x/", tls=None, proxy_url="https://me:secret@x:1")


def test_wrong_files_are_found_at_once() -> None:
    with pytest.raises(StartError, match="no such file"):
        JsonRpcClient("https://x/", tls=replace(tls_files("app"), key_file="/nowhere/x.key"))


# --- it was sent ---


async def sent(server: Server, kind: type[DeliveryError], **options: Any) -> str:
    timeout = options.pop("timeout", 10)
    async with client(server.url, **options) as calling:
        with pytest.raises(kind) as caught:
            await calling.call("m", {}, timeout=timeout)
    assert caught.value.outcome == ("unknown" if kind is OutcomeUnknown else "failed")
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", b"HTTP/1.1 200 OK\r\n"])
async def test_an_answer_that_breaks_off_is_an_unknown_outcome(part: bytes) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(part)

    async with serving(cut) as server:
        assert "broke off" in await sent(server, OutcomeUnknown)
        assert server.connections == 1  # it was not repeated


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("head", [b"nonsense", b"HTTP/1.1 200 OK\r\nno colon", b"HTTP/1.1 200 OK\r\nX: a\x01b"])
async def test_an_answer_that_is_no_http_is_called_so(head: bytes, stays: bool) -> None:
    """It has come: to look for a broken network would be in vain."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head + b"\r\n\r\n")
        if stays:
            await reader.read()

    async with serving(talk) as server:
        message = await sent(server, OutcomeUnknown)
        assert "its answer is no HTTP that can be read" in message and "broke off" not in message


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: x", "it changes to another protocol (HTTP 101), which"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", "its Transfer-Encoding is another than chunked"),
    ],
    ids=["101", "gzip, chunked"],
)
async def test_why_it_is_none_is_said_in_words_of_ours(head: bytes, why: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head + b"\r\n\r\n")

    async with serving(talk) as server:
        assert why in await sent(server, OutcomeUnknown)


async def test_a_reset_after_sending_is_an_unknown_outcome() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.transport.abort()

    async with serving(reset) as server:
        await sent(server, OutcomeUnknown)


async def test_no_answer_in_time_is_an_unknown_outcome() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as server:
        assert "no answer within 1 s" in await sent(server, OutcomeUnknown, timeout=1)


@pytest.mark.parametrize("declared", [True, False])
async def test_an_answer_over_the_limit_names_its_size(declared: bool) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if declared:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
            await reader.read()
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b" " * 1024 + b"\r\n")
            await writer.drain()

    async with serving(flood) as server:
        assert "the limit is 2000" in await sent(server, OutcomeUnknown, limits=ClientLimits(max_answer=2000))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (http(b"<html>no such page</html>", "404 Not Found"), DeliveryError, "HTTP 404"),
        (http(b"<html>hello</html>"), OutcomeUnknown, "but 18 bytes of HTML: "),
        (http(b'{"message":"not found"}', "404 Not Found"), DeliveryError, "but 23 bytes: it has neither"),
        (http(b"", "302 Found", "Location: http://elsewhere.invalid/\r\n"), DeliveryError, "HTTP 302"),
        (http(b'{"jsonrpc":"2.0","result":{},"id":"other"}'), OutcomeUnknown, "its id is another text, not"),
        (http(b"\x1f\x8b", extra="Content-Encoding: gzip\r\n"), OutcomeUnknown, "not JSON"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", OutcomeUnknown, "HTTP 204"),
    ],
)
async def test_what_is_no_answer_is_never_a_success(answer: bytes, kind: type[DeliveryError], words: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    async with serving(talk) as server:
        message = await sent(server, kind, callee=Callee(side=Side.OURS))
        assert message.startswith(server.url)
        assert words in message


@pytest.mark.parametrize(
    "surplus",
    [b"!", b"\r\n", b"x" * 300_000, http(b'{"jsonrpc":"2.0","result":"evil","id":"2"}'), b"HTTP/1.1 500 No\r\n\r\n"],
)
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bytes_behind_an_answer_are_dropped_with_their_connection(
    surplus: bytes, apart: bool, chunked: bool
) -> None:
    """What comes with a whole, valid answer, or later, is no part of it, nor of the next."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, _, request = await read_request(reader)
            answer = success(request, request["id"])
            if chunked:
                body = answer.partition(b"\r\n\r\n")[2]
                answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
                    len(body),
                    body,
                )
            writer.write(answer if apart else answer + surplus)
            if apart:
                await writer.drain()
                await answered.wait()
                answered.clear()
                writer.write(surplus)

    answered = asyncio.Event()
    async with serving(talk) as server, client(server.url) as calling:
        for number in ("1", "2", "3"):
            assert (await calling.call("m", {}, request_id=number)).result == number
            answered.set()
            await asyncio.sleep(0.02)  # the rest comes
        assert server.connections == 3


@pytest.mark.parametrize("before", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"])
async def test_answers_before_the_answer(before: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, _, request = await read_request(reader)
        writer.write(before * 2 + success(request, 7))

    async with serving(talk) as server, client(server.url) as calling:
        assert (await calling.call("m", {})).result == 7


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_that_ends_at_its_head_whatever_it_says_of_a_body(status: str) -> None:
    answers = [http(b"", status).replace(b"Content-Length: 0", b"Content-Length: 9999999"), b""]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, _, request = await read_request(reader)
            writer.write(answers.pop(0) or success(request))

    async with serving(talk) as server, client(server.url) as calling:
        with pytest.raises(DeliveryError, match=f"HTTP {status[:3]}"):
            await calling.call("m", {})
        assert (await calling.call("m", {})).error is None
        assert server.connections == 2


async def test_spaces_before_colons_and_many_fields() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, _, request = await read_request(reader)
        extra = "".join(f"X-{number} : \xe4\r\n" for number in range(500))
        writer.write(success(request, 7, extra).replace(b"Content-Length:", b"Content-Length :"))

    async with serving(talk) as server, client(server.url) as calling:
        assert (await calling.call("m", {})).result == 7


async def test_an_answer_before_a_large_request_has_been_read() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"too large", "413 Too large"))
        await done.wait()

    done = asyncio.Event()
    async with serving(refuse) as server, client(server.url) as calling:
        with pytest.raises(DeliveryError, match="HTTP 413"):
            await calling.call("m", {"text": "x" * 8_000_000})
        done.set()


async def test_a_server_that_hangs_up_in_the_middle_of_a_large_request() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with serving(hang_up) as server, client(server.url) as calling:
        with pytest.raises(OutcomeUnknown, match="broke off"):
            await calling.call("m", {"text": "x" * 8_000_000})


async def test_an_http_proxy_that_reads_urls_gets_its_password() -> None:
    seen: list[dict[str, str]] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers, request = await read_request(reader)
        seen.append(headers)
        writer.write(success(request))

    async with serving(proxy) as through:
        url = f"http://me:s3cret@127.0.0.1:{through.port}"
        async with client("http://app.invalid/x", proxy_url=url) as calling:
            await calling.call("m", {})
    assert seen[0]["proxy-authorization"] == "Basic bWU6czNjcmV0" and seen[0]["host"] == "app.invalid"


async def test_where_an_endpoint_is_can_be_kept_from_messages() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(b"<html>secret", "404 Not Found"))

    async with serving(cut) as server:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            nobody = f"127.0.0.1:{reserved.getsockname()[1]}"
            for url, proxy in (
                (server.url, None),
                (f"http://{nobody}/", None),
                ("https://x.internal/", f"http://{nobody}"),
            ):
                async with client(url, proxy_url=proxy, callee=Callee("my application", tells_url=False)) as calling:
                    with pytest.raises(DeliveryError, match=r"^my application") as caught:
                        await calling.call("m", {})
                told = str(caught.value) + str(caught.value.data())
                assert "127.0.0.1" not in told and "x.internal" not in told and "secret" not in told
                assert url in caught.value.place and (proxy is None or nobody in caught.value.place)


async def test_cancelling_a_call_ends_its_connection() -> None:
    begun = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        begun.set()
        assert await reader.read() == b""

    async with serving(silent) as server, client(server.url) as calling:
        task = asyncio.create_task(calling.call("m", {}))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.ended.wait()


# --- through an HTTP proxy ---


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def test_https_goes_through_connect() -> None:
    asked: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[0])
        host, port = asked[-1].split()[1].rsplit(":", 1)
        onward_reader, onward_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, onward_writer), pump(onward_reader, writer))
        await onward_writer.wait_closed()

    async with (
        jsonrpc_server(echo, tls=tls_files("hd-1")) as server,
        serving(proxy) as through,
        client(
            f"https://localhost:{server.port}/jsonrpc",
            tls=tls_files("app"),
            server_name="hd-1",
            proxy_url=f"http://127.0.0.1:{through.port}",
        ) as calling,
    ):
        assert (await calling.call("m", {})).result["names"][0] == "app"
        assert asked == [f"CONNECT localhost:{server.port} HTTP/1.1"]


async def test_http_goes_with_an_absolute_url() -> None:
    asked: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _, request = await read_request(reader)
        asked.append(line)
        writer.write(success(request))

    async with (
        serving(proxy) as through,
        client("http://app.invalid:1/x", proxy_url=f"http://127.0.0.1:{through.port}") as calling,
    ):
        await calling.call("m", {})
    assert asked == ["POST http://app.invalid:1/x HTTP/1.1"]


async def test_a_proxy_that_refuses_or_is_down() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with serving(refuse) as through:
        url = f"http://127.0.0.1:{through.port}"
        async with client("https://localhost:1/", tls=tls_files("app"), proxy_url=url) as calling:
            assert "answered 'HTTP/1.1 403 Forbidden' to CONNECT" in await not_sent(calling)
    async with client("https://localhost:1/", tls=tls_files("app"), proxy_url=url) as calling:
        assert f"the HTTP proxy {url[7:]}: connection refused" in await not_sent(calling)
    async with client("http://localhost:1/", proxy_url=url) as calling:
        assert f"the HTTP proxy {url[7:]}: connection refused" in await not_sent(calling)


async def test_the_password_of_a_proxy_that_answers_nonsense_is_not_told() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 2000 OK\r\n\r\n")

    async with serving(babble) as through:
        url = f"http://user:s3cret@127.0.0.1:{through.port}"
        async with client("https://localhost:1/", tls=tls_files("app"), proxy_url=url) as calling:
            text = await not_sent(calling)
    assert f"the HTTP proxy 127.0.0.1:{through.port} answered 'HTTP/1.1 2000 OK' to CONNECT" in text
    assert "s3cret" not in text

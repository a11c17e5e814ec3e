"""TLS ends at the private proxy; HTTP/1.1 goes on, streamed both ways."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from eps.core.event import Notice, Refused, TunnelFinished
from eps.errors import StartError
from eps.proxy.http_forwarding import HttpForwarder
from support.passage import DOMAIN, TLS, echo, http_server, passage, raw, raw_server, through
from support.sockets import tcp_pair
from support.testing import Events, tls_files


async def test_a_request_arrives_as_it_was_sent() -> None:
    async with http_server(echo) as address, through(address) as way:
        url = way.url("/a%2Fb/../c?x=%20&y=ä")
        headers = {"X-Own": "1", "User-Agent": "me", "Cookie": "a=b", "Accept": "x/y"}
        async with way.session.post(url, data=b"body", headers=headers) as answer:
            told = await answer.json()
    assert (told["method"], told["size"]) == ("POST", 4)
    assert told["sha"] == hashlib.sha256(b"body").hexdigest()
    sent = dict(told["headers"])
    assert sent["host"] == f"{DOMAIN}:{way.port}" and sent["x-forwarded-proto"] == "https"
    assert (sent["x-own"], sent["user-agent"], sent["cookie"], sent["accept"]) == ("1", "me", "a=b", "x/y")
    assert sent["content-length"] == "4" and "transfer-encoding" not in sent


@pytest.mark.parametrize(
    ("target", "path"),
    [("/", "/"), ("//x/..//y?a?b", "//x/..//y?a?b"), ("/%zz;a=b", "/%zz;a=b"), ("http://other/p?q", "/p?q")],
)
async def test_targets_are_kept_letter_by_letter(target: str, path: str) -> None:
    lines: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with raw_server(talk) as address, through(address) as way:
        answer = await raw(way, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.endswith(b"\r\n\r\nok") and lines == [f"GET {path} HTTP/1.1\r\n".encode()]


@pytest.mark.parametrize("asked", [b"GET *", b"OPTIONS x", b"GET http:///p", b"GET urn:x"])
async def test_a_request_without_a_path(asked: bytes) -> None:
    async with through("127.0.0.1:1") as way:
        answer = await raw(way, asked + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"400: the request has no path" in answer


async def test_headers_of_one_connection_and_of_former_proxies_are_left_out() -> None:
    async with http_server(echo) as address, through(address) as way:
        headers = {
            "Connection": "X-Mine, close",
            "X-Mine": "1",
            "TE": "trailers",
            "Upgrade": "h2c",
            "X-Forwarded-For": "1.2.3.4",
            "X_Forwarded_For": "1.2.3.4",  # the same to servers that see CGI's variables
            "X-Forwarded-Client-Cert": "Subject=admin",
            "True-Client-IP": "1.2.3.4",
            "Client-Cert": ":MIIC:",
            "X-SSL-Client-CN": "admin",
            "CF-Connecting-IP": "1.2.3.4",
            "X-Forwarded": "for=1.2.3.4",
            "Forwarded": "for=1.2.3.4",
            "X-Forwarded-Proto": "http",
        }
        async with way.session.get(way.url(), headers=headers) as answer:
            names = dict((await answer.json())["headers"])
    assert names["x-forwarded-proto"] == "https"
    assert not {"x-mine", "te", "upgrade", "x-forwarded-for", "forwarded", "true-client-ip"} & set(names)
    assert not {"x_forwarded_for", "x-forwarded-client-cert", "x-forwarded", "client-cert"} & set(names)
    assert not {"x-ssl-client-cn", "cf-connecting-ip"} & set(names)


async def test_a_target_that_names_a_host_says_more_than_the_header() -> None:
    async with http_server(echo) as address, through(address) as way:
        answer = await raw(way, b"GET http://me:secret@other:1/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert dict(told["headers"])["host"] == "other:1"


async def test_bodies_in_a_coding_that_only_this_connection_knows_are_refused() -> None:
    """They would arrive coded, and without a word of it."""
    coded = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
    async with through("127.0.0.1:1") as way:
        assert (await raw(way, coded)).startswith(b"HTTP/1.1 501 ")


async def test_an_answer_comes_back_as_it_was() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 299 Quite fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\n"
            b"Keep-Alive: timeout=1\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00"
        )

    async with raw_server(talk) as address, through(address) as way, way.session.get(way.url()) as answer:
        assert (answer.status, answer.reason, await answer.read()) == (299, "Quite fine", b"\x1f\x8b\x00")
        assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert answer.headers["Content-Encoding"] == "gzip"
        assert not {"Server", "Content-Type", "Keep-Alive", "Transfer-Encoding"} & set(answer.headers)


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(status: int) -> None:
    async def answers(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"ETag": '"x"'})

    async with http_server(answers) as address, through(address) as way:
        for _ in range(2):
            async with way.session.get(way.url()) as answer:
                assert (answer.status, await answer.read(), answer.headers["ETag"]) == (status, b"", '"x"')


async def test_head_tells_the_length() -> None:
    async def answers(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 1234)

    async with http_server(answers) as address, through(address) as way:
        for _ in range(2):
            async with way.session.head(way.url()) as answer:
                assert answer.headers["Content-Length"] == "1234" and await answer.read() == b""


# Connections


async def test_many_requests_on_one_connection_though_the_server_serves_one_on_each() -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    events = Events()
    async with raw_server(talk) as address, through(address, events) as way:
        reader, writer = await way.open()
        for _ in range(5):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 20)
            assert b"\r\nd\r\nuntil the end\r\n0\r\n\r\n" in answer
        writer.close()
        await writer.wait_closed()
        await events.wait_for(TunnelFinished)
    assert connections == 5
    assert [event.outcome for event in events.of(TunnelFinished)] == ["finished"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with http_server(echo) as address, through(address) as way:
        requests = [f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n" for number in range(3)]
        last = "GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = (await raw(way, "".join([*requests, last]).encode())).decode()
    places = [answer.index(f'"/{number}"') for number in range(4)]
    assert places == sorted(places)


async def test_a_connection_to_the_server_is_used_again_only_for_what_may_be_repeated() -> None:
    ports = set()

    async def answers(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response(text="ok")

    async with http_server(answers) as address, through(address) as way:
        for _ in range(3):
            await (await way.session.get(way.url())).read()
        assert len(ports) == 1
        for _ in range(3):
            await (await way.session.post(way.url(), data=b"x")).read()
        assert len(ports) == 4


async def test_a_connection_that_asks_for_nothing_ends() -> None:
    events = Events()
    async with through("127.0.0.1:1", events, keep_alive=0.05) as way:
        reader, writer = await way.open()
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
        assert (await events.wait_for(TunnelFinished)).outcome == "finished"


async def test_an_unused_connection_ends_after_a_while() -> None:
    async with http_server(echo) as address, through(address, keep_alive=0.1) as way:
        answer = await raw(way, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


# Bodies


async def test_bodies_are_streamed_up() -> None:
    """The server sees the first piece before the last one is sent."""
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def answers(request: web.Request) -> web.StreamResponse:
        async for part in request.content.iter_any():
            seen.put_nowait(part)
        return web.Response(text="done")

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number
            assert await asyncio.wait_for(seen.get(), 20) == b"%d" % number

    async with (
        http_server(answers) as address,
        through(address) as way,
        way.session.put(way.url(), data=pieces()) as answer,
    ):
        assert await answer.text() == "done"


async def test_bodies_are_streamed_down() -> None:
    """The client sees each piece before the next one is made."""
    seen = asyncio.Semaphore(1)

    async def answers(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(4):
            await asyncio.wait_for(seen.acquire(), 20)
            await response.write(b"%d" % number)
        return response

    async with http_server(answers) as address, through(address) as way, way.session.get(way.url()) as answer:
        for number in range(4):
            assert await answer.content.readany() == b"%d" % number
            seen.release()


async def test_bytes_are_counted_both_ways() -> None:
    async def answers(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response(body=b"x" * 100_000)

    events = Events()
    async with http_server(answers) as address, through(address, events) as way:
        for _ in range(2):
            async with way.session.post(way.url(), data=b"y" * 20_000) as answer:
                await answer.read()
    event = events.of(TunnelFinished)[0]
    assert 200_000 < event.first_bytes < 202_000 and 40_000 < event.second_bytes < 42_000


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_bodies_are_intact_both_ways(chunked: bool) -> None:
    size, block = 16 << 20, bytes(range(256)) * 256

    async def answers(request: web.Request) -> web.StreamResponse:
        digest = hashlib.sha256()
        async for part in request.content.iter_any():
            digest.update(part)
        response = web.StreamResponse(headers={"X-Sha": digest.hexdigest()})
        if not chunked:
            response.content_length = size
        await response.prepare(request)
        for _ in range(size // len(block)):
            await response.write(block)
        return response

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // len(block)):
            yield block

    wanted = hashlib.sha256(block * (size // len(block))).hexdigest()
    headers = {} if chunked else {"Content-Length": str(size)}
    async with (
        http_server(answers) as address,
        through(address) as way,
        way.session.post(way.url(), data=pieces(), headers=headers) as answer,
    ):
        digest = hashlib.sha256()
        async for part in answer.content.iter_any():
            digest.update(part)
        assert answer.headers["X-Sha"] == digest.hexdigest() == wanted


async def test_a_client_that_waits_to_be_told_to_go_on() -> None:
    async with http_server(echo) as address, through(address) as way:
        reader, writer = await way.open()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert b'"size": 4' in await asyncio.wait_for(reader.readuntil(b"}"), 20)
        writer.close()
        await writer.wait_closed()


async def test_an_answer_that_comes_before_the_body_has_ended() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await reader.read(1 << 20)

    async with raw_server(talk) as address, through(address) as way:
        for part in (b"part", b""):  # without a byte of the body, too: the client may be waiting for the answer
            request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + part
            assert (await raw(way, request, b"\r\n\r\nno")).startswith(b"HTTP/1.1 413 Too large\r\n")


async def test_a_head_goes_inside_with_what_there_is_of_its_body() -> None:
    """A server that answers and closes after one read would else be sent the body behind its end, and reset."""
    first_reads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first_reads.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    body = b"3\r\nabc\r\n0\r\n\r\n"
    async with raw_server(talk) as address, through(address) as way:
        request = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + body
        for _ in range(20):
            assert (await raw(way, request)).startswith(b"HTTP/1.1 413 Too large\r\n")
    assert all(b"\r\n\r\n3\r\nabc\r\n" in read for read in first_reads)


async def test_http_1_0_is_not_told_to_go_on() -> None:
    """RFC 9110, section 10.1.1."""
    request = b"POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody"
    async with http_server(echo) as address, through(address) as way:
        answer = await raw(way, request)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"Connection: close\r\n" in answer


async def test_an_answer_of_unknown_length_to_http_1_0_ends_with_its_connection() -> None:
    async def parts(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for part in (b"one ", b"two"):
            await answer.write(part)
        return answer

    async with http_server(parts) as address, through(address) as way:
        answer = await raw(way, b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\none two")
    assert b"Connection: close\r\n" in answer and b"Transfer-Encoding" not in answer


async def test_header_bytes_that_are_no_ascii_stay_as_they_are() -> None:
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 404 Pas trouv\xe9\r\nContent-Length: 0\r\nX-Name: Gr\xfc\xdfe\r\nX-Same: gr\xc3\xbcn\r\n\r\n"
        )

    async with raw_server(talk) as address, through(address) as way:
        request = b"GET / HTTP/1.1\r\nHost: x\r\nX-Name: caf\xe9\r\nX-Same: caf\xc3\xa9\r\nConnection: close\r\n\r\n"
        answer = await raw(way, request)
    assert b"X-Name: caf\xe9\r\nX-Same: caf\xc3\xa9\r\n" in heads[0]
    assert answer.startswith(b"HTTP/1.1 404 Pas trouv\xe9\r\n")
    assert b"X-Name: Gr\xfc\xdfe\r\nX-Same: gr\xc3\xbcn\r\n" in answer


async def test_a_body_that_breaks_in_the_middle_is_refused_at_once() -> None:
    ends: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"3\r\nabc\r\n")
        going.set()
        ends.append(await reader.read())

    going = asyncio.Event()
    events = Events()
    async with raw_server(talk) as address, through(address, events, timeout=3600) as way:
        reader, writer = await way.open()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.wait_for(going.wait(), 30)
        writer.write(b"ZZ\r\n")
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"400: the request's body can't be read\n")
    assert b"Connection: close\r\n" in answer
    assert ends == [b""]  # no false end of the body
    assert events.of(Notice) == []  # it is not the internal server's fault


async def test_connect_is_refused() -> None:
    async with through("127.0.0.1:1") as way:
        for target in (b"/", b"other:443"):
            answer = await raw(way, b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith((b"HTTP/1.1 501 ", b"HTTP/1.1 400 ")) and b"Connection: keep-alive" not in answer


async def test_an_answer_with_control_characters_is_told() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: a\x01b\r\n\r\n")

    events = Events()
    async with raw_server(talk) as address, through(address, events) as way:
        answer = await raw(way, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 ") and b"behind this proxy" in answer
    assert address in events.of(Notice)[0].text and "its head has control characters" in events.of(Notice)[0].text


async def test_what_follows_a_request_for_another_protocol_is_answered_like_all_else() -> None:
    asks = b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    async with http_server(echo) as address, through(address) as way:
        answer = await raw(way, asks + b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.index(b'"/1"') < answer.index(b'"/2"')
    assert answer.count(b"HTTP/1.1 200 ") == 2 and b"h2c" not in answer


# What goes wrong


async def test_a_server_that_is_down() -> None:
    events = Events()
    async with through("127.0.0.1:1", events) as way:
        for request in (way.session.get(way.url()), way.session.post(way.url(), data=b"x")):
            async with request as answer:
                assert (answer.status, await answer.text()) == (
                    502,
                    "502: the server behind this proxy can't be reached\n",
                )
                assert "Server" not in answer.headers
    assert events.of(Notice)[0].text == "the internal server at 127.0.0.1:1: connection refused; is the server running?"


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_a_server_that_gives_no_answer(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    async with raw_server(talk) as address, through(address) as way, way.session.post(way.url()) as answer:
        assert answer.status == 502


async def test_a_server_that_is_silent() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    events = Events()
    async with (
        raw_server(talk) as address,
        through(address, events, timeout=0.1) as way,
        way.session.get(way.url()) as answer,
    ):
        assert (answer.status, await answer.text()) == (
            504,
            "504: the server behind this proxy did not answer in time\n",
        )
    assert "made no progress for 0.1 s" in events.of(Notice)[0].text


async def test_a_slow_upload_is_no_silence() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(8):
            await asyncio.sleep(0.4)  # longer in all than the server may be silent
            yield b"x"

    async with (
        http_server(echo) as address,
        through(address, timeout=3) as way,
        way.session.post(way.url(), data=pieces()) as answer,
    ):
        assert (await answer.json())["size"] == 8


@pytest.mark.parametrize("length", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_an_answer_that_breaks_off_looks_broken_off(length: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n5\r\nab")

    async with raw_server(talk) as address, through(address) as way:
        with pytest.raises(aiohttp.ClientError):
            async with way.session.get(way.url()) as answer:
                await answer.read()


async def test_an_answer_that_stalls_is_cut() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab")
        await reader.read()

    async with raw_server(talk) as address, through(address, idle_timeout=0.1) as way:
        with pytest.raises(aiohttp.ClientError):
            async with way.session.get(way.url()) as answer:
                await answer.read()


async def test_a_client_that_goes_away_ends_its_request_inside() -> None:
    come, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        come.set()
        await reader.read()
        gone.set()

    async with raw_server(talk) as address, through(address) as way:
        _, writer = await way.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(come.wait(), 20)
        writer.transport.abort()
        await asyncio.wait_for(gone.wait(), 20)


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
async def test_what_is_no_http(request_: bytes) -> None:
    async with through("127.0.0.1:1") as way:
        answer = await raw(way, request_)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"Server:" not in answer and b"Connection: close\r\n" in answer


async def test_lengths_that_contradict_each_other_are_refused() -> None:
    """What each server reads differently is how requests are smuggled past proxies."""
    both = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    twice = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody"
    async with through("127.0.0.1:1") as way:
        for request in (both, twice):
            assert (await raw(way, request)).startswith(b"HTTP/1.1 400 ")


async def test_what_clients_and_servers_say_is_not_logged() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"their-secret\r\n\r\n")

    events = Events()
    async with (
        raw_server(talk) as address,
        through(address, events) as way,
        way.session.get(way.url("/?token=my-secret")) as answer,
    ):
        assert answer.status == 502
    text = events.of(Notice)[0].text
    assert "its answer is no HTTP that can be read: illegal status line" in text
    assert "secret" not in text and "\n" not in text


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_answers_that_can_t_be_passed_on(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await reader.read()

    events = Events()
    async with raw_server(talk) as address, through(address, events) as way, way.session.get(way.url()) as answer:
        assert answer.status == 502
    assert "the internal server at" in events.of(Notice)[0].text


async def test_no_tls() -> None:
    events = Events()
    async with through("127.0.0.1:1", events) as way:
        reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        assert (await events.wait_for(TunnelFinished)).outcome == "no_tls"
        assert events.of(Refused)[0].why == "tls"


async def test_client_certificates_can_be_demanded() -> None:
    events = Events()
    tls = tls_files("internal-server")
    async with passage(HttpForwarder("127.0.0.1:1", tls, emit=events), events) as way:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await way.session.get(way.url())
        assert (await events.wait_for(TunnelFinished)).outcome == "no_tls"


async def test_a_certificate_that_is_missing() -> None:
    with pytest.raises(StartError, match="certificate"):
        await HttpForwarder("127.0.0.1:1", tls_files("x", certificate_file="/nowhere"), emit=Events()).start()


async def test_closing_one_that_was_never_started() -> None:
    forwarder = HttpForwarder("127.0.0.1:1", TLS, emit=Events())
    assert forwarder.open == 0
    await forwarder.close()


async def test_how_many_connections_there_are() -> None:
    events = Events()
    forwarder = HttpForwarder("127.0.0.1:1", TLS, emit=events)
    async with passage(forwarder, events) as way:
        reader, writer = await way.open()
        writer.write(b"GET * HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"no path\n"), 20)
        count = forwarder.open
        writer.close()
        await writer.wait_closed()
        await events.wait_for(TunnelFinished)
    assert count == 1


async def test_stopping_while_hands_are_shaken() -> None:
    events = Events()
    forwarder = HttpForwarder("127.0.0.1:1", TLS, emit=events)
    await forwarder.start()
    near, far = tcp_pair()
    task = asyncio.create_task(forwarder.forward(near, DOMAIN, "p"))  # type: ignore[arg-type]  # any name will do
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events.of(TunnelFinished)[0].outcome == "stopped"
    far.close()
    await forwarder.close()

"""TLS ends at the private proxy; HTTP/1.1 goes on, streamed both ways."""

import asyncio
import hashlib
import json

import pytest
from aiohttp import web

from eps.core.event import TunnelFinished
from support.passage import DOMAIN, echo, http_server, raw, raw_server, through
from support.testing import Events


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

"""TLS ends at the private proxy: bodies are streamed both ways."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from eps.core.event import Notice, TunnelFinished
from support.passage import echo, http_server, raw, raw_server, through
from support.testing import Events


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

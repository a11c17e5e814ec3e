"""WebSockets through a private proxy where TLS ends: bytes both ways, once the internal server has agreed to one."""

import asyncio
import json
import socket
import ssl
import struct
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web

from eps.core.event import Notice, TunnelFinished
from eps.proxy.http_forwarding import HttpForwarder
from support.passage import TLS, echo, http_server, passage, raw, raw_server, through
from support.testing import Events


async def test_a_websocket_carries_messages_both_ways() -> None:
    async def answers(request: web.Request) -> web.StreamResponse:
        assert request.headers["X-Forwarded-Proto"] == "https" and "X-Forwarded-For" not in request.headers
        socket = web.WebSocketResponse(protocols=["chat"], max_msg_size=8 << 20)
        await socket.prepare(request)
        await socket.send_str("welcome")
        async for message in socket:
            await socket.send_bytes(message.data[::-1])
        return socket

    events = Events()
    async with http_server(answers) as address, through(address, events) as way:
        headers = {"X-Forwarded-For": "1.2.3.4"}
        async with way.session.ws_connect(
            way.url("/ws"), protocols=["chat"], headers=headers, compress=15, max_msg_size=8 << 20
        ) as socket:
            assert socket.protocol == "chat"
            assert await socket.receive_str() == "welcome"
            for size in (1, 70_000, 3 << 20):
                await socket.send_bytes(b"a" + b"b" * size)
                assert await socket.receive_bytes() == b"b" * size + b"a"
        assert socket.close_code == 1000
        await events.wait_for(TunnelFinished)
    assert [event.outcome for event in events.of(TunnelFinished)] == ["finished"]


async def test_a_websocket_that_the_server_refuses() -> None:
    async def answers(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401, text="who are you?", headers={"Connection": "close"})

    async with http_server(answers) as address, through(address) as way:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await way.session.ws_connect(way.url())
        assert refused.value.status == 401


@pytest.mark.parametrize("first", ["GET", "POST"])
async def test_nobody_talks_past_the_proxy_by_asking_for_a_websocket_where_there_is_none(first: str) -> None:
    asks = b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    body = b"Content-Length: 3\r\n\r\nabc" if first == "POST" else b"\r\n"
    second = b"GET /2 HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n"
    async with http_server(echo) as address, through(address) as way:
        answers = await raw(way, first.encode() + b" /1 HTTP/1.1\r\n" + asks + body + second)
    bodies = [json.loads(part.partition(b"HTTP/1.1")[0]) for part in answers.split(b"\r\n\r\n")[1:]]
    assert [(told["path"], told["size"]) for told in bodies] == [("/1", 3 if first == "POST" else 0), ("/2", 0)]
    assert "x-forwarded-for" not in dict(bodies[1]["headers"])


@pytest.mark.parametrize("end", ["idle", "stopped"])
async def test_a_websocket_that_nobody_uses_ends(end: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await reader.read()

    events = Events()
    forwarder: HttpForwarder
    async with raw_server(talk) as address:
        forwarder = HttpForwarder(address, TLS, idle_timeout=0.1 if end == "idle" else 3600, emit=events)
        async with passage(forwarder, events) as way:
            reader, writer = await way.open()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            if end == "stopped":
                await forwarder.close()
            assert await asyncio.wait_for(reader.read(), 30) == b"", "nothing but frames may follow"
            writer.close()
            await writer.wait_closed()
            assert (await events.wait_for(TunnelFinished)).outcome == end
    assert events.of(Notice) == []


@pytest.mark.parametrize("ends", ["server", "server resets", "client"])
async def test_a_websocket_that_breaks_off(ends: str) -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n!")
        await writer.drain()
        if ends == "server resets":
            sock = writer.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if ends != "client":
            writer.transport.abort()
        else:
            await reader.read()
        gone.set()

    async with raw_server(talk) as address, through(address) as way:
        reader, writer = await way.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        if ends != "client":
            with suppress(ConnectionError, ssl.SSLError):
                await asyncio.wait_for(reader.read(), 20)
        else:
            writer.transport.abort()
        await asyncio.wait_for(gone.wait(), 20)
        writer.close()


@pytest.mark.parametrize(("said", "status"), [(b"", 502), (None, 504)])
async def test_a_websocket_without_an_answer(said: bytes | None, status: int) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if said is None:
            await reader.read()

    async with raw_server(talk) as address, through(address, timeout=0.2 if said is None else 60) as way:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await way.session.ws_connect(way.url())
        assert refused.value.status == status


async def test_a_websocket_to_a_server_that_is_down() -> None:
    async with through("127.0.0.1:1") as way:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await way.session.ws_connect(way.url())
        assert refused.value.status == 502

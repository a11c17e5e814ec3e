"""TLS ends at the private proxy: what goes wrong with HTTP there, and how it ends."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from eps.core.event import Notice, Refused, TunnelFinished
from eps.errors import StartError
from eps.proxy.http_forwarding import HttpForwarder
from support.passage import DOMAIN, TLS, echo, http_server, passage, raw, raw_server, through
from support.sockets import tcp_pair
from support.testing import Events, tls_files


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

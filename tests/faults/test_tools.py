"""The tools of these tests do to bytes what they say, and nothing else."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.faults import FaultProxy, Weather


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def bad_line(weather: Weather = Weather()) -> AsyncIterator[FaultProxy]:  # noqa: B008 - a frozen value
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, FaultProxy(server.sockets[0].getsockname()[1], weather=weather) as proxy:
        yield proxy


async def connected(proxy: FaultProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def returned(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> float:
    """Send ``data``, and wait until all of it is back; the seconds that it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(30):
        sending = asyncio.create_task(send(writer, data))
        assert await reader.readexactly(len(data)) == data
        await sending
    return loop.time() - began


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


@pytest.mark.parametrize(
    "weather", [Weather(), Weather(piece=1000), Weather(jitter=0.01, piece=50_000), Weather(latency=0.01)], ids=str
)
async def test_every_byte_comes_in_its_order(weather: Weather) -> None:
    async with bad_line(weather) as proxy:
        reader, writer = await connected(proxy)
        await returned(reader, writer, os.urandom(500_000))
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_bytes_are_late_and_lines_narrow() -> None:
    async with bad_line(Weather(latency=0.1)) as proxy:
        reader, writer = await connected(proxy)
        assert await returned(reader, writer, b"x") >= 0.2
        proxy.weather = Weather(rate=100_000)
        assert await returned(reader, writer, bytes(20_000)) >= 0.2
        writer.close()


async def test_a_frozen_line_goes_on_where_it_stopped() -> None:
    async with bad_line() as proxy:
        reader, writer = await connected(proxy)
        await returned(reader, writer, b"before")
        proxy.freeze()
        await send(writer, b"later")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        proxy.heal()
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"later"
        writer.close()


async def test_what_is_swallowed_never_comes_and_healing_shows_it() -> None:
    async with bad_line() as proxy:
        reader, writer = await connected(proxy)
        await returned(reader, writer, b"before")
        proxy.swallow()
        await send(writer, b"lost")
        silent_reader, silent = await connected(proxy)
        await send(silent, b"lost")
        for hears_nothing in (reader, silent_reader):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(hears_nothing.read(1), 0.1)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 10)
        writer.close()
        silent.close()
        reader, writer = await connected(proxy)
        await returned(reader, writer, b"after")
        writer.close()


async def test_a_reset_is_one_at_both_ends() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await reader.read(100))
            await reader.read(100)
            ended.set_result("an end")
        except OSError as error:
            ended.set_result(type(error).__name__)
        finally:
            writer.close()

    server = await asyncio.start_server(watch, "127.0.0.1", 0)
    async with server, FaultProxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await connected(proxy)
        await returned(reader, writer, b"x")
        assert proxy.open == 1
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 10)
        assert await asyncio.wait_for(ended, 10) == "ConnectionResetError"
        writer.close()


async def test_nobody_behind_it_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with FaultProxy(port) as proxy:
        reader, writer = await connected(proxy)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 10)
        writer.close()

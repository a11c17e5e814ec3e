"""http1/channel: bytes when they are asked for, flow control both ways, and how a connection ends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eps.http1.channel import READ_BYTES, Channel
from support.sockets import fill, recv_all, reset, tcp_pair


@asynccontextmanager
async def channel(**buffers: int) -> AsyncIterator[tuple[Channel, socket.socket]]:
    """A channel, and the socket at its other end."""
    near, far = tcp_pair(**buffers)
    _, made = await asyncio.get_running_loop().create_connection(Channel, sock=near)
    try:
        async with asyncio.timeout(30):
            yield made, far
    finally:
        far.close()
        await made.close_soon()


async def test_bytes_both_ways_and_their_count() -> None:
    async with channel() as (near, far):
        far.send(b"hello")
        assert await near.read() == b"hello" and not near.has_unread
        near.write(b"world")
        near.write(b"")
        await near.drain()
        near.close()
        assert await recv_all(far) == b"world"
        assert (near.received, near.sent) == (5, 5)


async def test_the_other_sides_end() -> None:
    async with channel() as (near, far):
        far.send(b"last words")
        far.close()
        assert await near.read() == b"last words"
        assert await near.read() == await near.read() == b"" and not near.is_open
        await near.ended
        with pytest.raises(OSError, match="broke off"):
            await near.drain()
        near.write(b"too late")
        assert near.sent == 0


async def test_a_connection_that_breaks_off() -> None:
    async with channel() as (near, far):
        reading = asyncio.create_task(near.read())
        await asyncio.sleep(0)
        reset(far)
        with pytest.raises(OSError, match="broke off") as caught:
            await reading
        assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_what_nobody_reads_stays_with_the_sender() -> None:
    async with channel(sndbuf=8192, rcvbuf=8192) as (near, far):
        sent = fill(far)
        while near.received <= READ_BYTES:
            await asyncio.sleep(0)
            sent += fill(far)
        for _ in range(20):
            await asyncio.sleep(0.001)
            sent += fill(far)
        assert near.received < sent and near.received <= READ_BYTES + 256 * 1024
        while near.received < sent or near.has_unread:  # and it all comes when it is read
            assert await near.read()


async def test_writers_wait_for_the_reader() -> None:
    async with channel(sndbuf=8192, rcvbuf=8192) as (near, far):
        near.write(b"x" * 1_000_000)
        draining = asyncio.create_task(near.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        near.close()
        assert len(await recv_all(far)) == 1_000_000
        await draining


async def test_writers_go_on_when_there_is_room() -> None:
    async with channel(sndbuf=8192, rcvbuf=8192) as (near, far):
        near.write(b"x" * 1_000_000)
        draining = asyncio.create_task(near.drain())
        while not draining.done():
            await asyncio.sleep(0)
            try:
                far.recv(1 << 20)
            except BlockingIOError:
                await asyncio.sleep(0.001)
        await draining
        near.abort()


async def test_an_end_that_the_other_side_does_not_acknowledge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.http1.channel.CLOSE_SECONDS", 0.01)
    async with channel(sndbuf=8192, rcvbuf=8192) as (near, _):
        near.write(b"x" * 1_000_000)
        await near.close_soon()
        assert near.ended.done()


async def test_one_that_was_never_connected() -> None:
    made = Channel()
    made.write(b"x")
    made.close()
    made.abort()
    await made.close_soon()
    assert not made.is_open

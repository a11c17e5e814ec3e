"""Readers that live and don't read: TCP_USER_TIMEOUT ends them, unless they are spared."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from eps.transport.readers import Readers
from eps.transport.sockets import Keepalive, keep_alive, patience, tune
from eps.transport.splice import Relay, SpliceResult
from support.sockets import fill, recv, tcp_pair


@pytest.fixture(autouse=True)
def _one_second() -> Iterator[None]:
    """The shortest that a kernel can be asked for."""
    keep_alive(Keepalive(idle=1, interval=1, count=1))
    yield
    keep_alive(Keepalive())


def user_timeout(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


async def until_timeout_is(sock: socket.socket, wanted: int) -> None:
    async with asyncio.timeout(60):
        while user_timeout(sock) != wanted:
            await asyncio.sleep(0.05)


async def test_one_that_does_not_read_is_spared_until_it_does() -> None:
    near, far = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    with near, far:
        tune(near)
        readers = Readers(near)
        sent = fill(near)
        readers.given()
        await until_timeout_is(near, 0)
        read = 0
        while read < sent:
            read += len(await recv(far))
        await until_timeout_is(near, patience() * 1000)
        readers.stop()


async def test_a_relays_side_may_pause_for_longer_than_a_dead_link_is_given() -> None:
    """Without the relay's care the kernel ends such a connection after two seconds here."""
    ended: list[SpliceResult] = []
    first, inside = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    outside, second = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    with first, second:
        for sock in (inside, outside):
            tune(sock)
        relay = Relay(inside, outside, on_end=ended.append)
        relay.start()
        sent = 0
        for _ in range(50):
            sent += fill(first)
            await asyncio.sleep(0.1)  # far longer than patience(), which is what is tested
        assert not ended
        first.shutdown(socket.SHUT_WR)
        read = 0
        while part := await recv(second):
            read += len(part)
        assert read == sent
        relay.stop()

"""Readers that live and don't read: TCP_USER_TIMEOUT ends them, unless they are spared."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from eps.core.rendezvous import TunnelOutcome
from eps.http1.channel import Channel
from eps.transport import readers as module
from eps.transport.readers import Readers
from eps.transport.sockets import patience, tune
from eps.transport.splice import Relay, SpliceResult
from support.sockets import fill, recv, tcp_pair

pytestmark = pytest.mark.usefixtures("impatient")


@contextmanager
def stuck() -> Iterator[tuple[socket.socket, socket.socket, Readers]]:
    """A socket in which bytes wait for one that reads none, that one, and who looks after the first."""
    near, far = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    with near, far:
        tune(near)
        readers = Readers(near)
        fill(near)
        readers.given()
        yield near, far, readers
        readers.stop()


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


async def test_one_that_was_spared_is_not_when_its_socket_is_closed() -> None:
    """What is left in it then is nobody's: without a limit the kernel would keep it for as long as the peer likes."""
    with stuck() as (near, _, readers):
        await until_timeout_is(near, 0)
        readers.stop()
        assert user_timeout(near) == patience() * 1000
        assert readers.unread == 0


async def test_no_relay_leaves_a_spared_socket_behind() -> None:
    first, inside = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    outside, second = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    ended: list[SpliceResult] = []
    with first, second, socket.socket(fileno=os.dup(outside.fileno())) as same:
        tune(outside)
        relay = Relay(inside, outside, on_end=ended.append)
        relay.start()
        fill(first)
        await until_timeout_is(outside, 0)
        relay.stop()
        assert ended[0].outcome is TunnelOutcome.STOPPED
        assert user_timeout(same) == patience() * 1000


@pytest.mark.parametrize("how", ["close", "end", "abort"])
async def test_no_channel_leaves_a_spared_socket_behind(how: str) -> None:
    near, far = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    with far, socket.socket(fileno=os.dup(near.fileno())) as same:
        tune(near)
        _, channel = await asyncio.get_running_loop().create_connection(Channel, sock=near)
        channel.let_pause()
        channel.write(bytes(1 << 20))
        await until_timeout_is(same, 0)
        if how == "close":
            channel.close()
        elif how == "abort":
            channel.abort()
        else:
            far.shutdown(socket.SHUT_WR)
            assert await channel.read() == b""
        assert user_timeout(same) == patience() * 1000
        channel.abort()
        await channel.ended


async def test_nobody_is_spared_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's kernel lives and answers all questions; the program behind it reads nothing."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 1.5)
    ended: asyncio.Future[SpliceResult] = asyncio.get_running_loop().create_future()
    first, inside = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    outside, second = tcp_pair(sndbuf=16_384, rcvbuf=16_384)
    with first, second:
        for sock in (inside, outside):
            tune(sock)
        relay = Relay(inside, outside, on_end=ended.set_result)
        relay.start()
        fill(first)
        await until_timeout_is(outside, 0)
        async with asyncio.timeout(60):
            while not ended.done():
                await asyncio.sleep(0.2)
                with suppress(OSError):
                    first.send(b"!")  # what the other side does changes nothing
        assert ended.result().outcome is TunnelOutcome.RESET


async def test_whoever_reads_a_little_begins_another_pause() -> None:
    with stuck() as (near, far, readers):
        async with asyncio.timeout(60):
            while (before := readers.unread) < 1:
                await asyncio.sleep(0.05)
            while readers.unread >= before:  # which grows with time, as long as nothing is taken
                assert await recv(far)
                fill(near)
                await asyncio.sleep(0.05)
            while user_timeout(near):
                fill(near)
                await asyncio.sleep(0.05)

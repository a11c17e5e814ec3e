"""What every socket gets, and what the kernel tells of one."""

import asyncio
import math
import socket
import time
from collections.abc import Iterator

import pytest

from eps.core.event import ignore
from eps.transport.listener import Listener
from eps.transport.sockets import UNSENT_BYTES, Keepalive, keep_alive, last_acknowledged, tune, unacknowledged
from support.sockets import fill, tcp_pair


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    keep_alive(Keepalive())


def times_of(sock: socket.socket) -> Keepalive:
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    idle, interval, count, unanswered = (sock.getsockopt(socket.IPPROTO_TCP, option) for option in options)
    return Keepalive(idle, interval, count, unanswered // 1000)


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("times", [Keepalive(unanswered=40), Keepalive(7, 3, 2, 19)], ids=["default", "set"])
async def test_accepted_sockets_have_what_every_socket_gets(times: Keepalive) -> None:
    keep_alive(times)
    came: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()

    async def take(sock: socket.socket) -> None:
        came.set_result(sock)

    listener = Listener("test", "127.0.0.1:0", take, emit=ignore)
    await listener.start()
    try:
        with socket.create_connection(listener.addresses[0]) as near, await asyncio.wait_for(came, 30) as far:
            tune(near)
            for sock in (near, far):
                assert times_of(sock) == times
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES
                assert not sock.getblocking()
    finally:
        await listener.close()


def test_a_silent_connection_has_all_its_questions() -> None:
    """With TCP_USER_TIMEOUT Linux counts no questions: below that one lost packet would end a silent connection."""
    assert Keepalive(7, 3, 2).patience == 13
    assert Keepalive(7, 3, 2, unanswered=9).patience == 13
    assert Keepalive(7, 3, 2, unanswered=14).patience == 14


def test_what_the_other_kernel_has_confirmed() -> None:
    near, far = tcp_pair(sndbuf=65536, rcvbuf=4096)
    with near, far:
        assert not unacknowledged(near)
        time.sleep(0.05)
        assert 0.04 <= last_acknowledged(near) < 30
        sent = fill(near)
        assert 0 < unacknowledged(near) <= sent


def test_what_is_no_tcp_tells_nothing() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert last_acknowledged(near) == math.inf

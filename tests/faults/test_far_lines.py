"""Lines that are far, and lose packets: a relay is about as quick as the line, and no call is lost."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from eps.transport.sockets import tune
from eps.transport.splice import Relay
from support.application import Application
from support.far_lines import Far, FarLine
from support.load import load
from support.namespaces import Apart, Hub, inside

RATE = 3_000_000
"""Bytes per second: 24 Mbit."""

QUEUE = RATE // 4
"""Bytes: a quarter of a second of the line's work, as routers have."""

PORT = 7_000
SECONDS = 8.0


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("a", "b", "p") as made:
        yield made


class Places:
    """Connections between places."""

    def __init__(self, hub: Hub, stack: ExitStack) -> None:
        self._hub, self._stack = hub, stack

    def connected(self, one: str, other: str) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection from ``one`` to ``other``, as programs have theirs."""
        address = self._hub.address(other), PORT
        server = inside(self._hub.name(other), lambda: socket.create_server(address))
        with server:
            near = inside(self._hub.name(one), lambda: socket.create_connection(address, 30.0))
            far, _ = server.accept()
        for sock in (near, far):
            self._stack.enter_context(sock)
            tune(sock)
        return near, far


async def carried(sender: socket.socket, receiver: socket.socket) -> int:
    """How many bytes arrive in :data:`SECONDS`."""
    loop = asyncio.get_running_loop()

    async def send() -> None:
        while True:
            await loop.sock_sendall(sender, bytes(65_536))

    sending = asyncio.create_task(send())
    arrived = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while True:
                arrived += len(await loop.sock_recv(receiver, 1 << 18))
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending
    return arrived


@pytest.mark.chaos
@pytest.mark.parametrize("delay", [0.05, 0.125], ids=["100 ms there and back", "250 ms there and back"])
async def test_a_relay_is_about_as_quick_as_a_far_line(hub: Hub, delay: float) -> None:
    """Both its sides are so far. Of 24 Mbit a bound on what it keeps once left 90 kB/s."""
    with ExitStack() as stack:
        stack.enter_context(FarLine(hub, "a", Far(delay)))
        stack.enter_context(FarLine(hub, "b", Far(delay, RATE, QUEUE)))
        places = Places(hub, stack)
        direct = await carried(*places.connected("a", "b"))
        sender, near = places.connected("a", "p")
        onwards, receiver = places.connected("p", "b")
        ended = asyncio.Event()
        relay = Relay(near, onwards, on_end=lambda _: ended.set())
        relay.start()
        relayed = await carried(sender, receiver)
        relay.stop()
        await ended.wait()
    assert relayed > direct / 2, (relayed, direct)
    assert relayed > SECONDS * RATE / 10, "on whatever machine this runs"


@pytest.mark.chaos
async def test_calls_over_a_far_line_that_loses_packets(hub: Hub, tmp_path: Path, dev_tree: Path) -> None:
    """A tenth of a second there and back, and one packet in fifty is lost: each call runs once and is answered."""
    with FarLine(hub, "b", Far(0.05, RATE, QUEUE, loss=0.02)):
        async with Apart(tmp_path, dev_tree, hub) as machine, Application(host=hub.near("b")) as application:
            application.serve(machine)
            await machine.ready()
            async with load(machine, 8) as book:
                await book.more(200)
    assert not book.failed
    assert set(application.ran.values()) == {1} and book.answered == application.ran.keys()

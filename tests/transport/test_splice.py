"""The relay: with both carriers, on both event loops, the same tests."""

import asyncio
import errno
import fcntl
import gc
import os
import random
import select
import socket
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from eps.core.rendezvous import TunnelOutcome
from eps.transport import splice as splice_module
from eps.transport.narrow import FIRST_TAKEN, LEAST_TAKEN, Measure
from eps.transport.pipes import COPY_BYTES, PIPE_BYTES, Carrier, CopyCarrier, PipePool, SpliceCarrier, splice_works
from eps.transport.sockets import UNSENT_BYTES, tune, unsent
from eps.transport.splice import Relay, SpliceResult
from support.sockets import fill, open_files, recv, recv_all, recv_exactly, recv_until_reset, reset, send, tcp_pair

BOTH_LOOPS = True

MakeCarrier = Callable[[], Carrier]


@pytest.fixture
def pool() -> Iterator[PipePool]:
    pool = PipePool()
    yield pool
    assert pool.lent == 0, "a pipe was not given back"
    pool.close()


@pytest.fixture(params=["splice", "copy"])
def carrier(request: pytest.FixtureRequest, pool: PipePool) -> MakeCarrier:
    if request.param == "copy":
        return CopyCarrier
    if not splice_works():
        pytest.skip("this kernel does not splice between sockets and pipes")
    return lambda: SpliceCarrier(pool)


@pytest.fixture(autouse=True)
async def _no_leaks(pool: PipePool) -> AsyncIterator[None]:
    splice_works()  # the probe leaves a pipe in the shared pool
    before = open_files()
    yield
    pool.close()
    assert open_files() <= before, "a file was left open"


@dataclass
class Tunnel:
    """A relay with the two peers at its ends."""

    first: socket.socket
    second: socket.socket
    task: "asyncio.Task[SpliceResult]"
    inside: tuple[socket.socket, socket.socket]

    async def result(self) -> SpliceResult:
        return await asyncio.wait_for(self.task, 30)


async def joined(first: socket.socket, second: socket.socket, **options: Any) -> SpliceResult:
    """Run a relay to its end; a caller that is cancelled stops it."""
    ended: asyncio.Future[SpliceResult] = asyncio.get_running_loop().create_future()
    relay = Relay(first, second, on_end=lambda result: None if ended.done() else ended.set_result(result), **options)
    try:
        relay.start()
        return await ended
    finally:
        relay.stop()


@dataclass
class Tunnels:
    make_carrier: MakeCarrier
    open: list[Tunnel] = field(default_factory=list)

    def __call__(self, *, sndbuf: int = 0, rcvbuf: int = 0, **options: Any) -> Tunnel:
        first, first_inside = tcp_pair(sndbuf=sndbuf, rcvbuf=rcvbuf)
        second, second_inside = tcp_pair(sndbuf=sndbuf, rcvbuf=rcvbuf)
        options = {"idle_timeout": 60.0, "make_carrier": self.make_carrier} | options
        task = asyncio.create_task(joined(first_inside, second_inside, **options))
        self.open.append(Tunnel(first, second, task, (first_inside, second_inside)))
        return self.open[-1]


@asynccontextmanager
async def _tunnels(carrier: MakeCarrier) -> AsyncIterator[Tunnels]:
    tunnels = Tunnels(carrier)
    try:
        yield tunnels
    finally:
        for tunnel in tunnels.open:
            tunnel.task.cancel()
            tunnel.first.close()
            tunnel.second.close()
        await asyncio.gather(*(tunnel.task for tunnel in tunnels.open), return_exceptions=True)
    for tunnel in tunnels.open:
        assert [sock.fileno() for sock in tunnel.inside] == [-1, -1], "the relay closes what it was given"


@pytest.fixture
async def tunnels(carrier: MakeCarrier) -> AsyncIterator[Tunnels]:
    async with _tunnels(carrier) as tunnels:
        yield tunnels


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until ``condition`` holds; for what has no event of its own."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_bytes_cross_in_both_directions(tunnels: Tunnels) -> None:
    tunnel = tunnels()
    await send(tunnel.first, b"ping")
    assert await recv_exactly(tunnel.second, 4) == b"ping"
    await send(tunnel.second, b"pong!")
    assert await recv_exactly(tunnel.first, 5) == b"pong!"
    tunnel.first.close()
    assert await recv(tunnel.second) == b""
    tunnel.second.close()
    result = await tunnel.result()
    assert (result.outcome, result.first_bytes, result.second_bytes) == (TunnelOutcome.FINISHED, 4, 5)
    assert 0 <= result.seconds < 30


@pytest.mark.parametrize("buffers", [0, 4096], ids=["large_buffers", "small_buffers"])
async def test_every_byte_arrives_whatever_the_chunks(tunnels: Tunnels, buffers: int) -> None:
    tunnel = tunnels(sndbuf=buffers, rcvbuf=buffers, first_head=b"head of first", second_head=b"head of second")
    rng = random.Random(7)
    there, back = (
        rng.randbytes(3_000_000 if not buffers else 400_000),
        rng.randbytes(1_500_000 if not buffers else 300_000),
    )

    async def talk(sock: socket.socket, data: bytes, seed: int) -> None:
        sizes, at = random.Random(seed), 0
        while at < len(data):
            size = sizes.choice([1, 17, 1_000, 40_000, 300_000])
            await send(sock, data[at : at + size])
            at += size
        sock.shutdown(socket.SHUT_WR)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(talk(tunnel.first, there, 1))
        group.create_task(talk(tunnel.second, back, 2))
        at_second = group.create_task(recv_all(tunnel.second))
        at_first = group.create_task(recv_all(tunnel.first))
    assert at_second.result() == b"head of first" + there
    assert at_first.result() == b"head of second" + back
    result = await tunnel.result()
    assert (result.first_bytes, result.second_bytes) == (len(there) + 13, len(back) + 14)
    assert result.outcome is TunnelOutcome.FINISHED


async def test_a_long_head_waits_for_room(tunnels: Tunnels) -> None:
    head = random.Random(3).randbytes(2_000_000)
    tunnel = tunnels(sndbuf=4096, rcvbuf=4096, first_head=head)
    await send(tunnel.first, b"tail")
    tunnel.first.shutdown(socket.SHUT_WR)
    assert await recv_all(tunnel.second) == head + b"tail"


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_a_direction_ends_alone(tunnels: Tunnels, size: int) -> None:
    """One side stops sending: the other learns it after the last byte, and can still answer."""
    tunnel = tunnels()
    data = random.Random(5).randbytes(size)
    sending = asyncio.create_task(send(tunnel.first, data))
    if size < 10:
        await sending
        tunnel.first.shutdown(socket.SHUT_WR)
    else:
        sending.add_done_callback(lambda _: tunnel.first.shutdown(socket.SHUT_WR))
    assert await recv_all(tunnel.second) == data
    assert not tunnel.task.done()
    await send(tunnel.second, b"x" * 1_000_000)
    tunnel.second.close()
    assert len(await recv_all(tunnel.first)) == 1_000_000
    assert (await tunnel.result()).outcome is TunnelOutcome.FINISHED


@pytest.mark.parametrize("broken", [0, 1], ids=["first", "second"])
async def test_a_reset_is_one_at_the_other_side(tunnels: Tunnels, broken: int) -> None:
    tunnel = tunnels()
    dying, healthy = (tunnel.first, tunnel.second)[:: -1 if broken else 1]
    await send(dying, b"x")
    await recv_exactly(healthy, 1)
    reset(dying)
    assert await recv_until_reset(healthy) == b""
    assert (await tunnel.result()).outcome is TunnelOutcome.RESET


@pytest.mark.parametrize("size", [10, 200_000, 3_000_000])
async def test_no_byte_before_a_reset_is_lost_on_a_slow_reader(tunnels: Tunnels, size: int) -> None:
    """Bytes wait in three kernels' queues when the sender breaks off: the reset comes behind the last of them."""
    tunnel = tunnels(sndbuf=65536, rcvbuf=65536)
    data = random.Random(size).randbytes(size)
    tunnel.first.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * size)
    sending = asyncio.create_task(send(tunnel.first, data))
    got = bytearray(await recv(tunnel.second, 5))
    while not sending.done() or queued(tunnel.first, termios.TIOCOUTQ):
        await asyncio.sleep(0.001)
        if len(got) < size - 200_000:
            got += await recv(tunnel.second, 50_000)
    reset(tunnel.first)
    got += await recv_until_reset(tunnel.second, pause=0.001)
    assert got == data
    assert (await tunnel.result()).outcome is TunnelOutcome.RESET


async def test_a_side_that_is_gone_behind_its_end_resets_who_still_sends(tunnels: Tunnels) -> None:
    """As on a direct connection: an end of stream comes first, and a reset once bytes come that nobody reads."""
    tunnel = tunnels()
    await send(tunnel.first, b"last words")
    tunnel.first.close()
    assert await recv_all(tunnel.second) == b"last words"
    await send(tunnel.second, b"too late")
    await until(lambda: over(tunnel.inside[0]))  # the relay meets it when it writes next
    await send(tunnel.second, b"too late")
    assert (await tunnel.result()).outcome is TunnelOutcome.RESET
    await until(lambda: over(tunnel.second))  # reset, for only one side had ended it
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await send(tunnel.second, b"too late")


async def test_what_was_sent_before_a_reset_arrives(tunnels: Tunnels) -> None:
    """A server that closes with unread bytes resets; its last words must arrive, though we can't write to it."""
    tunnel = tunnels()
    await send(tunnel.second, b"never read")
    await until(lambda: has_bytes(tunnel.first))
    await send(tunnel.first, b"last words")
    tunnel.first.close()  # with unread bytes: the kernel sends RST
    assert await recv_until_reset(tunnel.second) == b"last words"
    result = await tunnel.result()
    assert (result.outcome, result.first_bytes) == (TunnelOutcome.RESET, 10)


async def test_bytes_and_a_reset_that_come_at_once(tunnels: Tunnels) -> None:
    """uvloop tells of such a socket once: who then reads the bytes only would never hear of the reset."""
    tunnel = tunnels()
    tunnel.first.send(b"last words")
    reset(tunnel.first)
    assert await recv_until_reset(tunnel.second) == b"last words"
    result = await tunnel.result()
    assert (result.outcome, result.first_bytes) == (TunnelOutcome.RESET, 10)


async def test_bytes_and_a_reset_that_a_write_meets_first(tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write uses up the error that the event loop would have told the other direction, which reads there."""
    monkeypatch.setattr(splice_module, "LINGER", 3600.0)
    tunnel = tunnels(sndbuf=4 << 20, rcvbuf=4 << 20)
    for near, far in ((tunnel.first, tunnel.second), (tunnel.second, tunnel.first)):
        await send(near, b"!")  # both are watched now
        await recv_exactly(far, 1)
    tunnel.second.send(b"?")  # and this is seen first
    size = tunnel.first.send(bytes(PIPE_BYTES + COPY_BYTES))  # more than one load, and less than a socket holds
    assert size > PIPE_BYTES
    for _ in range(3000):  # the event loop must not turn before all of it is there
        if queued(tunnel.inside[0], termios.FIONREAD) == size:
            break
        time.sleep(0.01)
    reset(tunnel.first)
    assert len(await recv_until_reset(tunnel.second)) == size
    result = await tunnel.result()
    assert (result.outcome, result.first_bytes) == (TunnelOutcome.RESET, 1 + size)


async def test_a_reset_that_a_write_meets_while_the_other_way_waits_for_room(
    tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice_module, "LINGER", 3600.0)
    tunnel = tunnels(sndbuf=32768, rcvbuf=32768)
    sent = await freeze(tunnel)  # the second side does not read
    there = queued(tunnel.inside[0], termios.FIONREAD)
    assert there, "some of it must not have been taken yet"
    in_flight = sent - queued(tunnel.first, termios.TIOCOUTQ) - there
    tunnel.second.send(b"?")
    reset(tunnel.first)
    received = await recv_until_reset(tunnel.second)
    assert len(received) >= in_flight + there
    assert (await tunnel.result()).outcome is TunnelOutcome.RESET


async def test_a_reset_that_a_write_meets_while_the_sink_has_enough_to_send(
    carrier: MakeCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is pending then, and yet room is waited for: who is registered for a socket that is closed, is called
    for whatever has its number next."""
    monkeypatch.setattr(splice_module, "unsent", lambda sock: UNSENT_BYTES + 1)
    loop = asyncio.get_running_loop()
    with bare_relay(carrier) as it:
        it.relay.start()
        first, second = it.relay.flows
        sink = it.inside[1].fileno()
        it.peers[0].send(b"!")
        await_now(it.inside[0], select.POLLIN)
        first.on_readable()
        it.peers[1].send(b"?")
        await_now(it.inside[1], select.POLLIN)
        reset(it.peers[0])
        await_now(it.inside[0])
        second.on_readable()
        first.on_readable()
        assert first.ended
        assert not loop.remove_writer(sink)
        it.relay.stop()


def await_now(sock: socket.socket, what: int = 0) -> None:
    """Wait for that, or for the connection's end, without a turn of the event loop."""
    waiting = select.poll()
    waiting.register(sock, what)
    assert waiting.poll(30_000)


def queued(sock: socket.socket, queue: int) -> int:
    """How many bytes the kernel holds: received for it (FIONREAD), or sent and not yet at the other end (TIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(sock, queue, bytes(4)), sys.byteorder)


@pytest.mark.parametrize(
    ("error", "state", "is_reset"),
    [(0, 1, False), (0, 7, False), (errno.ECONNRESET, 7, True), (errno.EHOSTUNREACH, 1, False)],
)
def test_an_error_that_passes_is_no_reset(error: int, state: int, is_reset: bool) -> None:
    """A router's word that it knew no way for a moment leaves the connection as it is."""

    class Told(socket.socket):
        def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
            return bytes([state]) if (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO) else error

    with Told() as sock:
        assert splice_module.was_reset(sock) is is_reset


def over(sock: socket.socket) -> bool:
    """Whether the connection is gone altogether."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == splice_module.TCP_CLOSE


def has_bytes(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_bytes_for_a_dead_side_are_read_and_dropped(tunnels: Tunnels) -> None:
    """The healthy side may be writing when the other dies: what it had been sent, it can read all the same."""
    tunnel = tunnels()
    taken = fill(tunnel.second)  # more than the relay and the dead side hold
    await until(lambda: has_bytes(tunnel.first))
    await send(tunnel.first, b"bye")
    reset(tunnel.first)
    assert await recv_until_reset(tunnel.second) == b"bye"
    result = await tunnel.result()
    assert result.outcome is TunnelOutcome.RESET
    assert result.second_bytes <= taken


async def test_a_healthy_side_that_does_not_read_is_reset_in_the_end(
    tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice_module, "LINGER", 0.05)
    tunnel = tunnels(sndbuf=262_144, rcvbuf=4096)
    await send(tunnel.first, bytes(100_000))
    await until(lambda: queued(tunnel.inside[1], termios.TIOCOUTQ) > 50_000 and not has_bytes(tunnel.inside[0]))
    reset(tunnel.first)
    assert (await tunnel.result()).outcome is TunnelOutcome.RESET
    assert len(await recv_until_reset(tunnel.second)) < 50_000


async def test_idle_tunnels_are_closed(tunnels: Tunnels) -> None:
    tunnel = tunnels(idle_timeout=0.05)
    assert await recv(tunnel.first) == b""
    assert await recv(tunnel.second) == b""
    assert (await tunnel.result()).outcome is TunnelOutcome.IDLE


@dataclass
class BareRelay:
    """A relay that the test drives itself, the peers at its ends, and how it has ended."""

    relay: Relay
    peers: tuple[socket.socket, socket.socket]
    inside: tuple[socket.socket, socket.socket]
    ends: list[SpliceResult]


@contextmanager
def bare_relay(carrier: MakeCarrier, idle_timeout: float = 60) -> Iterator[BareRelay]:
    near, first = tcp_pair()
    far, second = tcp_pair()
    ends: list[SpliceResult] = []
    relay = Relay(first, second, idle_timeout=idle_timeout, on_end=ends.append, make_carrier=carrier)
    with near, far:
        yield BareRelay(relay, (near, far), (first, second), ends)


async def test_every_byte_either_way_puts_the_idle_limit_off(carrier: MakeCarrier) -> None:
    with bare_relay(carrier, idle_timeout=3600) as it:
        it.relay.start()
        for near, far in (it.peers, it.peers[::-1]) * 2:
            it.relay.last_progress -= 3599.9  # as if it had been long ago
            await send(near, b"x")
            await recv_exactly(far, 1)
            it.relay.check_idle()
            assert it.ends == []
        it.relay.last_progress -= 3600.1  # and a bit: subtracting and adding again may lose one
        it.relay.check_idle()
        assert [result.outcome for result in it.ends] == [TunnelOutcome.IDLE]


async def freeze(tunnel: Tunnel) -> int:
    """Send to a peer that does not read until nothing has moved for a few turns; how many bytes went in."""
    sent = quiet = 0
    while quiet < 5:
        more = fill(tunnel.first)
        sent += more
        quiet = 0 if more else quiet + 1
        await asyncio.sleep(0.01)
    return sent


async def test_a_frozen_reader_stops_its_sender_and_costs_bounded_memory(tunnels: Tunnels, pool: PipePool) -> None:
    tunnel = tunnels(sndbuf=16384, rcvbuf=16384)
    sent = await freeze(tunnel)
    kernel = 6 * 2 * 16384 * 4  # six socket buffers, which the kernel doubles; generous
    assert sent <= max(PIPE_BYTES, COPY_BYTES) + kernel
    assert pool.lent <= 1

    other = tunnels()  # and it costs nobody else's time
    async with asyncio.timeout(30):
        await asyncio.gather(send(other.first, b"y" * 3_000_000), recv_exactly(other.second, 3_000_000))

    tunnel.first.shutdown(socket.SHUT_WR)
    assert len(await recv_all(tunnel.second)) == sent
    assert pool.lent == 0


async def test_little_waits_in_front_of_a_slow_reader(tunnels: Tunnels, carrier: MakeCarrier) -> None:
    """What one sends who has much to say is in front of what is small: whatever waits here takes its time to go out."""
    carriers = [carrier(), carrier()]
    made = iter(carriers)
    tunnel = tunnels(make_carrier=lambda: next(made))
    for inside in tunnel.inside:
        tune(inside)
    tunnel.second.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sending = asyncio.create_task(send(tunnel.first, bytes(40_000_000)))
    waiting = []
    for _ in range(40):
        await recv_exactly(tunnel.second, 16_384)
        await asyncio.sleep(0.02)
        waiting.append(unsent(tunnel.inside[1]) + carriers[0].pending)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert max(waiting) < 400 * 1024, "a whole carrier would be twice as much"


def test_a_sink_gets_what_it_sends_in_a_moment() -> None:
    measure = Measure()
    measure.waits(UNSENT_BYTES + 100_000, 5.0)
    measure.waited(6.0)
    assert measure.most == LEAST_TAKEN, "100 kB/s"
    measure.waits(UNSENT_BYTES + 2_000_000, 6.0)
    measure.waited(7.0)
    assert measure.most == 200_000
    measure.waits(0, 7.0)
    measure.waited(7.0)
    assert measure.most == LEAST_TAKEN
    measure.waits(PIPE_BYTES, 7.0)
    measure.waited(7.001)
    assert measure.most == PIPE_BYTES


def test_a_sink_that_is_in_time_gets_more() -> None:
    measure = Measure()
    measure.went_through(FIRST_TAKEN - 1)
    assert measure.most == FIRST_TAKEN, "there was no more"
    for _ in range(9):
        measure.went_through(measure.most)
    assert measure.most == PIPE_BYTES


async def test_frozen_readers_that_hold_all_large_pipes_leave_small_ones_for_others(
    carrier: MakeCarrier,
) -> None:
    if carrier is CopyCarrier:
        pytest.skip("there are no pipes")
    small = PipePool(2 * PIPE_BYTES)
    async with _tunnels(lambda: SpliceCarrier(small)) as tunnels:
        for _ in range(4):
            await freeze(tunnels(sndbuf=16384, rcvbuf=16384))
        assert small.lent == 4
        other = tunnels()
        await asyncio.gather(send(other.first, b"y" * 3_000_000), recv_exactly(other.second, 3_000_000))
    assert small.lent == 0
    small.close()


async def test_two_hundred_tunnels_at_once(tunnels: Tunnels, pool: PipePool) -> None:
    data = [random.Random(seed).randbytes(60_000) for seed in range(200)]

    async def through(payload: bytes) -> None:
        tunnel = tunnels()
        await asyncio.gather(send(tunnel.first, payload), recv_exactly(tunnel.second, len(payload)))
        tunnel.second.close()
        assert await recv(tunnel.first) == b""
        tunnel.first.close()
        result = await tunnel.result()
        assert (result.outcome, result.first_bytes) == (TunnelOutcome.FINISHED, len(payload))

    async with asyncio.timeout(60):
        await asyncio.gather(*map(through, data))


async def test_cancelling_closes_both_sides(tunnels: Tunnels) -> None:
    tunnel = tunnels(sndbuf=16384, rcvbuf=16384)
    fill(tunnel.first)
    await until(lambda: has_bytes(tunnel.second))  # so that bytes are in flight
    tunnel.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tunnel.result()
    await recv_all(tunnel.second)


async def test_cancelled_before_it_began(carrier: MakeCarrier) -> None:
    async with _tunnels(carrier) as tunnels:
        tunnel = tunnels()
        tunnel.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tunnel.result()
        for sock in tunnel.inside:  # nobody had begun to own them
            sock.close()


async def test_stop_ends_once(carrier: MakeCarrier) -> None:
    with bare_relay(carrier) as it:
        it.relay.start()
        it.relay.stop()
        it.relay.stop()
        it.relay.side_broke()
        assert [result.outcome for result in it.ends] == [TunnelOutcome.STOPPED]


async def test_a_relay_that_cannot_begin_closes_both(carrier: MakeCarrier) -> None:
    with bare_relay(carrier) as it:
        it.inside[1].close()
        with pytest.raises((ValueError, OSError)):
            it.relay.start()
        assert it.inside[0].fileno() == -1
        assert len(it.ends) == 1


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EMFILE])
async def test_copies_where_splice_fails(pool: PipePool, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel, a socket or a file limit that does not allow it costs speed, not the connection."""

    def fails(*args: Any, **kwargs: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "splice", fails)
    async with _tunnels(lambda: SpliceCarrier(pool)) as tunnels:
        tunnel = tunnels()
        await send(tunnel.first, b"all the same")
        assert await recv_exactly(tunnel.second, 12) == b"all the same"


async def test_a_sink_that_is_gone_when_the_source_ends(tunnels: Tunnels) -> None:
    tunnel = tunnels()
    await send(tunnel.first, b"x")
    await recv_exactly(tunnel.second, 1)
    reset(tunnel.first)
    reset(tunnel.second)
    assert (await tunnel.result()).outcome is TunnelOutcome.RESET


async def test_wakings_for_nothing_do_no_harm(carrier: MakeCarrier) -> None:
    with bare_relay(carrier) as it:
        it.relay.start()
        it.relay.flows[0].on_readable()
        assert it.relay.flows[0].moved == 0
        it.relay.stop()


async def test_relays_that_have_ended_are_gone(carrier: MakeCarrier) -> None:
    """In circles they would stay until the cycle collector looks: with a thousand tunnels a second, 100 MB."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            with bare_relay(carrier) as it:
                it.relay.start()
                it.relay.stop()
            del it
        assert gc.collect() < 20
    finally:
        gc.enable()


@pytest.mark.parametrize("waits", [False, True], ids=["on reading", "on writing"])
async def test_a_side_that_had_ended_and_then_resets_leaves_no_error(carrier: MakeCarrier, waits: bool) -> None:
    """The relay ends while it gives the bytes on: behind that its sockets are closed, and their numbers others'."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    with bare_relay(carrier) as it:
        it.relay.start()
        near, far = it.peers
        far.shutdown(socket.SHUT_WR)
        assert await recv(near) == b""
        if waits:
            await until(lambda: fill(near) == 0 and it.relay.flows[0]._carrier.pending > 0)
        reset(far)
        with suppress(OSError):
            await send(near, b"x" if not waits else b"")
        await until(lambda: bool(it.ends))
        await asyncio.sleep(0.02)
    assert [end.outcome for end in it.ends] == [TunnelOutcome.RESET]
    assert errors == []

"""What may wait in front of what is small: so long as a sink's work, never so many bytes."""

import select
import socket
from collections.abc import Iterator

import pytest

from eps.transport.narrow import (
    BESIDES,
    FIRST_HELD,
    GROWTH,
    HELD,
    LEAST_HELD,
    SAMPLE,
    Promise,
    Room,
)
from eps.transport.sockets import keeps, may_bound, received
from support.sockets import fill, tcp_pair


class Sink:
    """One that is waited for all the time, ten times a second.

    Attributes:
        changed: what was bounded, whenever that has changed.
    """

    def __init__(self) -> None:
        self.promise = Promise()
        self.now, self.confirmed = 100.0, 0.0
        self.changed: list[int | None] = []

    def works(self, rate: float, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.confirmed += rate / 10
            if self.promise.most is None:
                changed = self.promise.worked(int(rate / 10), 0.1)
            else:
                changed = self.promise.looked(int(self.confirmed), self.now)
            if changed:
                self.changed.append(self.promise.most)


def test_what_a_slow_sink_has_may_wait_for_a_second() -> None:
    sink = Sink()
    assert sink.promise.most == FIRST_HELD
    sink.works(64_000, 0.6)
    assert not sink.changed, "one sample is not enough"
    sink.works(64_000, 5)
    assert sink.promise.most is not None
    assert sink.promise.most + BESIDES == pytest.approx(64_000 * HELD, rel=0.02)
    sink.works(1_000, 5)
    assert sink.promise.most == LEAST_HELD


def test_it_gets_quicker_and_slower_again() -> None:
    sink = Sink()
    sink.works(64_000, 5)
    sink.works(10e6, 5)
    assert sink.promise.most is None
    steps = [after / before for before, after in zip(sink.changed, sink.changed[1:], strict=False) if before and after]
    assert max(steps) <= GROWTH, "what has waited may go out in a burst"
    sink.works(64_000, 3)
    assert sink.promise.most is not None and sink.promise.most < 64_000


def test_a_burst_of_confirmations_is_not_a_quick_line() -> None:
    """As behind a lost packet: nothing is confirmed for a second, and then all of it at once."""
    sink = Sink()
    sink.works(64_000, 5)
    bounded = sink.promise.most
    for _ in range(5):
        sink.works(0, 0.8)
        sink.confirmed += 0.8 * 64_000
        sink.works(64_000, 2)
        assert sink.promise.most is not None and bounded is not None
        assert LEAST_HELD <= sink.promise.most <= 2 * bounded


@pytest.mark.parametrize("away", [0.02, 0.25, 0.6])
def test_a_source_that_is_far_gets_all_in_the_end(away: float) -> None:
    """It sends what it was promised, once in ``away`` seconds; the sink never has to be waited for."""
    promise, now, confirmed, took = Promise(), 100.0, 0, 0.0
    while promise.most is not None:
        confirmed += promise.most
        now, took = now + away, took + away
        if promise.passed(promise.most, now):
            promise.proved(confirmed)
        assert took < 12 * away, "it grows with each round trip"


def test_a_source_that_has_little_to_say_changes_nothing() -> None:
    promise, confirmed = Promise(), 0
    for number in range(1_000):
        confirmed += 1_000
        assert not promise.passed(1_000, 100.0 + number / 30)
    assert promise.most == FIRST_HELD


def test_what_went_through_and_has_not_arrived_proves_nothing() -> None:
    promise = Promise()
    assert promise.passed(FIRST_HELD, 100.0)
    assert not promise.proved(FIRST_HELD - 1), "a router may have it"
    assert promise.passed(FIRST_HELD, 100.1)
    assert promise.proved(2 * FIRST_HELD)
    assert promise.most == GROWTH * FIRST_HELD


def test_pauses_say_nothing() -> None:
    sink = Sink()
    sink.works(3_000_000, SAMPLE)
    sink.now += 60
    sink.works(3_000_000, 2 * SAMPLE)
    sink.now += 60
    sink.works(3_000_000, 3 * SAMPLE)
    assert sink.promise.most == GROWTH * FIRST_HELD


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = tcp_pair()
    with near, far:
        if not may_bound(far):
            pytest.skip("this kernel finds out how large buffers are but once")
        yield near, far


def take(sock: socket.socket, size: int) -> None:
    """Read so many bytes, which have been sent."""
    while size:
        assert select.select([sock], [], [], 30.0)[0]
        size -= len(sock.recv(size))


def test_less_is_kept_once_what_was_promised_has_come(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    before = keeps(far)
    room = Room(far, LEAST_HELD, 0)
    fill(near)
    assert keeps(far) == before, "it was promised"
    room.moved(before // 2 - 1)
    assert keeps(far) == before
    moved = 0
    while keeps(far) > 2 * LEAST_HELD:
        take(far, LEAST_HELD)
        fill(near)
        moved += LEAST_HELD
        assert moved < 100 * before
        room.moved(moved)
    take(far, 2 * before)
    fill(near)
    assert received(far) <= 2 * LEAST_HELD


def test_more_is_kept_again(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    room = Room(far, LEAST_HELD, 0)
    room.moved(keeps(far))
    assert keeps(far) == 2 * LEAST_HELD
    room.become(4 * LEAST_HELD, 0)
    assert keeps(far) == 8 * LEAST_HELD
    room.become(None, 0)
    assert may_bound(far), "the kernel finds out again"
    kept = keeps(far)
    for _ in range(200):
        take(far, fill(near))
    assert keeps(far) >= kept


def test_what_somebody_else_has_bounded_stays_so(pair: tuple[socket.socket, socket.socket]) -> None:
    _, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
    room = Room(far, LEAST_HELD, 0)
    room.moved(1 << 20)
    room.become(None, 0)
    assert keeps(far) == 100_000 and not may_bound(far)

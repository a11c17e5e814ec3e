"""What is in front of small messages on a narrow line: how much is taken, and kept, of a source."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from eps.transport.narrow import FAR, FIRST_FLIGHT, FIRST_ROOM, LEAST_ROOM, PROOF_BYTES, QUICK, Room
from eps.transport.sockets import Buffer, bound, may_bound
from support.sockets import fill, tcp_pair


def kept(sock: socket.socket, option: int) -> int:
    """Bytes, by the kernel's own count: it doubles what it is asked for."""
    return sock.getsockopt(socket.SOL_SOCKET, option) // 2


@contextmanager
def between() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The source and the sink of a flow."""
    near, source = tcp_pair()
    sink, far = tcp_pair()
    with near, source, sink, far:
        if not may_bound(source, Buffer.RECEIVE):
            pytest.skip("this kernel does not take bounds back")
        yield source, sink


def test_little_is_kept_until_a_sink_is_known_to_be_quick() -> None:
    with between() as (source, sink):
        room = Room(source, sink, 0.0)
        assert not room.is_free
        assert (kept(source, socket.SO_RCVBUF), kept(sink, socket.SO_SNDBUF)) == (FIRST_ROOM, FIRST_FLIGHT)
        room.passed(PROOF_BYTES, 1.01 * PROOF_BYTES / QUICK)
        assert not room.is_free, "too slow"
        room.passed(2 * PROOF_BYTES - 1, 2.0)
        assert not room.is_free, "that was not enough to see"
        room.passed(2 * PROOF_BYTES, 2.0)
        assert room.is_free
        assert may_bound(source, Buffer.RECEIVE) and may_bound(sink, Buffer.SEND)
        assert kept(source, socket.SO_RCVBUF) > FIRST_ROOM < kept(sink, socket.SO_SNDBUF)


def test_what_the_far_side_has_not_confirmed_shows_nothing() -> None:
    with between() as (source, sink):
        room = Room(source, sink, 0.0)
        waiting = fill(sink)
        room.passed(PROOF_BYTES + waiting // 2, 0.1)
        assert not room.is_free


def test_a_narrow_line_has_less() -> None:
    with between() as (source, sink):
        room = Room(source, sink, 0.0)
        room.waited(QUICK * 0.8, 1000, 1.0)
        assert kept(source, socket.SO_RCVBUF) == int(QUICK * 0.8 * FAR)
        room.waited(1.0, 1000, 1.0)
        assert kept(source, socket.SO_RCVBUF) == LEAST_ROOM
        room.waited(QUICK, 1000, 1.0)
        room.waited(0.0, 1000, 1.0)
        assert kept(source, socket.SO_RCVBUF) == LEAST_ROOM, "neither says anything"


def test_one_that_turns_narrow_grows_no_more_until_it_is_quick_again() -> None:
    with between() as (source, sink):
        room = Room(source, sink, 0.0)
        room.passed(PROOF_BYTES, 0.1)
        before = kept(source, socket.SO_RCVBUF)
        room.waited(QUICK / 2, PROOF_BYTES, 1.0)
        assert not room.is_free
        assert kept(source, socket.SO_RCVBUF) == before, "what was promised may come"
        assert not may_bound(source, Buffer.RECEIVE) and not may_bound(sink, Buffer.SEND)
        room.passed(2 * PROOF_BYTES, 1.1)
        assert room.is_free and may_bound(source, Buffer.RECEIVE)


def test_buffers_that_somebody_has_bounded_are_left_alone() -> None:
    with between() as (source, sink):
        bound(source, Buffer.RECEIVE, 50_000)
        room = Room(source, sink, 0.0)
        assert room.is_free
        room.waited(1.0, 0, 1.0)
        assert kept(source, socket.SO_RCVBUF) == 50_000

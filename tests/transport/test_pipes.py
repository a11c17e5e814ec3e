"""Pipes and the two carriers."""

import errno
import fcntl
import os
import socket
from typing import Any

import pytest

from eps.transport import pipes
from eps.transport.pipes import (
    PIPE_BYTES,
    SPARE_SMALL_PIPES,
    CopyCarrier,
    Pipe,
    PipePool,
    SpliceCarrier,
    best_carrier,
    shared_pool,
    splice_works,
)
from support.sockets import fill, open_files, tcp_pair

needs_splice = pytest.mark.skipif(not splice_works(), reason="this kernel does not splice between sockets and pipes")


def drain(sock: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            data += sock.recv(1 << 18)
        except BlockingIOError:
            return data


def test_large_pipes_within_the_budget_then_small_ones() -> None:
    before = open_files()
    pool = PipePool(2 * PIPE_BYTES)
    lent = [pool.borrow() for _ in range(4)]
    assert [pipe.size >= PIPE_BYTES for pipe in lent] == [True, True, False, False]
    for pipe in lent:
        pool.give_back(pipe, empty=True)
    assert [pool.borrow() for _ in range(4)] == [lent[1], lent[0], lent[3], lent[2]], "large first, and warm ones first"
    for pipe in lent:
        pool.give_back(pipe, empty=True)
    assert pool.lent == 0
    pool.close()
    assert open_files() == before


def test_a_pipe_with_bytes_in_it_is_never_lent_again() -> None:
    before = open_files()
    pool = PipePool(PIPE_BYTES)
    pipe = pool.borrow()
    os.write(pipe.write_end, b"secret")
    pool.give_back(pipe, empty=False)
    assert open_files() == before
    again = pool.borrow()
    assert again is not pipe
    assert again.size >= PIPE_BYTES, "its place in the budget is free again"
    pool.give_back(again, empty=True)
    pool.close()
    reopened = pool.borrow()
    assert reopened.size >= PIPE_BYTES
    pool.give_back(reopened, empty=False)


def test_only_some_small_pipes_are_kept() -> None:
    before = open_files()
    pool = PipePool(0)
    lent = [pool.borrow() for _ in range(SPARE_SMALL_PIPES + 3)]
    for pipe in lent:
        pool.give_back(pipe, empty=True)
    assert open_files() == before + 2 * SPARE_SMALL_PIPES
    pool.close()
    assert open_files() == before


def test_a_user_who_has_no_large_pipes_left(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.fcntl

    def refuse(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            raise PermissionError(errno.EPERM, "no")
        return int(real(fd, command, argument))

    monkeypatch.setattr(pipes.fcntl, "fcntl", refuse)
    pool = PipePool()
    pipe = pool.borrow()
    assert 0 < pipe.size < PIPE_BYTES
    pool.give_back(pipe, empty=True)
    pool.close()


@pytest.fixture(params=["splice", "copy"])
def carrier(request: pytest.FixtureRequest) -> Any:
    if request.param == "copy":
        return CopyCarrier()
    if not splice_works():
        pytest.skip("this kernel does not splice between sockets and pipes")
    return SpliceCarrier(PipePool())


def close_pool(carrier: Any) -> None:
    if isinstance(carrier, SpliceCarrier):
        assert carrier.pool.lent == 0
        carrier.pool.close()


def test_carries_and_borrows_nothing_afterwards(carrier: Any) -> None:
    near, source = tcp_pair()
    sink, far = tcp_pair()
    with near, source, sink, far:
        with pytest.raises(BlockingIOError):
            carrier.take(source)
        assert carrier.pending == 0
        near.send(b"hello")
        assert carrier.take(source) == carrier.pending == 5
        assert carrier.put(sink) == 5
        assert carrier.pending == 0
        assert far.recv(10) == b"hello"
        near.shutdown(socket.SHUT_WR)
        assert carrier.take(source) == 0
    close_pool(carrier)


def test_keeps_what_the_sink_does_not_take(carrier: Any) -> None:
    near, source = tcp_pair()
    sink, far = tcp_pair(sndbuf=4096, rcvbuf=4096)
    with near, source, sink, far:
        stuffing = fill(sink)
        near.send(b"0123456789" * 3000)
        assert carrier.take(source) == 30_000
        with pytest.raises(BlockingIOError):
            carrier.put(sink)
        other_near, other = tcp_pair()
        with other_near, other:  # another one of its kind works in between
            other_near.send(b"Z" * 30_000)
            second = CopyCarrier()
            second.take(other)
            second.drop()
        received = b""
        while carrier.pending:
            received += drain(far)
            try:
                carrier.put(sink)
            except BlockingIOError:
                continue
        while len(received) < stuffing + 30_000:
            received += drain(far)
        assert received == b"x" * stuffing + b"0123456789" * 3000
    close_pool(carrier)


def test_drops_what_is_pending(carrier: Any) -> None:
    near, source = tcp_pair()
    with near, source:
        near.send(b"hello")
        carrier.take(source)
        carrier.drop()
        carrier.drop()
        assert carrier.pending == 0
    close_pool(carrier)


def test_a_head_is_pending_from_the_start() -> None:
    sink, far = tcp_pair()
    with sink, far:
        carrier = CopyCarrier(b"read before")
        assert carrier.pending == 11
        assert carrier.put(sink) == 11
        assert far.recv(100) == b"read before"


@pytest.fixture
def _probe_again() -> Any:
    splice_works.cache_clear()
    yield
    splice_works.cache_clear()


@needs_splice
@pytest.mark.usefixtures("_probe_again")
def test_the_probe_finds_splice() -> None:
    assert isinstance(best_carrier(), SpliceCarrier)
    assert shared_pool().lent == 0


@pytest.mark.usefixtures("_probe_again")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_the_probe_finds_no_splice(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fails(*args: Any, **kwargs: Any) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "splice", fails)
    assert isinstance(best_carrier(), CopyCarrier)
    assert shared_pool().lent == 0


@pytest.mark.usefixtures("_probe_again")
def test_the_probe_on_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "splice")
    assert isinstance(best_carrier(), CopyCarrier)


def test_a_pipe_does_not_block() -> None:
    pipe = Pipe()
    with pytest.raises(BlockingIOError):
        os.read(pipe.read_end, 1)
    pipe.close()

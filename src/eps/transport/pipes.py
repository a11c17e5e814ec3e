"""Two ways to carry bytes from one socket to another, for ``transport.splice``.

Both take bytes from a source and put them into a sink, and hold what the sink did not take:

    SpliceCarrier   socket → pipe → socket inside the kernel (splice(2)); no byte passes through this process
    CopyCarrier     recv into one buffer that all share, send from it; what is left over is kept apart

Pipes are the scarce thing: an unprivileged process may have 64 MiB of them (pipe-user-pages-soft) before the kernel
shrinks new ones to two pages. So a carrier borrows one from :class:`PipePool` only while bytes are inside.
"""

import errno
import fcntl
import os
import select
import socket
import sys
from functools import cache
from typing import Protocol

PIPE_BYTES = 1024 * 1024
"""Of a pooled pipe, and the most that one direction of a tunnel has in flight here. The most that an unprivileged
process may ask for (pipe-max-size); smaller ones cost more system calls per byte."""

POOL_BYTES = 48 * 1024 * 1024
"""For all pipes of 1 MiB together: 16 MiB of an unprivileged process's 64 stay for 256 pipes of default size."""

SPARE_SMALL_PIPES = 16
"""Default-size pipes that are kept when nobody needs them; more are closed."""

COPY_BYTES = 256 * 1024
"""The shared buffer of all copying carriers, and the most that one of them keeps for a sink that does not read."""

GIVE_UP_ON_SPLICE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors before a byte has moved that mean: not with this kernel, this socket, or these limits. Copy instead."""


class Carrier(Protocol):
    """What moves the bytes of one direction of a relay. Sockets are non-blocking."""

    pending: int
    """Bytes taken from the source that the sink has not got yet."""

    def take(self, source: socket.socket, most: int = PIPE_BYTES) -> int:
        """Take what the source has, up to ``most`` bytes and the carrier's room; only while nothing is pending.

        Returns:
            Bytes taken; 0 at the end of the stream.

        Raises:
            BlockingIOError: nothing has come.
            OSError: the source is broken, or (:data:`GIVE_UP_ON_SPLICE`) this carrier can't serve it.
        """
        ...

    def put(self, sink: socket.socket) -> int:
        """Give the sink as much as it takes of what is pending.

        Raises:
            BlockingIOError: it takes nothing now.
            OSError: the sink is broken.
        """
        ...

    def drop(self) -> None:
        """Forget what is pending and give everything back."""
        ...


class Pipe:
    """A non-blocking kernel pipe."""

    __slots__ = ("read_end", "size", "write_end")

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.size = fcntl.fcntl(self.write_end, fcntl.F_GETPIPE_SZ)

    def grow(self) -> bool:
        """Make it :data:`PIPE_BYTES` large; False where the kernel does not let us."""
        try:
            self.size = fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            return False
        return True

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


class PipePool:
    """Empty pipes, large ones first. The last one given back is the next one lent: its memory is still in cache."""

    def __init__(self, budget: int = POOL_BYTES) -> None:
        self._may_grow = budget // PIPE_BYTES
        self._large: list[Pipe] = []
        self._small: list[Pipe] = []
        self.lent = 0

    def borrow(self) -> Pipe:
        """An empty pipe.

        Raises:
            OSError: there are too many open files.
        """
        pipe = self._large.pop() if self._large else self._create()
        self.lent += 1
        return pipe

    def give_back(self, pipe: Pipe, *, empty: bool) -> None:
        """End a loan; a pipe that is not empty is closed, for nobody else may see what is in it."""
        self.lent -= 1
        large = pipe.size >= PIPE_BYTES
        if empty and large:
            self._large.append(pipe)
        elif empty and len(self._small) < SPARE_SMALL_PIPES:
            self._small.append(pipe)
        else:
            pipe.close()
            self._may_grow += large

    def close(self) -> None:
        """Close the pipes that are not lent; the pool can still be used."""
        self._may_grow += len(self._large)
        for pipe in (*self._large, *self._small):
            pipe.close()
        self._large.clear()
        self._small.clear()

    def _create(self) -> Pipe:
        if not self._may_grow and self._small:
            return self._small.pop()
        pipe = Pipe()
        if self._may_grow and pipe.grow():
            self._may_grow -= 1
        return pipe


@cache
def shared_pool() -> PipePool:
    """The process's one pool: the kernel counts pipes per user, not per tunnel."""
    return PipePool()


class SpliceCarrier:
    """Carries inside the kernel."""

    __slots__ = ("_pipe", "pending", "pool")

    def __init__(self, pool: PipePool) -> None:
        self.pending = 0
        self.pool = pool
        self._pipe: Pipe | None = None

    def take(self, source: socket.socket, most: int = PIPE_BYTES) -> int:
        pipe = self._pipe = self.pool.borrow()
        try:
            self.pending = os.splice(
                source.fileno(), pipe.write_end, min(pipe.size, most), flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
            )
        finally:
            if not self.pending:
                self.drop()
        return self.pending

    def put(self, sink: socket.socket) -> int:
        assert self._pipe is not None  # something is pending
        # No SPLICE_F_MORE: the kernel would hold the last segment back for up to 200 ms.
        put = os.splice(self._pipe.read_end, sink.fileno(), self.pending, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        self.pending -= put
        if not self.pending:
            self.drop()
        return put

    def drop(self) -> None:
        if self._pipe is not None:
            self.pool.give_back(self._pipe, empty=not self.pending)
            self._pipe, self.pending = None, 0


@cache
def _shared_buffer() -> memoryview:
    return memoryview(bytearray(COPY_BYTES))


class CopyCarrier:
    """Carries through one buffer that all copying carriers share.

    ``take`` leaves the bytes in the shared buffer, ``put`` moves what the sink did not take out of it. So between the
    two no other carrier may run; nothing here ever waits, so none does.

    Args:
        head: bytes that were read from the source before; they are pending from the start.
    """

    __slots__ = ("_in_shared_buffer", "_left", "pending")

    def __init__(self, head: bytes = b"") -> None:
        self._left = memoryview(head)
        self._in_shared_buffer = False
        self.pending = len(head)

    def take(self, source: socket.socket, most: int = PIPE_BYTES) -> int:
        buffer = _shared_buffer()
        self.pending = source.recv_into(buffer, min(len(buffer), most))
        self._left, self._in_shared_buffer = buffer[: self.pending], True
        return self.pending

    def put(self, sink: socket.socket) -> int:
        put = 0
        try:
            put = sink.send(self._left)
        finally:
            self._left = self._left[put:]
            self.pending -= put
            if self._in_shared_buffer:
                self._left, self._in_shared_buffer = memoryview(bytes(self._left)), False
        return put

    def drop(self) -> None:
        self._left, self._in_shared_buffer, self.pending = memoryview(b""), False, 0


@cache
def splice_works() -> bool:
    """Whether this kernel moves bytes between TCP sockets and pipes: tried once, with one byte over loopback."""
    if not sys.platform.startswith("linux") or not hasattr(os, "splice"):
        return False
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
            far, _ = server.accept()
            with far:
                return _moves_a_byte(near, far)
    except OSError:
        return False


def _moves_a_byte(near: socket.socket, far: socket.socket) -> bool:
    """Send a byte from ``near``, splice it back at ``far``, and see whether it returns."""
    carrier = SpliceCarrier(shared_pool())
    try:
        near.sendall(b"?")
        waiting = select.poll()  # select() itself refuses descriptors above 1,023
        waiting.register(far, select.POLLIN)
        waiting.poll(1000)
        carrier.take(far)
        carrier.put(far)
        near.settimeout(1.0)
        return near.recv(1) == b"?"
    finally:
        carrier.drop()


def best_carrier() -> Carrier:
    """A new carrier of the fastest kind that works here."""
    return SpliceCarrier(shared_pool()) if splice_works() else CopyCarrier()

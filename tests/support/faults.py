"""Networks as they are on a bad day: a TCP forwarder that is late, narrow, deaf or gone, and links between network
namespaces that are cut.

async with FaultProxy(port) as bad:          # stands before 127.0.0.1:port, at bad.port
    bad.weather = Weather(latency=0.2)
    bad.swallow()                            # half-open: whoever writes hears nothing any more
    bad.heal()
    bad.reset()
"""

import asyncio
import contextlib
import random
import socket
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from support.sockets import reset

PIECE = 65_536
"""Bytes that are forwarded at once, at the most."""

MOST_UNDER_WAY = 1 << 20
"""Bytes of a direction that are on their way; beyond it the sender has to wait, as on a real line."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How bytes travel, each way.

    Attributes:
        latency: seconds for each piece.
        jitter: up to so many seconds more, by chance; the order stays.
        piece: the most bytes of a piece: 1 is the worst slicing.
        rate: bytes per second; 0: as fast as it goes.
        under_way: how many bytes wait on the line at the most; a slow line with a long queue is late for all.
    """

    latency: float = 0.0
    jitter: float = 0.0
    piece: int = PIECE
    rate: float = 0.0
    under_way: int = MOST_UNDER_WAY


CALM = Weather()


class FaultProxy:
    """Forwards TCP connections from a port of its own to ``127.0.0.1:target``.

    Args:
        buffers: bytes that the kernel takes of each connection before they are on the line; 0: as many as it likes.

    Attributes:
        weather: for all connections, from now on.
        accepted: connections that came so far.
    """

    def __init__(self, target: int, *, weather: Weather = CALM, port: int = 0, seed: int = 1, buffers: int = 0) -> None:
        self.target = target
        self.weather = weather
        self.accepted = 0
        self._random = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", port))
        self._buffers = buffers
        if buffers:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        self._listening.setblocking(False)
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Event()
        self._moving.set()
        self._swallows = False

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    @property
    def open(self) -> int:
        """Connections that are forwarded now."""
        return len(self._lines)

    async def __aenter__(self) -> "FaultProxy":
        self._own(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listening.close()

    # What goes wrong

    def freeze(self) -> None:
        """Forward nothing; what is sent fills buffers, then its sender has to wait."""
        self._moving.clear()

    def swallow(self) -> None:
        """Half-open: whatever is sent is taken and lost, new connections are accepted and hear nothing."""
        self._swallows = True

    def heal(self) -> None:
        """As before. What was swallowed is lost: connections that missed bytes are reset, as real ones would be."""
        if self._swallows:
            for line in list(self._lines):
                if line.lost:
                    line.break_off()
        self._swallows = False
        self._moving.set()

    def reset(self) -> None:
        """End all connections with a reset, at both ends."""
        for line in list(self._lines):
            line.break_off()

    # Forwarding

    def _own(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._listening)
            self.accepted += 1
            self._own(self._serve(near))

    async def _serve(self, near: socket.socket) -> None:
        near.setblocking(False)
        far = socket.socket()
        far.setblocking(False)
        if self._buffers:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffers)
        line = _Line(near, far)
        self._lines.add(line)
        try:
            await asyncio.get_running_loop().sock_connect(far, ("127.0.0.1", self.target))
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as group:
                line.tasks = [group.create_task(self._pump(line, *way)) for way in ((near, far), (far, near))]
        except* (OSError, asyncio.CancelledError):
            line.break_off()
        finally:
            self._lines.discard(line)
            near.close()
            far.close()

    async def _pump(self, line: "_Line", source: socket.socket, sink: socket.socket) -> None:
        """Bytes of one direction, until their end, which is passed on."""
        loop = asyncio.get_running_loop()
        way = _Way()
        sending = asyncio.create_task(self._deliver(way, sink))
        try:
            while True:
                await self._moving.wait()
                await way.room(self.weather.under_way)
                data = await loop.sock_recv(source, self.weather.piece)
                if self._swallows:
                    line.lost = True
                    if not data:
                        await asyncio.Event().wait()  # nor is the end heard
                    continue
                way.put(data, self._due(way, len(data)))
                if not data:
                    await sending
                    return
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _due(self, way: "_Way", size: int) -> float:
        weather = self.weather
        now = asyncio.get_running_loop().time()
        way.clear_at = max(now, way.clear_at) + (size / weather.rate if weather.rate else 0.0)
        due = way.clear_at + weather.latency + self._random.uniform(0, weather.jitter)
        way.last_due = max(due, way.last_due)
        return way.last_due

    async def _deliver(self, way: "_Way", sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data, due = await way.next()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._moving.wait()
            if not data:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(sink, data)
            way.arrived(len(data))


class _Line:
    """One forwarded connection."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.ends = (near, far)
        self.tasks: list[asyncio.Task[None]] = []
        self.lost = False

    def break_off(self) -> None:
        for task in self.tasks:
            task.cancel()
        for end in self.ends:
            if end.fileno() >= 0:
                reset(end)


class _Way:
    """The bytes of one direction that are under way."""

    def __init__(self) -> None:
        self.clear_at = 0.0
        self.last_due = 0.0
        self._pieces: deque[tuple[bytes, float]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._space = asyncio.Event()

    async def room(self, most: int) -> None:
        while self._bytes >= most:
            self._space.clear()
            await self._space.wait()

    def put(self, data: bytes, due: float) -> None:
        self._pieces.append((data, due))
        self._bytes += len(data)
        self._news.set()

    async def next(self) -> tuple[bytes, float]:
        while not self._pieces:
            self._news.clear()
            await self._news.wait()
        return self._pieces.popleft()

    def arrived(self, size: int) -> None:
        self._bytes -= size
        self._space.set()


@contextlib.asynccontextmanager
async def late_for_the_first(target: int, seconds: float) -> AsyncIterator[int]:
    """A port before ``127.0.0.1:target`` that the first connection comes through so much later."""
    came: list[asyncio.Task[None]] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float) -> None:
        try:
            await asyncio.sleep(late)  # it is time that has to pass
            there, far = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(_pour(reader, far), _pour(there, writer), return_exceptions=True)
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(asyncio.create_task(forward(reader, writer, 0.0 if came else seconds)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in came:
            task.cancel()
        await asyncio.gather(*came, return_exceptions=True)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()

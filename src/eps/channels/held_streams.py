"""The ``ServerCall`` streams that we hold open to others, so that they can call us though they can't dial us.

PROTOCOL.md section 3. One ``_Holder`` per operator keeps one stream, ends the old one before it opens the next, and
answers what comes down. How answers go back depends on who asks (section 9): a server like ours says in its metadata
that it takes answers in any order, so a slow call delays no other; any other server takes the next message as the
answer to its last request, so each request is answered exactly once and in the order received.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from eps.channels.grpc import codec
from eps.channels.grpc import eps_pb2 as pb
from eps.channels.grpc.connection import ClientConnection, ReverseStream
from eps.channels.grpc.streams import STREAM_METADATA, answers_unordered
from eps.core.event import Emit, Level, Notice, PeerChanged
from eps.core.message import error_response
from eps.core.names import Operator
from eps.directories import DirectorySource
from eps.errors import EpsError, InternalError
from eps.transport.tasks import Tasks

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between attempts to open a stream. The network must be whole again 5 s after its last piece came up."""

CONNECT_TIMEOUT = 10.0
"""Seconds for one attempt."""

MAX_CALLS = 1000
"""Requests of one stream handled at once; more wait unread, and the sender feels it (HTTP/2 flow control)."""

HANDLING_FAILED = -100
"""The code of such an answer (PROTOCOL.md section 3)."""

Answer = Callable[[ClientConnection, pb.Request], Coroutine[Any, Any, pb.Response]]
"""Handles one request of the connection's peer; failures are answers."""

Connect = Callable[[Operator, float], Awaitable[ClientConnection]]
"""The kept connection to an operator, opened if need be, within a number of seconds."""


class HeldStreams:
    """Keeps a stream to every operator that the directory says may call us and that we can dial."""

    def __init__(self, name: Operator, source: DirectorySource, connect: Connect, answer: Answer, emit: Emit) -> None:
        self._name = name
        self._source = source
        self._connect = connect
        self._answer = answer
        self._emit = emit
        self._holders: dict[Operator, asyncio.Task[None]] = {}
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the directory's list."""
        self._watcher = asyncio.create_task(self._follow(), name="streams: directory")

    async def close(self) -> None:
        """End every stream."""
        tasks = [*self._holders.values(), *([self._watcher] if self._watcher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._holders.clear()

    async def _follow(self) -> None:
        while True:
            seen = self._source.current
            wanted = set(seen.stream_targets(self._name))
            for operator in wanted - self._holders.keys():
                self._holders[operator] = asyncio.create_task(self._hold(operator), name=f"stream {operator}")
            for operator in self._holders.keys() - wanted:
                holder = self._holders.pop(operator)
                holder.cancel()
                await asyncio.gather(holder, return_exceptions=True)
            await self._source.changed(seen)

    async def _hold(self, operator: Operator) -> None:
        """Open the stream again and again; a failure is told once until it changes."""
        pause, told = FIRST_PAUSE, ""
        while True:
            started = asyncio.get_running_loop().time()
            reason, hint = await self._one_stream(operator)
            if asyncio.get_running_loop().time() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE  # it had been up
            if reason != told:
                told = reason
                text = f"no stream to {operator}, so it can't call us; trying again: {reason}"
                self._emit(Notice(level=Level.WARN, text=text, hint=hint))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _one_stream(self, operator: Operator) -> tuple[str, str]:
        """Hold one stream until it ends; why it did, and what to do about it."""
        up, hint = False, ""
        try:
            connection = await self._connect(operator, CONNECT_TIMEOUT)
            async with connection.open_stream(STREAM_METADATA) as stream:
                await stream.send(announcement(self._name))
                up = True
                self._emit(PeerChanged(link="stream", peer=operator, up=True))
                await self._serve(connection, stream)
                reason = stream.reason
        except EpsError as error:
            reason, hint = error.message, error.hint
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody else opens this stream again
            reason, hint = f"unexpected {error!r}", "this is a defect of this server"
        if up:
            self._emit(PeerChanged(link="stream", peer=operator, up=False, reason=reason))
        return reason, hint

    async def _serve(self, connection: ClientConnection, stream: ReverseStream) -> None:
        tasks = Tasks()
        try:
            server: _Unordered | _InOrder | None = None
            while (request := await stream.recv()) is not None:
                if server is None:
                    # The server's metadata is there by now: it comes before its first message.
                    unordered = answers_unordered(await stream.server_metadata())
                    server = _Unordered(stream, tasks) if unordered else _InOrder(stream, tasks)
                await server.handle(self._answered(connection, request))
        finally:
            await tasks.close()

    async def _answered(self, connection: ClientConnection, request: pb.Request) -> pb.Response:
        """Every request gets an answer: in-order servers wait for each without a deadline."""
        try:
            return await self._answer(connection, request)
        except Exception as error:  # noqa: BLE001 - one call's failure is one call's answer
            text = f"a call of {connection.peer.names[0]} failed here: {error!r}"
            self._emit(Notice(level=Level.ERROR, text=text, hint="this is a defect of this server"))
            hint = f"look into the log of {self._name}"
            failed = InternalError("handling the call failed", code=HANDLING_FAILED, hint=hint)
            return codec.encode_response(error_response("", failed), request.id)


class _Unordered:
    """Answers as they are ready."""

    def __init__(self, stream: ReverseStream, tasks: Tasks) -> None:
        self._stream = stream
        self._tasks = tasks
        self._slots = asyncio.Semaphore(MAX_CALLS)

    async def handle(self, answering: Coroutine[Any, Any, pb.Response]) -> None:
        await self._slots.acquire()
        self._tasks.start(self._run(answering), "stream: call")

    async def _run(self, answering: Coroutine[Any, Any, pb.Response]) -> None:
        try:
            await self._stream.send(await answering)
        except EpsError:
            self._stream.abort()  # then the reader, too, learns that the stream is gone
        finally:
            self._slots.release()


class _InOrder:
    """Handles requests side by side, but answers in the order in which they came."""

    def __init__(self, stream: ReverseStream, tasks: Tasks) -> None:
        self._stream = stream
        self._tasks = tasks
        self._queue: asyncio.Queue[asyncio.Task[pb.Response]] = asyncio.Queue(MAX_CALLS)
        tasks.start(self._write(), "stream: answers")

    async def handle(self, answering: Coroutine[Any, Any, pb.Response]) -> None:
        await self._queue.put(self._tasks.start(answering, "stream: call"))

    async def _write(self) -> None:
        try:
            while True:
                await self._stream.send(await (await self._queue.get()))
        except EpsError:
            self._stream.abort()


def announcement(name: Operator) -> pb.Response:
    """The first message on a stream: who holds it (PROTOCOL.md section 3)."""
    message = pb.Response(id="1")
    message.result["name"] = name
    return message

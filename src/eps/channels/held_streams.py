"""The ``ServerCall`` streams that we hold open to others, so that they can call us though they can't dial us.

PROTOCOL.md section 3. ``_hold`` keeps one stream for each operator, and answers what comes down. When the connection
under it goes away in good order (a new certificate, a server's GOAWAY), the next stream is opened on the next one: to a
server like ours while the old one still answers, to others when nothing is under way, since those know one stream only.
How answers go back depends on who asks (section 9): a server like ours says in its metadata
that it takes answers in any order, so a slow call delays no other; any other server takes the next message as the
answer to its last request, so each request is answered exactly once and in the order received.
Where our operator has several servers, ``lone_streams`` says when ours may be opened.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from eps.channels.absences import Absences, is_replaced, two_servers
from eps.channels.lone_streams import ANEW, ASKED, LOST, LoneStreams
from eps.core.event import Emit, Level, Notice, PeerChanged
from eps.core.message import Response
from eps.core.names import Operator
from eps.core.told import error_response
from eps.core.trace import CURRENT, Trace
from eps.directory import DirectorySource
from eps.errors import EpsError, InternalError, NotSent, Side, Stage
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.grpc.admission import Budget
from eps.grpc.connection import ClientConnection, ReverseStream
from eps.grpc.streams import BESIDE_METADATA, STREAM_METADATA, answers_unordered, framed, of_instance
from eps.reasons import Reason
from eps.transport.tasks import Tasks

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between attempts to open a stream. The network must be whole again 5 s after its last piece came up."""

CONNECT_TIMEOUT = 10.0
"""Seconds for one attempt."""

MAX_CALLS = 1000
"""Requests of one stream handled at once; more wait unread, and the sender feels it (HTTP/2 flow control)."""

MAX_BYTES_IN_HAND = 64 * 1024 * 1024
"""Of one stream's requests that are handled and of its answers that wait to be sent: sixteen of the greatest size.
Beyond, requests wait unread. Short ones count a thousandth of it each: that is what makes MAX_CALLS of them."""

MAX_UNREAD_BYTES = 4 * MAX_BYTES_IN_HAND
"""Requests that were short may all get long answers. Where even these bytes are in hand, a call that ends is answered
with an error in place of its result: whoever waits for it learns so, and the server has read nothing for long."""

LAST_ANSWERS_SECONDS = 1.0
"""How long closing waits for answers to leave, after the calls themselves had their time."""

HANDLING_FAILED = -100
"""The code of such an answer (PROTOCOL.md section 3)."""

MOVES = "it moves to another connection"
"""Why a stream ended that is opened again at once: no failure."""


class Unheld(NamedTuple):
    """Why there is no stream now.

    Attributes:
        side: whose it is; None while one is about to be opened.
    """

    text: str
    hint: str = ""
    side: Side | None = None
    reason: Reason | None = None

    @classmethod
    def of(cls, error: EpsError) -> "Unheld":
        """It could not be opened, or has failed."""
        return cls(error.message, error.hint, error.side, error.reason)

    @classmethod
    def ended(cls, text: str, own: Operator, operator: Operator) -> "Unheld":
        """It was over for a reason that its other end has said, or the connection's loss."""
        if text in (MOVES, ANEW, LOST):
            return cls(text)
        if is_replaced(text, own):
            hint = (
                f"if another server of {own} runs, stop one of the two; if none does, ask {operator}'s administrators"
            )
            return cls(text, hint, Side.PEER, Reason.SECOND_SERVER)  # as far as we know: it is what they say
        hint = "it is opened again by itself; if it ends again and again, look into that server's log"
        return cls(text, hint, Side.PEER, Reason.BROKE_OFF)


_End = tuple[Unheld, bool]
"""Why a stream ended, and whether the service's name was wrong."""

OPENING = Unheld("it is being opened")

Answer = Callable[[ClientConnection, pb.Request], Coroutine[Any, Any, pb.Response]]
"""Handles one request of the connection's peer; failures are answers."""

Body = Callable[[pb.Request], Coroutine[Any, Any, bytes]]
"""Handles one request to the end: the bytes of its answer, as they go out."""

Connect = Callable[[Operator, float], Awaitable[ClientConnection]]
"""The kept connection to an operator, opened if need be, within a number of seconds."""


class HeldStreams:
    """Keeps a stream to every operator that the directory says may call us and that we can dial.

    Attributes:
        state: why there is none to each of them now; None where there is one.
    """

    def __init__(
        self,
        name: Operator,
        source: DirectorySource,
        connect: Connect,
        answer: Answer,
        emit: Emit,
        lone: LoneStreams | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._connect = connect
        self._answer = answer
        self._emit = emit
        self.state: dict[Operator, Unheld | None] = {}
        self._holders: dict[Operator, asyncio.Task[None]] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._hands: set[Budget] = set()
        self._older = Tasks()
        self._stopping = False
        self._lone = lone
        self._introduction = of_instance(lone.instance) if lone is not None else STREAM_METADATA
        self._absences = Absences()
        self._first_is_beside = False
        self._ours = asyncio.Event()  # to open, and not another process's
        self._ours.set()

    def take_over(self) -> None:
        """Another process of ours holds streams, and answers on them, when these are opened."""
        self._first_is_beside = True

    def let_go(self) -> None:
        """Another process of ours opens streams now: open none in their place, which would end its own."""
        self._ours.clear()

    def take_back(self) -> None:
        """It did not come."""
        self._ours.set()

    def start(self) -> None:
        """Begin to follow the directory's list."""
        self._watcher = asyncio.create_task(self._follow(), name="streams: directory")

    def stop(self) -> None:
        """Refuse the calls that come from now on; the others are answered."""
        self._stopping = True

    @property
    def is_stopping(self) -> bool:
        """Whether no more calls are taken here."""
        return self._stopping

    def is_alone(self, operator: Operator) -> bool:
        """Whether our stream to ``operator`` is the only one of several servers of ours."""
        return self._lone is not None and self._lone.is_alone(operator)

    async def close(self) -> None:
        """End every stream, once the answers to calls that have ended are sent."""
        self._stopping = True
        await self._settled()
        tasks = [*self._holders.values(), *([self._watcher] if self._watcher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._older.close()
        self._holders.clear()

    async def _follow(self) -> None:
        while True:
            seen = self._source.current
            wanted = set(seen.stream_targets(self._name))
            for operator in wanted - self._holders.keys():
                self._holders[operator] = asyncio.create_task(self._hold(operator), name=f"stream {operator}")
            for operator in self._holders.keys() - wanted:
                holder = self._holders.pop(operator)
                self.state.pop(operator, None)
                holder.cancel()
                await asyncio.gather(holder, return_exceptions=True)
                if self._lone is not None:
                    self._lone.leave(operator)
            await self._source.changed(seen)

    async def _hold(self, operator: Operator) -> None:
        """Open the stream again and again; a failure is told once until it changes."""
        pause, reported, renamed = FIRST_PAUSE, "", False
        self.state[operator] = OPENING
        older: asyncio.Task[_End] | None = None
        first = self._first_is_beside
        while True:
            await self._ours.wait()
            if self._lone is not None:
                await self._lone.turn(operator, partial(self._waits, operator))
            started = asyncio.get_running_loop().time()
            held = _Held(beside=first or (older is not None and not older.done()))
            first = False
            serving = self._older.start(self._one_stream(operator, held), f"stream {operator}")
            await self._until_over_or_left(serving, held)
            if asyncio.get_running_loop().time() - started > LONGEST_PAUSE:
                pause = FIRST_PAUSE  # it had been up
            if not serving.done():
                older = serving  # it ends when all that came down is answered
            else:
                why, other_name = serving.result()
                reason = why.text
                if self._lone is not None:
                    self._lone.ended(operator)
                if is_replaced(reason, self._name) and self._absences.replaced(operator):
                    self._emit(two_servers(self._name, "to it", operator))
                self.state[operator] = why
                renamed = other_name and not renamed
                if renamed:
                    continue  # at once, but once only: the next stream asks for the service by its other name
                if reason not in (reported, MOVES, ANEW, LOST) and self._ours.is_set():
                    reported = reason
                    self._emit(_no_stream(operator, why))
            if serving.done() or pause > FIRST_PAUSE:
                await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _waits(self, operator: Operator, why: str) -> None:
        if not why:
            self.state.pop(operator, None)
        elif why == ASKED:
            self.state[operator] = Unheld(why)
        else:
            self.state[operator] = Unheld(why, "bring Redis back (siblings.redis)", Side.OURS, Reason.STORE_FAILED)

    @staticmethod
    async def _until_over_or_left(serving: "asyncio.Task[_End]", held: "_Held") -> None:
        both: list[asyncio.Future[Any]] = [serving, held.left]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            raise

    async def _one_stream(self, operator: Operator, held: "_Held") -> _End:
        """Hold one stream until it ends."""
        up, other_name = False, False
        try:
            connection = await self._connect(operator, CONNECT_TIMEOUT)
            beside = BESIDE_METADATA if held.beside else {}
            async with connection.open_stream({**self._introduction, **beside}) as stream:
                await stream.send(announcement(self._name))
                up = True
                self.state[operator] = None
                self._emit(PeerChanged(link="stream", peer=operator, up=True))
                await self._serve(connection, stream, held)
                why, other_name = Unheld.ended(stream.reason, self._name, operator), stream.other_name
        except EpsError as error:
            why = Unheld.of(error)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody else opens this stream again
            text = f"unexpected {error!r}"
            why = Unheld(text, "this is a defect of this server", Side.OURS, Reason.INTERNAL)
        if up:
            self._emit(PeerChanged(link="stream", peer=operator, up=False, detail=why.text))
        return why, other_name

    async def _serve(self, connection: ClientConnection, stream: ReverseStream, held: "_Held") -> None:
        tasks, hand = Tasks(), Budget(MAX_BYTES_IN_HAND)

        async def body(request: pb.Request) -> bytes:
            size = weight(request.ByteSize())
            answer = await self._body(connection, request)
            if hand.taken - size + len(answer) > MAX_UNREAD_BYTES:
                why = f"the call was run, but {hand.taken:,} bytes of answers wait to be read on the stream already"
                answer = framed(self._failed(request, why, "make fewer calls with long answers at a time"))
            hand.add(weight(len(answer)) - size)
            return answer

        async def watch() -> None:
            await stream.over()
            hand.end()  # a reader that waits for room, too, learns it

        async def anew() -> None:
            await hand.take(hand.limit)  # nothing is under way, as far as we know
            stream.abort(ANEW)

        async def move() -> None:
            await asyncio.shield(connection.leaving)
            if self._stopping or connection.closed.done():
                return
            if answers_unordered(await stream.server_metadata()):
                held.leave()
            else:
                await hand.take(hand.limit)  # nothing is under way, as far as we know
                stream.abort(MOVES)

        if self._lone is not None:
            self._lone.serve(connection.operator, stream, tasks, anew)
        tasks.start(watch(), "stream: end")
        tasks.start(move(), "stream: move")
        self._hands.add(hand)
        try:
            server: _Unordered | _InOrder | None = None
            while (request := await stream.recv()) is not None:
                if server is None:
                    # The server's metadata is there by now: it comes before its first message.
                    unordered = answers_unordered(await stream.server_metadata())
                    server = (_Unordered if unordered else _InOrder)(stream, tasks, body, hand)
                await hand.take(weight(request.ByteSize()))
                server.handle(request)
        finally:
            self._hands.discard(hand)
            await tasks.close()

    async def _settled(self) -> None:
        """Wait until all that came was answered, though not for a server that leaves its answers unread."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                for hand in list(self._hands):
                    await hand.take(hand.limit)  # it is whole again

    async def _body(self, connection: ClientConnection, request: pb.Request) -> bytes:
        """Every request gets an answer: in-order servers wait for each without a deadline."""
        trace, began = Trace.told(request.traceparent, connection.opened_by), time.monotonic()
        CURRENT.set(trace)  # of this request's task
        if self._stopping and not self.is_alone(connection.operator):
            stopping = NotSent(f"{self._name} is stopping", hint="try again when it runs again", reason=Reason.STOPPING)
            return framed(codec.encode_response(error_response("", stopping, self._name), request.id))
        try:
            answer = await self._answer(connection, request)
            if trace is not None:
                codec.tell_duration(answer, trace.duration(time.monotonic() - began))
            return framed(answer)
        except NotSent as error:  # none of our servers takes it
            return framed(codec.encode_response(error_response("", error, self._name), request.id))
        except Exception as error:  # noqa: BLE001 - one call's failure is one call's answer
            text = f"a call of {connection.peer.names[0]} failed here: {error!r}"
            self._emit(Notice(level=Level.ERROR, text=text, hint="this is a defect of this server"))
            return framed(self._failed(request, "handling the call failed", f"look into the log of {self._name}"))

    def _failed(self, request: pb.Request, why: str, hint: str) -> pb.Response:
        failed = InternalError(why, code=HANDLING_FAILED, hint=hint)
        return codec.encode_response(error_response("", failed, self._name), request.id)


def _no_stream(operator: Operator, why: Unheld) -> Notice:
    return Notice(
        level=Level.WARN,
        text=f"no stream to {operator}, so it can't call us; trying again: {why.text}",
        hint=why.hint,
        reason=why.reason.value if why.reason is not None else "",
        stage=Stage.BROKER.value,
        side=why.side.value if why.side is not None else "",
        peer=operator,
    )


class _Held:
    """A stream as the next one sees it.

    Attributes:
        beside: the one before it still answers.
        left: done when the next one is to be opened though this one has not ended.
    """

    def __init__(self, *, beside: bool = False) -> None:
        self.beside = beside
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """Have the next one opened."""
        if not self.left.done():
            self.left.set_result(None)


class _Unordered:
    """Answers as they are ready."""

    def __init__(self, stream: ReverseStream, tasks: Tasks, body: Body, hand: Budget) -> None:
        self._stream = stream
        self._tasks = tasks
        self._body = body
        self._hand = hand

    def handle(self, request: pb.Request) -> None:
        self._tasks.start(self._run(request), "stream: call")

    async def _run(self, request: pb.Request) -> None:
        body = await self._body(request)
        del request  # its answer may wait for long
        try:
            await self._stream.send_framed(body)
        except EpsError:
            self._stream.abort()  # then the reader, too, learns that the stream is gone
        self._hand.add(-weight(len(body)))


class _InOrder:
    """Handles requests side by side, but answers in the order in which they came."""

    def __init__(self, stream: ReverseStream, tasks: Tasks, body: Body, hand: Budget) -> None:
        self._stream = stream
        self._tasks = tasks
        self._body = body
        self._hand = hand
        self._queue: asyncio.Queue[asyncio.Task[bytes]] = asyncio.Queue()  # bounded by the budget
        tasks.start(self._write(), "stream: answers")

    def handle(self, request: pb.Request) -> None:
        self._queue.put_nowait(self._tasks.start(self._body(request), "stream: call"))

    async def _write(self) -> None:
        try:
            while True:
                body = await (await self._queue.get())
                await self._stream.send_framed(body)
                self._hand.add(-weight(len(body)))
        except EpsError:
            self._stream.abort()


def weight(size: int) -> int:
    """What a message of so many bytes counts in a stream's budget."""
    return max(size, MAX_BYTES_IN_HAND // MAX_CALLS)


def announcement(name: Operator) -> pb.Response:
    """The first message on a stream: who holds it (PROTOCOL.md section 3)."""
    return codec.encode_response(Response("", {"name": name}), "1")

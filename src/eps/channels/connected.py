"""The operators that hold a ``ServerCall`` stream to us: how to call those that nobody can dial.

PROTOCOL.md section 3. One stream of each of an operator's servers, which say which they are: a newer one
of the same server takes over and the older is ended; when an old one ends, the newer stays. A call goes to the server
that has the fewest in hand. Requests go down as they come, answers are matched by id, and every call still waiting
fails at once when its stream ends.
"""

import asyncio
import time

from eps.channels.absences import NEWER, Absences, two_servers
from eps.core.event import Emit, Level, PeerChanged, Refused
from eps.core.message import Asker
from eps.core.names import Operator
from eps.core.trace import CURRENT, seconds_in
from eps.core.warn_rate import WarnRate, sparing
from eps.errors import BadRequest, DeliveryError, GivenUp, NotSent, OutcomeUnknown
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.grpc.server import ServerStream
from eps.grpc.streams import answers_unordered, instance_of, is_beside_another
from eps.reasons import Reason
from eps.transport.tls import PeerIdentity

ANNOUNCE_TIMEOUT = 10.0
"""Seconds that a client has to say who it is after opening a stream."""

MAX_ANNOUNCEMENT_BYTES = 4_096
"""Of what a stream's first message holds: a name has 253 at the most, and some room for what others may add. A
structure of 4 MiB, which a stranger may send, takes a second to be read."""

MAX_INSTANCES = 32
"""Servers of one operator that may hold a stream to us, more than anybody runs: whoever makes up names of servers gets
no more of our memory. The oldest one gives way."""

PUT_OFF_SECONDS = 2.0
"""For how long a server that has refused a call is asked last, where its operator has others: whoever refuses at once
has nothing in hand, and would get all."""

MAX_WAITING = 10_000
"""Calls waiting for answers on one stream; beyond, further ones are refused rather than piled up."""


class ConnectedStream:
    """One stream and the calls that wait for answers on it.

    Attributes:
        instance: which of the operator's servers holds it; empty: its only one.
        is_stopping: it takes no new calls, as it has said.
        put_off: until when it is asked last, since it has just refused a call; by the monotonic clock.
        used: when a call went down last, counted in calls.
    """

    def __init__(self, operator: Operator, stream: ServerStream) -> None:
        self.operator = operator
        self.instance = instance_of(stream.client_metadata)
        self.is_stopping = False
        self.put_off = 0.0
        self.used = 0
        self._stream = stream
        self._waiting: dict[str, asyncio.Future[pb.Response]] = {}
        self._ended = ""
        self._leaving = ""
        self.is_ours = answers_unordered(stream.client_metadata)
        self._back_within = "seconds" if self.is_ours else "a minute"  # PROTOCOL.md section 9, «Streams»

    @property
    def burden(self) -> tuple[bool, int, int]:
        """What speaks against giving it the next call: doubts, calls in hand, and else that it had the last one."""
        speaks_against = self.is_stopping or time.monotonic() < self.put_off or not self._stream.is_sure
        return speaks_against, len(self._waiting), self.used

    async def call(self, request: pb.Request, timeout: float, asker: Asker | None = None) -> pb.Response:
        """Send ``request`` down the stream and wait for the answer with its id.

        Args:
            asker: who waits for it; asked when it is about to be sent.

        Raises:
            NotSent: the stream was gone, or is full. OutcomeUnknown: no answer came.
        """
        self._check(request)
        asker = asker or Asker()
        trace = CURRENT.get()
        if trace is not None:
            trace.of_our_kind = self.is_ours
        if trace is not None and self.is_ours:
            codec.tell_trace(request, trace.parent())
        answer: asyncio.Future[pb.Response] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        sent, until = False, time.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                await self._stream.sure()
                if not asker.begin():
                    raise GivenUp
                sent = True
                if self.is_ours and asker.timeout is not None:
                    codec.tell_timeout(request, until - time.monotonic())
                self._stream.expect(answer)
                await self._stream.send(request)
                response = await answer
        except TimeoutError:
            if not sent:
                raise NotSent(
                    f"{self.operator} did not show within {timeout:.1f} s that it is still there",
                    hint=f"look whether it runs, and at the network on the way to {self.operator}",
                    reason=Reason.PEER_HANGS,
                ) from None
            raise OutcomeUnknown(
                f"{self.operator} did not answer {request.method} within {timeout:.1f} s",
                hint=f"the call may have been executed; look into {self.operator}'s log before you repeat it",
                reason=Reason.NO_ANSWER,
            ) from None
        else:
            if trace is not None and trace.given and self.is_ours:
                trace.there = seconds_in(response.took)
            return response
        finally:
            self._stream.expected(answer)
            del self._waiting[request.id]
            if self._leaving and not self._waiting:
                self.abort(self._leaving)
            if answer.done() and not answer.cancelled():
                answer.exception()

    def _check(self, request: pb.Request) -> None:
        if self._ended:
            raise NotSent(f"{self.operator} is not connected: {self._ended}", reason=Reason.PEER_OFF)
        if len(self._waiting) >= MAX_WAITING:
            raise NotSent(f"{MAX_WAITING} calls to {self.operator} are waiting for answers already", reason=Reason.BUSY)
        if request.id in self._waiting:
            raise DeliveryError(f"a call with the id {request.id[:80]} is under way already")

    async def read(self) -> None:
        """Match answers to calls until the stream ends."""
        while (response := await self._stream.recv()) is not None:
            answer = self._waiting.get(response.id)
            if answer is not None and not answer.done():
                answer.set_result(response)

    def end(self, reason: str) -> None:
        """Fail every waiting call; take no more."""
        if self._ended:
            return
        self._ended = reason
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    OutcomeUnknown(
                        f"the stream of {self.operator} ended while the call was under way: {reason}",
                        hint=f"the call may have been executed; it connects again by itself within {self._back_within}",
                    )
                )

    def leave(self, reason: str) -> None:
        """End the stream as soon as no call waits for an answer on it; new ones take another."""
        self._leaving = reason
        if not self._waiting:
            self.abort(reason)

    def abort(self, reason: str) -> None:
        """End the stream itself, with a status that makes peers in use come back."""
        self.end(reason)
        self._stream.abort(reason)


def announced_name(message: pb.Response) -> str:
    """The name in a stream's first message; empty if there is none."""
    if len(message.result) > MAX_ANNOUNCEMENT_BYTES:
        return ""
    try:
        name = codec.decode_response(message, "").result["name"]
    except (BadRequest, KeyError, TypeError):
        return ""
    return name if isinstance(name, str) else ""


class Connected:
    """All the streams that are held to us."""

    def __init__(self, name: Operator, emit: Emit, absences: Absences) -> None:
        self._name = name
        self._absences = absences
        self._emit = sparing(emit, time.monotonic)
        self._changes = WarnRate()
        self._streams: dict[Operator, dict[str, ConnectedStream]] = {}
        self._used = 0

    def get(self, operator: Operator) -> ConnectedStream | None:
        """The stream of ``operator`` for a call: of several the one with the fewest; None if it holds none."""
        streams = self._streams.get(operator)
        if not streams:
            return None
        self._used += 1
        chosen = min(streams.values(), key=lambda stream: stream.burden)
        chosen.used = self._used
        return chosen

    async def run(self, peer: PeerIdentity, stream: ServerStream) -> None:
        """Serve one stream until it ends; called for each that a client opens."""
        operator = await self._announced(peer, stream)
        if operator is None:
            return
        self._absences.came(operator)
        connected = ConnectedStream(operator, stream)
        older = self._streams.get(operator, {}).pop(connected.instance, None)
        if older is not None:
            self._take_over(older, beside=is_beside_another(stream.client_metadata))
        streams = self._streams.setdefault(operator, {})
        streams[connected.instance] = connected
        if len(streams) > MAX_INSTANCES:
            reason = f"{operator} holds streams of more than {MAX_INSTANCES} servers"
            streams.pop(next(iter(streams))).abort(reason)
            self._changed(operator, up=False, reason=reason)
        self._changed(operator, up=True)
        try:
            await connected.read()
        finally:
            reason = stream.reason or "this server is stopping"
            connected.end(reason)
            self._forget(connected, reason)

    def _take_over(self, older: ConnectedStream, *, beside: bool) -> None:
        """A newer stream of the same server is there."""
        operator = older.operator
        reason = f"{operator} {NEWER}"
        if beside:
            older.leave(reason)
        else:  # it may well be dead: who waits on it must learn so
            older.abort(reason)
            if self._absences.replaced(operator):
                self._emit(two_servers(operator, f"to {self._name}"))
        self._changed(operator, up=False, reason=reason)

    def _forget(self, connected: ConnectedStream, reason: str) -> None:
        streams = self._streams.get(connected.operator, {})
        if streams.get(connected.instance) is not connected:  # a newer one has taken over
            return
        del streams[connected.instance]
        if not streams:
            del self._streams[connected.operator]
        self._changed(connected.operator, up=False, reason=reason)

    def _changed(self, operator: Operator, *, up: bool, reason: str = "") -> None:
        """An operator that opens streams without end gets one line a second of each kind, as its failed calls do."""
        level, left_out = self._changes.judge(time.monotonic(), f"{operator} {up}")
        level = Level.INFO if level is Level.WARN else level
        self._emit(PeerChanged(link="connected", peer=operator, up=up, detail=reason, level=level, left_out=left_out))

    async def _announced(self, peer: PeerIdentity, stream: ServerStream) -> Operator | None:
        """The name that the stream's first message gives, if it is one of the certificate's."""
        try:
            async with asyncio.timeout(ANNOUNCE_TIMEOUT):
                first = await stream.recv()
        except TimeoutError:
            first = None
        name = announced_name(first) if first is not None else ""
        if name in peer.names:
            return Operator(name)
        self._emit(
            Refused(
                listener="grpc",
                why="stream",
                source=peer.names[0],
                detail=f"it opened a stream as {name[:60]!r}, which is no name of its certificate",
            )
        )
        return None

    def close(self) -> None:
        """End all streams."""
        for stream in [stream for streams in self._streams.values() for stream in streams.values()]:
            stream.abort(f"{self._name} is stopping")

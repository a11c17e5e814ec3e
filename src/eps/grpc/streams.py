"""The two ends of a ``ServerCall``, and how they tell each other what they can do.

Peers in use take the next message on a stream as the answer to their last request, whatever its id (PROTOCOL.md
section 9). Servers and clients of this project match answers by id. Each says so in its metadata, the server at once
when a stream opens; a peer that says nothing is one of those in use.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Protocol, Self

from google.protobuf.message import DecodeError
from h2.errors import ErrorCodes

from eps.core.names import Operator
from eps.core.told import quoted
from eps.errors import NotSent, TooLarge
from eps.grpc import eps_pb2 as pb
from eps.grpc.framing import FramingError, Status, frame, metadata_of, read_status, response_headers, trailers
from eps.grpc.service import SpokenName
from eps.grpc.wire_stream import StreamLost, WireStream

STREAMS_KEY = "eps-streams"
STREAMS_UNORDERED = "unordered"

STREAM_METADATA = {STREAMS_KEY: STREAMS_UNORDERED}
"""What ours say."""


BESIDE_KEY = "eps-older-stream"
BESIDE_MARK = "answers"
BESIDE_METADATA = {BESIDE_KEY: BESIDE_MARK}
"""What ours say besides, where the stream takes the place of one that they still hold: what was sent down that one is
answered on it, new requests come down the newer one."""


INSTANCE_KEY = "eps-instance"
"""Which of several servers of one operator holds the stream."""

INSTANCES_KEY = "eps-instances"
INSTANCES_KEPT = "kept"

SERVER_METADATA = {**STREAM_METADATA, INSTANCES_KEY: INSTANCES_KEPT}
"""What ours say to whoever opens a stream: a stream of each instance is kept."""

_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)


def instance_of(metadata: Mapping[str, str]) -> str:
    """Which of its operator's servers a client is; empty if it doesn't say, or not as ours do."""
    instance = metadata.get(INSTANCE_KEY, "")
    return instance if _INSTANCE.fullmatch(instance) else ""


def of_instance(instance: str) -> Mapping[str, str]:
    """What one of several servers of an operator says when it opens a stream."""
    return {**STREAM_METADATA, INSTANCE_KEY: instance}


def keeps_instances(metadata: Mapping[str, str]) -> bool:
    """Whether a server keeps the streams of all instances of one operator; those in use know one stream per name."""
    return metadata.get(INSTANCES_KEY) == INSTANCES_KEPT


def is_beside_another(metadata: Mapping[str, str]) -> bool:
    """Whether the peer answers, on the older stream that it holds, what came down there."""
    return metadata.get(BESIDE_KEY) == BESIDE_MARK


def answers_unordered(metadata: Mapping[str, str]) -> bool:
    """Whether a peer that sent ``metadata`` takes answers in any order and has several requests under way."""
    return metadata.get(STREAMS_KEY) == STREAMS_UNORDERED


class Listening(Protocol):
    """What a stream of the server knows of its connection (grpc.link.Link).

    Attributes:
        sure: done while it is known whether the peer is still there.
    """

    sure: asyncio.Future[None]

    def expect(self, who: Hashable) -> None:
        """An answer is waited for from now on."""

    def expected(self, who: Hashable) -> None:
        """And no more."""


class ReverseStream:
    """A ``ServerCall`` that we hold: requests come, answers go. ``async with`` opens and ends it.

    One task receives; any number may send. Leaving the block resets the stream: from then on the server knows.

    Attributes:
        reason: why the stream is over; empty while it lives.
        other_name: whether it ended because the server knows the service by its other name, if at all: the next stream
            asks for that.
    """

    def __init__(self, operator: Operator, opening: Callable[[str], Awaitable[WireStream]], spoken: SpokenName) -> None:
        self._operator = operator
        self._opening = opening
        self._spoken = spoken
        self._service = spoken.current
        self.other_name = False
        self._stream: WireStream | None = None
        self.reason = ""

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            NotSent: the connection takes no new streams.
        """
        self._service = self._spoken.current
        self._stream = await self._opening(self._service)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._stream is not None:
            self._stream.release()
            self.reason = self.reason or "ended by us"

    async def server_metadata(self) -> Mapping[str, str]:
        """Wait for the server's metadata. Servers in use send theirs only with the first request.

        Raises:
            NotSent: the stream ended before.
        """
        try:
            return metadata_of(await self._opened.wait_headers())
        except StreamLost as lost:
            raise NotSent(self._over(str(lost))) from lost

    async def send(self, response: pb.Response) -> None:
        """Send an answer; returns when its last byte is written.

        Raises:
            NotSent: the stream ended before that: the server has not got it.
            TooLarge: it is over 4 MiB.
        """
        await self.send_framed(framed(response))

    async def send_framed(self, body: bytes) -> None:
        """Send an answer that went through :func:`framed` already: bytes take far less memory than the message.

        Raises:
            NotSent: the stream ended before its last byte was written.
        """
        try:
            await self._opened.send(body)
        except StreamLost as lost:
            raise NotSent(self._over(str(lost))) from lost

    async def recv(self) -> pb.Request | None:
        """The next request; None when the stream is over, and then ``reason`` says why."""
        stream = self._opened
        try:
            message = await stream.receive()
        except StreamLost as lost:
            self._over(str(lost))
            return None
        if message is None:
            status = read_status(stream.trailers or stream.headers or {})
            if status.status is Status.UNIMPLEMENTED:  # whatever it says: to open a stream runs nothing
                self.other_name = self._spoken.refused(self._service)
            self._over(f"{self._operator} ended the stream ({status.status.name}: {quoted(status.text)})")
            return None
        self._spoken.understood(self._service)
        try:
            return pb.Request.FromString(message)
        except DecodeError:
            self.abort(f"{self._operator} sent a request that can't be read")
            return None

    async def over(self) -> None:
        """Wait until the server has ended the stream, or it broke off; for those who don't receive just then."""
        await self._opened.wait_end()

    def abort(self, reason: str = "ended by us") -> None:
        """End the stream now; ``recv`` returns None."""
        self._over(reason)
        self._opened.reset(ErrorCodes.CANCEL, reason)

    @property
    def _opened(self) -> WireStream:
        if self._stream is None:
            raise RuntimeError("a ReverseStream is used within its async with block")
        return self._stream

    def _over(self, reason: str) -> str:
        self.reason = self.reason or reason
        return self.reason


class ServerStream:
    """A ``ServerCall`` that a client opened: requests go down, answers come. One task receives, any number may send.

    Attributes:
        client_metadata: what the client sent when it opened the stream.
        reason: why the stream is over; empty while it lives.
    """

    def __init__(self, stream: WireStream, link: Listening) -> None:
        self._stream = stream
        self._link = link
        self.client_metadata: Mapping[str, str] = metadata_of(stream.headers or {})
        self.reason = ""

    async def send(self, request: pb.Request) -> None:
        """Send a request; returns when its last byte is written.

        Raises:
            NotSent: the stream ended before that: the client can't have run it.
            TooLarge: it is over 4 MiB.
        """
        body = framed(request)
        try:
            await self._stream.send(body)
        except StreamLost as lost:
            raise NotSent(f"the stream is over: {self.reason or lost}") from lost

    @property
    def is_sure(self) -> bool:
        """Whether there is no doubt that the client is still there."""
        return self._link.sure.done()

    async def sure(self) -> None:
        """Wait while it is in doubt whether the client is still there."""
        if not self._link.sure.done():
            await asyncio.wait({self._link.sure})

    def expect(self, who: Hashable) -> None:
        """An answer is waited for from now on, until :meth:`expected`: so a dead client is noticed."""
        self._link.expect(who)

    def expected(self, who: Hashable) -> None:
        """Nobody waits for it any more."""
        self._link.expected(who)

    async def recv(self) -> pb.Response | None:
        """The next answer; None when the stream is over, and then ``reason`` says why."""
        try:
            message = await self._stream.receive()
            if message is not None:
                return pb.Response.FromString(message)
            self.reason = self.reason or "the client ended it"
        except StreamLost as lost:
            self.reason = self.reason or str(lost)
        except DecodeError:
            self.reason = "the client sent an answer that can't be read"
        return None

    def abort(self, reason: str = "ended by the server") -> None:
        """End the stream with status UNAVAILABLE; ``recv`` returns None, ``send`` raises."""
        self.reason = self.reason or reason
        end_with_status(self._stream, Status.UNAVAILABLE, reason, started=True)


def end_with_status(stream: WireStream, status: Status, text: str, *, started: bool) -> None:
    """End a stream with a status other than OK; ``started``: its headers went out already."""
    if stream.lost is None and not stream.sent_end:
        head = [] if started else response_headers({})
        stream.send_headers(head + trailers(status, text), end=True)
        if not stream.ended:
            stream.reset(ErrorCodes.NO_ERROR, text)  # nobody reads the rest
        else:
            stream.fail(StreamLost(text))


def framed(message: pb.Request | pb.Response) -> bytes:
    """A message as it goes out; raises TooLarge."""
    try:
        return frame(message.SerializeToString())
    except FramingError as error:
        raise TooLarge(str(error)) from error

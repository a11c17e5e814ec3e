"""The client's side: one connection to one operator, for calls and for the reverse streams we hold.

What is known of a call that brought no answer (ARCHITECTURE.md, «Rules that hold everywhere»): it was *not sent* if its
HEADERS were never written, if the peer's GOAWAY names a lower stream, or if the peer refused the stream. After its
HEADERS were written, anything else that goes wrong leaves the outcome *unknown*. A gRPC status is the peer's answer: it
*failed* there.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import Self

from google.protobuf.message import DecodeError

from eps.core.message import Asker
from eps.core.names import Operator
from eps.core.told import quoted
from eps.core.told_seconds import OF_CALLER
from eps.core.trace import CURRENT, TOOK, TRACEPARENT, current_id, seconds_in
from eps.errors import DeliveryError, GivenUp, NotSent, Outcome, OutcomeUnknown, Side
from eps.grpc import eps_pb2 as pb
from eps.grpc.dialled import Dialled
from eps.grpc.framing import (
    Status,
    StatusLine,
    read_status,
    request_headers,
)
from eps.grpc.link import WireLimits
from eps.grpc.service import CALL, OTHER, SERVER_CALL, SpokenName, no_such_path, path
from eps.grpc.streams import STREAM_METADATA, ReverseStream, framed
from eps.grpc.wire_stream import StreamLost, WireStream
from eps.reasons import Reason
from eps.transport.tls import PeerIdentity, Pins

__all__ = ["ClientConnection", "ReverseStream"]

SLOT_TIMEOUT = 10.0
"""Seconds to wait for room for a reverse stream."""


class _NoSuchPath(DeliveryError):
    """The peer's server does not know the service's name; the call was certainly not executed."""


class ClientConnection:
    """A connection that is up: the peer is who we dialled, and it accepted us.

    Attributes:
        peer: who it is.
        wire: HTTP/2 below it.
        operator: the name that was dialled; one of ``peer.names``.
        created_at: event loop time.
        closed: resolved with the reason when the socket is gone.
        leaving: resolved with the reason as soon as the connection takes no new calls (GOAWAY, drain, end).
    """

    def __init__(self, dialled: Dialled, operator: Operator, spoken: SpokenName) -> None:
        link = dialled.wire.link
        assert link.peer is not None
        self.wire = dialled.wire
        self._link = link
        self._slots = dialled.slots
        self._spoken = spoken
        self._introduction: Mapping[str, str] = STREAM_METADATA
        self.wire.may_be_asked = spoken.was_ours  # before its first answer says so
        self.operator = operator
        self.opened_by = current_id()
        self.peer: PeerIdentity = link.peer
        self.created_at: float = link.created_at
        self.closed: asyncio.Future[str] = link.closed
        self.leaving: asyncio.Future[str] = link.leaving

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        *,
        operator: Operator,
        context: ssl.SSLContext,
        pins: Pins,
        timeout: float,
        limits: WireLimits | None = None,
        spoken: SpokenName | None = None,
    ) -> Self:
        """TLS and HTTP/2 over a connected, non-blocking socket, which belongs to this connection from now on.

        Args:
            operator: the peer; SNI, the name in its certificate, and whose pins count.
            timeout: seconds until the peer's SETTINGS are there.
            spoken: which name its server knows, from earlier connections.

        Raises:
            TlsFailed: chain, name or pin don't fit, or the peer refused our certificate.
            Unreachable: the connection ended, or nothing came in time.
        """
        dialled = Dialled(operator, pins, limits or WireLimits())
        await dialled.connect(sock, context, timeout)
        return cls(dialled, operator, spoken or SpokenName())

    @property
    def was_cut(self) -> bool:
        """Whether it ended though neither side had said that it would."""
        return self.closed.done() and not self._link.graceful

    @property
    def usable(self) -> bool:
        """Whether new calls may be made: neither closed nor going away."""
        return self._link.usable

    @property
    def doubtful(self) -> bool:
        """Whether the peer has left a question without an answer for so long that new calls should not be made here."""
        return self._link.pulse.doubtful

    @property
    def sure(self) -> asyncio.Future[None]:
        """Done once that is over, or the connection. Wait for it under asyncio.wait."""
        return self._link.sure

    def replaced(self) -> None:
        """Another connection with the same peer came up: so the peer is there."""
        self._link.pulse.elsewhere(self.wire.clock())

    @property
    def active(self) -> int:
        """Calls and reverse streams in flight."""
        return len(self.wire.streams)

    async def call(self, request: pb.Request, timeout: float, asker: Asker | None = None) -> pb.Response:
        """One ``Call``.

        Args:
            timeout: seconds for everything; the peer is told.
            asker: who waits for it; asked once it can be sent.

        Raises:
            NotSent: certainly not executed; may go out again on another connection.
            OutcomeUnknown: it may have been executed.
            DeliveryError: the peer answered with a gRPC status, or with something that is no answer.
            TooLarge: the request is over 4 MiB.
        """
        body, deadline, asker = framed(request), self.wire.clock() + timeout, asker or Asker()
        service = self._spoken.current
        try:
            return await self._call(service, body, timeout, asker)
        except _NoSuchPath as unknown:
            if not self._spoken.refused(service):
                raise
            # Certainly not executed: the peer has only looked for the service's name.
            try:
                return await self._call(OTHER[service], body, deadline - self.wire.clock(), asker)
            except _NoSuchPath as neither:
                self._spoken.refused(OTHER[service])
                raise unknown from neither

    async def _call(self, service: str, body: bytes, timeout: float, asker: Asker) -> pb.Response:
        if timeout <= 0:
            raise NotSent(f"no time was left to call {self.operator}", side=Side.OURS)
        stream: WireStream | None = None
        try:
            async with asyncio.timeout(timeout):
                await self._slot()
                if not asker.begin():
                    raise GivenUp
                told = {**self._introduction, **({} if asker.timeout is None else OF_CALLER), **self._traced()}
                stream = self.wire.open_stream(request_headers(path(service, CALL), self.operator, timeout, told))
                self._link.expect(stream)
                return await self._exchange(stream, service, body)
        except TimeoutError as error:
            if stream is None:
                raise NotSent(f"{self.operator} had no room for another call within {timeout:g} s") from error
            raise OutcomeUnknown(
                f"{self.operator} did not answer within {timeout:.3g} s",
                hint="it may have been executed; look there before repeating it",
                reason=Reason.NO_ANSWER,
            ) from error
        except StreamLost as lost:
            raise self._lost(stream, lost) from lost
        finally:
            if stream is not None:
                self._link.expected(stream)
                stream.release()

    def _traced(self) -> dict[str, str]:
        """The metadata of a call that belongs to a trace."""
        trace = CURRENT.get()
        if trace is None:
            return {}
        trace.opened_by = self.opened_by
        parent = trace.parent()
        return {TRACEPARENT: parent} if parent else {}

    def open_stream(self, metadata: Mapping[str, str] | None = None) -> ReverseStream:
        """A ``ServerCall`` to use with ``async with``; our ``eps-streams`` metadata goes along by itself."""
        headers = {**STREAM_METADATA, **(metadata or {})}
        self._link.holds = True
        return ReverseStream(self.operator, lambda service: self._open_reverse(service, headers), self._spoken)

    async def drain(self, grace: float) -> None:
        """Take no new calls, let those in flight finish for ``grace`` seconds, then close. Returns when closed."""
        if not self._link.leaving.done():  # else it is over already, maybe without our having wished for it
            self._link.leave("closed by us")
        self.wire.end_if_idle()
        try:
            async with asyncio.timeout(grace):
                await asyncio.shield(self.closed)
        except TimeoutError:
            self._link.end("closed by us")
            await asyncio.shield(self.closed)

    def abort(self, reason: str) -> None:
        """End at once; every call in flight fails with an unknown outcome."""
        self._link.leave(reason)
        self._link.abort(reason)

    async def _open_reverse(self, service: str, metadata: Mapping[str, str]) -> WireStream:
        try:
            async with asyncio.timeout(SLOT_TIMEOUT):
                await self._slot()
            headers = request_headers(path(service, SERVER_CALL), self.operator, None, metadata)
            return self.wire.open_stream(headers)
        except TimeoutError as error:
            raise NotSent(f"{self.operator} has no room for another stream") from error
        except StreamLost as lost:
            raise NotSent(str(lost)) from lost

    async def _slot(self) -> None:
        """Wait until a stream may be opened: the peer allows so many, and its socket must take our bytes."""
        wire, link = self.wire, self._link
        while True:
            link.look_for_end()
            if link.pulse.doubtful:
                raise NotSent(f"{self.operator} does not answer any more")
            if not link.usable:
                raise NotSent(_past(link.reason or (link.leaving.result() if link.leaving.done() else "not connected")))
            allowed = wire.h2.remote_settings.max_concurrent_streams
            if link.writable and len(wire.streams) < allowed:
                return
            self._slots.clear()
            await self._slots.wait()

    async def _exchange(self, stream: WireStream, service: str, body: bytes) -> pb.Response:
        """Send the request and read the answer on an open stream."""
        sending_lost: StreamLost | None = None
        try:
            await stream.send(body, end=True)
        except StreamLost as lost:
            # A server may answer (with a status) before it has read everything, and reset the rest.
            if stream.headers is None and not stream.ended:
                raise
            sending_lost = lost
        headers = await stream.wait_headers()
        _require_grpc(self.operator, headers)
        message = None if "grpc-status" in headers else await stream.receive()
        if message is not None and await stream.receive() is not None:  # waits for the end, which holds the status
            raise DeliveryError(f"{self.operator} answered one call with several messages")
        if sending_lost is not None and stream.trailers is None and "grpc-status" not in headers:
            raise sending_lost
        status = read_status(stream.trailers or headers)
        self._introduction = {}  # the peer has it
        self.wire.may_be_asked = self._spoken.was_ours = self._link.pulse.ours
        trace = CURRENT.get()
        if trace is not None:
            trace.of_our_kind = self._link.pulse.ours
            if trace.given:
                trace.there = seconds_in((stream.trailers or headers).get(TOOK))
        self._learn(service, message, status)
        return self._read(message, status)

    def _learn(self, service: str, message: bytes | None, status: StatusLine) -> None:
        """Whether the peer knows the service's name; raises _NoSuchPath if it certainly doesn't."""
        if status.status is not Status.UNIMPLEMENTED:
            self._spoken.understood(service)
        elif message is None and no_such_path(service, status.text):
            raise _NoSuchPath(
                f"the server of {self.operator} has no gRPC service named {service}: {quoted(status.text)}",
                hint="check the address: is it the gRPC port of an EPS server?",
                outcome=Outcome.NOT_SENT,
            )
        elif message is None and not status.text:
            self._spoken.doubted(service)

    def _read(self, message: bytes | None, status: StatusLine) -> pb.Response:
        if status.status is not Status.OK:
            raise _status_error(self.operator, status)
        if message is None:
            raise DeliveryError(f"{self.operator} answered without a message")
        try:
            return pb.Response.FromString(message)
        except DecodeError as error:
            raise DeliveryError(f"{self.operator} answered with a message that can't be read") from error

    def _lost(self, stream: WireStream | None, lost: StreamLost) -> DeliveryError:
        if stream is None or lost.not_processed:
            return NotSent(str(lost))
        if lost.refused:
            return DeliveryError(f"the answer of {self.operator} was refused: {lost}")
        return OutcomeUnknown(f"{lost} before the answer came", hint="the call may have been executed")


_SAYS_NOT_WHETHER_IT_RAN = (Status.DEADLINE_EXCEEDED, Status.CANCELLED, Status.UNAVAILABLE)
"""UNAVAILABLE is also what gRPC's libraries answer for a connection that ends while a call runs; the C library even in
place of a refusal, where its idle connection ends in the very moment in which a call comes."""


def _past(reason: str) -> str:
    return f"the connection was over: {reason}"


def _require_grpc(operator: Operator, headers: Mapping[str, str]) -> None:
    status, content_type = headers.get(":status", ""), headers.get("content-type", "")
    if status != "200" or not content_type.startswith("application/grpc"):
        text = headers.get("grpc-message", "")
        raise DeliveryError(
            f"{operator} did not answer with gRPC (HTTP status {status[:3]}, {content_type[:40] or 'no content type'})"
            + (f": {text[:200]}" if text else ""),
            hint="check the address: is it the gRPC port of an EPS server?",
        )


def _status_error(operator: Operator, line: StatusLine) -> DeliveryError:
    text = f"{operator} answered {line.status.name}: {quoted(line.text) or 'no reason given'}"
    if line.status in _SAYS_NOT_WHETHER_IT_RAN:
        return OutcomeUnknown(text, hint="the call may have been executed in part")
    return DeliveryError(text)

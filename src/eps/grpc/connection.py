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

from eps.core.event import Emit, Level, Notice, ignore
from eps.core.names import Operator
from eps.errors import DeliveryError, NotSent, OutcomeUnknown, Side, Stage, TlsFailed, Unreachable
from eps.grpc import eps_pb2 as pb
from eps.grpc.framing import (
    Status,
    StatusLine,
    read_status,
    request_headers,
)
from eps.grpc.guard import GoAway
from eps.grpc.link import WireLimits
from eps.grpc.streams import STREAM_METADATA, ReverseStream, framed
from eps.grpc.wire import Wire
from eps.grpc.wire_stream import StreamLost, WireStream
from eps.transport.tls import PeerIdentity, Pins, identify, plain_reason, shown

__all__ = ["ClientConnection", "ReverseStream"]

CALL_PATH = "/EPS/Call"
SERVER_CALL_PATH = "/EPS/ServerCall"

SLOT_TIMEOUT = 10.0
"""Seconds to wait for room for a reverse stream."""

REFUSED_HINT = (
    "check that the directory pins our certificate (submit its fingerprint), "
    "and that the peer trusts the authority it is from"
)


class _ClientWire(Wire):
    """The wire, with the client's opinions: it closes when the peer said goodbye and the last call is over."""

    def on_goaway(self, goaway: GoAway) -> None:
        self._end_if_idle()

    def on_released(self) -> None:
        self.slots.set()
        self._end_if_idle()

    def __init__(self, operator: Operator, pins: Pins, limits: WireLimits) -> None:
        self.slots = asyncio.Event()
        self.handshake_done = False
        self._operator = operator
        self._pins = pins
        super().__init__(client=True, verify=self._identify, peer_name=operator, limits=limits)

    def _identify(self, der: bytes | None) -> PeerIdentity:
        """The peer must be the operator that we dialled; another one's certificate, pinned or not, is refused."""
        self.handshake_done = True
        if der is None:
            raise TlsFailed(f"{self._operator} showed no certificate")
        try:
            identity = identify(der, self._pins)
        except TlsFailed as error:
            raise TlsFailed(f"{self._operator} is not who answers there: {error.message}", hint=error.hint) from error
        if self._operator not in identity.names:
            raise TlsFailed(
                f"{self._operator} is not who answers there: the certificate is pinned for {shown(identity.names)}",
                hint=f"check the address of {self._operator} in the directory",
            )
        return identity

    def _up_error(self, reason: str, exc: Exception | None) -> Exception:
        # TLS 1.3: the server judges our certificate after our handshake is done; its alert, or just the end, comes now.
        if isinstance(exc, ssl.SSLError):
            return TlsFailed(f"{self._operator} refused the connection: {plain_reason(exc)}", hint=REFUSED_HINT)
        if (
            self.handshake_done
            and self.peer is not None
            and (exc is not None or reason.endswith("closed the connection"))
        ):
            return TlsFailed(
                f"{self._operator} closed the connection right after the TLS handshake; "
                "it most likely refused our certificate",
                hint=REFUSED_HINT,
            )
        return Unreachable(reason)

    def _end_if_idle(self) -> None:
        if self.leaving.done() and not self.streams and not self.reason:
            self.end(self.leaving.result())


class ClientConnection:
    """A connection that is up: the peer is who we dialled, and it accepted us.

    Attributes:
        peer: who it is.
        operator: the name that was dialled; one of ``peer.names``.
        created_at: event loop time.
        closed: resolved with the reason when the socket is gone.
        leaving: resolved with the reason as soon as the connection takes no new calls (GOAWAY, drain, end).
    """

    def __init__(self, wire: _ClientWire, operator: Operator) -> None:
        assert wire.peer is not None
        self._wire = wire
        self.operator = operator
        self.peer: PeerIdentity = wire.peer
        self.created_at: float = wire.created_at
        self.closed: asyncio.Future[str] = wire.closed
        self.leaving: asyncio.Future[str] = wire.leaving

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        *,
        operator: Operator,
        context: ssl.SSLContext,
        pins: Pins,
        timeout: float,
        emit: Emit = ignore,
        limits: WireLimits | None = None,
    ) -> Self:
        """TLS and HTTP/2 over a connected, non-blocking socket, which belongs to this connection from now on.

        Args:
            operator: the peer; SNI, the name in its certificate, and whose pins count.
            timeout: seconds until the peer's SETTINGS are there.

        Raises:
            TlsFailed: chain, name or pin don't fit, or the peer refused our certificate.
            Unreachable: the connection ended, or nothing came in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        _check_name(context, operator, sock)
        wire = _ClientWire(operator, pins, limits or WireLimits())
        try:
            await loop.create_connection(
                lambda: wire,
                sock=sock,
                ssl=context,
                server_hostname=operator,
                ssl_handshake_timeout=max(timeout, 0.001),
                ssl_shutdown_timeout=1.0,
            )
            await asyncio.wait_for(asyncio.shield(wire.up), max(deadline - loop.time(), 0.001))
        except asyncio.CancelledError:
            wire.abort("cancelled")
            raise
        except TimeoutError as error:
            wire.abort(f"{operator} sent no HTTP/2 settings within {timeout:g} s")
            raise Unreachable(wire.reason, stage=Stage.TLS) from error
        except (TlsFailed, Unreachable):
            raise
        except (OSError, ssl.SSLError) as error:
            sock.close()
            raise _handshake_error(operator, error, timeout) from error
        emit(Notice(level=Level.DEBUG, text=f"connected with {operator} ({wire.describe_tls()})"))
        return cls(wire, operator)

    @property
    def was_cut(self) -> bool:
        """Whether it ended though neither side had said that it would."""
        return self.closed.done() and not self._wire.graceful

    @property
    def usable(self) -> bool:
        """Whether new calls may be made: neither closed nor going away."""
        return self._wire.usable

    @property
    def active(self) -> int:
        """Calls and reverse streams in flight."""
        return len(self._wire.streams)

    async def call(self, request: pb.Request, timeout: float) -> pb.Response:
        """One ``Call``.

        Args:
            timeout: seconds for everything; the peer is told.

        Raises:
            NotSent: certainly not executed; may go out again on another connection.
            OutcomeUnknown: it may have been executed.
            DeliveryError: the peer answered with a gRPC status, or with something that is no answer.
            TooLarge: the request is over 4 MiB.
        """
        body = framed(request)
        if timeout <= 0:
            raise NotSent(f"no time was left to call {self.operator}")
        stream: WireStream | None = None
        try:
            async with asyncio.timeout(timeout):
                await self._slot()
                stream = self._wire.open_stream(request_headers(CALL_PATH, self.operator, timeout, {}))
                return await self._exchange(stream, body)
        except TimeoutError as error:
            if stream is None:
                raise NotSent(f"{self.operator} had no room for another call within {timeout:g} s") from error
            raise OutcomeUnknown(
                f"{self.operator} did not answer within {timeout:g} s",
                hint="it may have been executed; look there before repeating it",
            ) from error
        except StreamLost as lost:
            raise self._lost(stream, lost) from lost
        finally:
            if stream is not None:
                stream.release()

    def open_stream(self, metadata: Mapping[str, str] | None = None) -> ReverseStream:
        """A ``ServerCall`` to use with ``async with``; our ``eps-streams`` metadata goes along by itself."""
        headers = {**STREAM_METADATA, **(metadata or {})}
        return ReverseStream(self.operator, lambda: self._open_reverse(headers))

    async def drain(self, grace: float) -> None:
        """Take no new calls, let those in flight finish for ``grace`` seconds, then close. Returns when closed."""
        self._wire.leave("closed by us")
        self._wire._end_if_idle()
        try:
            async with asyncio.timeout(grace):
                await asyncio.shield(self.closed)
        except TimeoutError:
            self._wire.end("closed by us")
            await asyncio.shield(self.closed)

    def abort(self, reason: str) -> None:
        """End at once; every call in flight fails with an unknown outcome."""
        self._wire.leave(reason)
        self._wire.abort(reason)

    async def _open_reverse(self, metadata: Mapping[str, str]) -> WireStream:
        try:
            async with asyncio.timeout(SLOT_TIMEOUT):
                await self._slot()
            return self._wire.open_stream(request_headers(SERVER_CALL_PATH, self.operator, None, metadata))
        except TimeoutError as error:
            raise NotSent(f"{self.operator} has no room for another stream") from error
        except StreamLost as lost:
            raise NotSent(str(lost)) from lost

    async def _slot(self) -> None:
        """Wait until a stream may be opened: the peer allows so many, and its socket must take our bytes."""
        wire = self._wire
        while True:
            wire.look_for_end()
            if not wire.usable:
                raise NotSent(_past(wire.reason or (wire.leaving.result() if wire.leaving.done() else "not connected")))
            allowed = wire.h2.remote_settings.max_concurrent_streams
            if wire.writable and len(wire.streams) < allowed:
                return
            wire.slots.clear()
            await wire.slots.wait()

    async def _exchange(self, stream: WireStream, body: bytes) -> pb.Response:
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
        return self._read(message, read_status(stream.trailers or headers))

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
    text = f"{operator} answered {line.status.name}: {line.text or 'no reason given'}"
    if line.status in (Status.DEADLINE_EXCEEDED, Status.CANCELLED):
        return OutcomeUnknown(text, hint="the call may have been executed in part")
    return DeliveryError(text)


def _check_name(context: ssl.SSLContext, operator: Operator, sock: socket.socket) -> None:
    """Refuse names that ssl raises for; event loops would then leave the socket open."""
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=operator)
    except (ValueError, TypeError) as error:  # an empty or too long label, a zero byte
        sock.close()
        text = f"{operator[:80]!r} can't be the name of a TLS server: {error}"
        raise TlsFailed(text, hint="an operator's name must be like a host's", side=Side.DIRECTORY) from error


def _handshake_error(operator: Operator, error: OSError, timeout: float) -> TlsFailed | Unreachable:
    """Why the TLS handshake failed, in plain words."""
    if isinstance(error, ssl.SSLError):
        return TlsFailed(f"no TLS connection with {operator}: {plain_reason(error)}")
    if isinstance(error, ConnectionAbortedError):  # asyncio's word for its handshake timeout
        return Unreachable(f"{operator} did not finish the TLS handshake within {timeout:g} s", stage=Stage.TLS)
    return Unreachable(f"{operator} closed the connection during the TLS handshake ({error})", stage=Stage.TLS)

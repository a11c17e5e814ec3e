"""Who a wire belongs to: the client's side (``dialled``) or the server's (``accepted``) of a connection."""

from typing import Protocol

from eps.grpc.framing import FramingError
from eps.grpc.wire_stream import WireStream


class Owner(Protocol):
    """Whose wire it is: says what a new stream, a GOAWAY and a tick mean."""

    def on_request(self, stream: WireStream) -> None:
        """The peer opened a stream; its headers are there. A client never gets here: h2 refuses pushed streams."""

    def on_refused(self, stream: WireStream, error: FramingError) -> None:
        """A message on this stream is refused: end it before anything is buffered."""

    def on_released(self) -> None:
        """A stream is gone: there is room for another."""

    def on_writable(self) -> None:
        """The peer, or the socket, takes more again."""

    def on_doubt(self) -> None:
        """The peer may be gone; streams of which nothing has been sent have ended."""

    def on_goaway(self) -> None:
        """The peer said GOAWAY; its refused streams have learnt it."""

    def on_ping_ack(self, payload: bytes) -> None:
        """The peer answered a ping of ours."""

    def on_cut(self, reason: str) -> None:
        """The connection is about to end because of what the peer sent."""

    def on_tick(self, now: float) -> None:
        """Every ``limits.tick`` seconds."""

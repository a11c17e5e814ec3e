"""One connection that we dialled: it is with the operator that was meant, or it fails and says why.

It closes when the peer has said goodbye and the last call is over.
"""

import asyncio
import socket
import ssl

from h2.errors import ErrorCodes

from eps.core.names import Operator, shown
from eps.errors import CertificateRefused, Side, Stage, TlsFailed, Unreachable
from eps.grpc.framing import FramingError
from eps.grpc.link import WireLimits
from eps.grpc.wire import Wire
from eps.grpc.wire_stream import WireStream
from eps.reasons import TABLE, Reason
from eps.transport.handshakes import plain_reason, reason_of_handshake, reason_of_refusal
from eps.transport.tls import PeerIdentity, Pins, identify, pin_failure

REFUSED_HINT = (
    "check that the directory pins our certificate (submit its fingerprint), "
    "and that the peer trusts the authority it is from"
)


class Dialled:
    """Owns the client's side of a connection with ``operator``.

    Attributes:
        wire: HTTP/2; ``wire.link.peer`` says who it is.
        slots: set when there may be room for another stream, or never will be.
    """

    def __init__(self, operator: Operator, pins: Pins, limits: WireLimits) -> None:
        self.slots = asyncio.Event()
        self._handshake_done = False
        self._operator = operator
        self._pins = pins
        self.wire = Wire(
            self, client=True, verify=self._identify, peer_name=operator, limits=limits, explain=self._never_up
        )
        # Whoever waits for room in a connection that takes nothing more goes elsewhere at once.
        self.wire.link.leaving.add_done_callback(lambda _: self.slots.set())

    async def connect(self, sock: socket.socket, context: ssl.SSLContext, timeout: float) -> None:
        """TLS and HTTP/2 over a connected, non-blocking socket, which belongs to this connection from now on.

        Args:
            timeout: seconds until the peer's SETTINGS are there.

        Raises:
            TlsFailed: chain, name or pin don't fit, or the peer refused our certificate.
            Unreachable: the connection ended, or nothing came in time.
        """
        link, loop = self.wire.link, self.wire.loop
        deadline = loop.time() + timeout
        _check_name(context, self._operator, sock)
        try:
            await loop.create_connection(
                lambda: link,
                sock=sock,
                ssl=context,
                server_hostname=self._operator,
                ssl_handshake_timeout=max(timeout, 0.001),
                ssl_shutdown_timeout=1.0,
            )
            # Not wait_for: in Python 3.11 it loses a cancellation that comes in the turn in which the connection is up.
            async with asyncio.timeout(max(deadline - loop.time(), 0.001)):
                await asyncio.shield(link.up)
        except asyncio.CancelledError:
            link.abort("cancelled")
            raise
        except TimeoutError as error:
            link.abort(f"{self._operator} sent no HTTP/2 settings within {timeout:g} s")
            raise Unreachable(link.reason, stage=Stage.TLS, reason=Reason.SILENT) from error
        except (TlsFailed, Unreachable):
            raise
        except (OSError, ssl.SSLError) as error:
            sock.close()
            raise _handshake_error(self._operator, error, timeout) from error

    # -- what the wire tells

    def on_request(self, stream: WireStream) -> None:
        """Never: h2 refuses pushed streams."""

    def on_refused(self, stream: WireStream, error: FramingError) -> None:
        stream.reset(ErrorCodes.ENHANCE_YOUR_CALM, str(error), refused=True)

    def on_released(self) -> None:
        self.slots.set()
        self.wire.end_if_idle()

    def on_writable(self) -> None:
        self.slots.set()

    def on_doubt(self) -> None:
        self.slots.set()  # whoever waits for room goes elsewhere

    def on_goaway(self) -> None:
        self.wire.end_if_idle()

    def on_ping_ack(self, payload: bytes) -> None:
        """Any byte is a sign of life; the link counts them."""

    def on_cut(self, reason: str) -> None:
        """Whoever waits for an answer is told why."""

    def on_tick(self, now: float) -> None:
        """Nothing ages here: the pool ends what is idle."""

    # -- who it is

    def _identify(self, der: bytes | None) -> PeerIdentity:
        """The peer must be the operator that we dialled; another one's certificate, pinned or not, is refused."""
        self._handshake_done = True
        if der is None:
            raise TlsFailed(f"{self._operator} showed no certificate")
        try:
            identity = identify(der, self._pins)
        except TlsFailed as error:
            raise TlsFailed(
                f"{self._operator} is not who answers there: {error.message}", hint=error.hint, reason=Reason.PEER_PIN
            ) from error
        if self._operator not in identity.names:
            text, hint = pin_failure(
                f"{self._operator} is not who answers there: the certificate is pinned for {shown(identity.names)}",
                f"check the address of {self._operator} in the directory",
                self._pins,
            )
            raise TlsFailed(text, hint=hint, reason=Reason.PEER_PIN)
        return identity

    def _never_up(self, reason: str, exc: Exception | None) -> Exception:
        # TLS 1.3: the server judges our certificate after our handshake is done; its alert, or just the end, comes now.
        if isinstance(exc, ssl.SSLError):
            return CertificateRefused(
                f"{self._operator} refused the connection: {plain_reason(exc)}",
                hint=REFUSED_HINT,
                reason=reason_of_refusal(exc),
            )
        if (
            self._handshake_done
            and self.wire.link.peer is not None
            and (exc is not None or reason.endswith("closed the connection"))
        ):
            return CertificateRefused(
                f"{self._operator} closed the connection right after the TLS handshake; "
                "it most likely refused our certificate",
                hint=REFUSED_HINT,
            )
        return Unreachable(reason)


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
        text = f"no TLS connection with {operator}: {plain_reason(error)}"
        reason = reason_of_handshake(error)
        if reason is Reason.OWN_CA:
            hint = f"add the authority of {operator}'s certificate to ca_certificate_files, if it is the network's"
            return TlsFailed(text, hint=hint, side=Side.OURS, reason=reason)
        if reason is Reason.OWN_CLOCK:
            return TlsFailed(text, hint=TABLE[reason].do, side=Side.OURS, reason=reason)
        return TlsFailed(text, reason=reason)
    if isinstance(error, ConnectionAbortedError):  # asyncio's word for its handshake timeout
        return Unreachable(
            f"{operator} did not finish the TLS handshake within {timeout:g} s", stage=Stage.TLS, reason=Reason.SILENT
        )
    return Unreachable(f"{operator} closed the connection during the TLS handshake ({error})", stage=Stage.TLS)

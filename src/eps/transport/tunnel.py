"""A's and B's side of a relayed connection (PROTOCOL.md section 7, steps 4 and 5): dial the relay, show the token.

What comes back is a plain socket on which TLS runs exactly as if the other operator had been dialled.
"""

import socket
from dataclasses import dataclass

from eps.core.endpoint import Judge
from eps.core.http_proxy import NONE, HttpProxies
from eps.core.names import TOKEN_BYTES, Token
from eps.core.wording import counted
from eps.errors import NoAnswer, Side, TunnelFailed, Unreachable
from eps.reasons import Reason
from eps.transport.dial import connect, explain


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What an operator's own settings say about the relays that its proxies name.

    Attributes:
        trusted_endpoints: relays that are dialled whatever their address, besides those in the directory (setting
            ``internal_endpoints``).
        proxies: HTTP proxies to go through.
    """

    trusted_endpoints: tuple[str, ...] = ()
    proxies: HttpProxies = NONE


_OF_THE_RELAY = {Reason.UNREACHABLE: Reason.RELAY_UNREACHABLE, Reason.SILENT: Reason.RELAY_SILENT}


async def dial_relay(
    endpoint: str,
    token: Token,
    timeout: float,
    *,
    name: str = "",
    allow: Judge | None = None,
    proxies: HttpProxies = NONE,
) -> socket.socket:
    """Connect to a proxy's relay and write the token; the caller owns the socket.

    Args:
        endpoint: ``HOST:PORT`` as the proxy gave it.
        token: this side's 32 bytes.
        timeout: seconds for name and connection.
        name: the proxy's operator name, for the error text.
        allow: judges each resolved address (``core.endpoint.RelayTrust.judge``); only those it allows are dialled.
        proxies: HTTP proxies to go through.

    Raises:
        TunnelFailed: nothing was sent to the other operator; the message says why.
    """
    if len(token) != TOKEN_BYTES:
        raise TunnelFailed(
            f"{name or endpoint} gave a token of {counted(len(token), 'byte')}; it must have {TOKEN_BYTES}"
        )
    try:
        label = f"the relay of {name}" if name else "the relay"
        sock = await connect(endpoint, timeout, name=label, allow=allow, proxy_url=proxies.url_for(endpoint))
    except Unreachable as error:
        # Peers reach the relay, or else nobody would: what swallows our packets stands on our side.
        is_ours = error.side is Side.OURS or isinstance(error, NoAnswer)
        raise TunnelFailed(
            error.message,
            hint=error.hint,
            side=Side.OURS if is_ours else Side.PROXY,
            reason=_OF_THE_RELAY.get(error.reason, error.reason),
        ) from error
    try:
        # At once and in one segment: proxies in use read the token in one read (section 9). A new connection's send
        # buffer is empty, so the kernel takes all 32 bytes or fails.
        sent = sock.send(token)
    except OSError as error:
        sock.close()
        raise TunnelFailed(
            f"the relay at {endpoint} hung up before the token: {explain(error)}", reason=Reason.RELAY_UNREACHABLE
        ) from error
    if sent != TOKEN_BYTES:
        sock.close()
        raise TunnelFailed(f"the relay at {endpoint} took only {counted(sent, 'byte')} of the token")
    return sock


def read_token(sock: socket.socket, token: bytearray) -> bool:
    """The proxy's side: read what has come of the token, and not one byte more; whether all of it is there.

    Raises:
        OSError: the stream has ended, or is broken.
    """
    try:
        received = sock.recv(TOKEN_BYTES - len(token))
    except (BlockingIOError, InterruptedError):
        return False
    if not received:
        raise ConnectionResetError("the stream ended")
    token += received
    return len(token) == TOKEN_BYTES

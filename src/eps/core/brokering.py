"""What the parties of a brokered connection tell each other (PROTOCOL.md section 7). Pure.

A → P  requestConnection   {to, channel}                         → {token, endpoint}
P → B  _connectionRequest  {endpoint, client, channel, token}    → {}

and, for TLS clients (TLS passthrough), P to a private proxy:

P → B  incomingConnection  {domain, endpoint, token}             → {}
"""

import base64
import binascii
from typing import Any

from eps.core.client import Client, client_flaws, parse_client
from eps.core.host_port import parse_host_port
from eps.core.names import TOKEN_BYTES, Object, Operator, Token
from eps.errors import BadParams, TunnelFailed

SERVER_CHANNEL = "grpc_server"
"""The channel that tunnels lead to."""

REQUEST_CONNECTION = "requestConnection"
CONNECTION_REQUEST = "_connectionRequest"
TUNNEL_METHODS = frozenset({REQUEST_CONNECTION, CONNECTION_REQUEST})
"""The methods by which A asks P for a tunnel, and P then B."""


MAX_TO_BYTES = 100 - len(f".{CONNECTION_REQUEST}")
"""A method has at most 100 bytes (PROTOCOL.md section 5), and this one is ``TO._connectionRequest``."""

MAX_CHANNEL_CHARS = 100
"""Channel types are short words (``grpc_server``); what is longer is no channel type."""


def encode_token(token: Token) -> str:
    """``token`` as it travels in JSON: standard base64, padded."""
    return base64.b64encode(token).decode()


def parse_request_connection(params: Object) -> tuple[Operator, str, Client]:
    """``to``, ``channel``, and who asks, of ``requestConnection`` (PROTOCOL.md section 7, step 2).

    ``_client`` was put there by our EPS server; ``name`` and ``entry`` go to B unchanged, whatever else the entry
    holds or lacks, since B's server checks it itself.

    Raises:
        BadParams: naming the place.
    """
    to, channel = params.get("to"), params.get("channel")
    if not isinstance(to, str) or not to or len(to.encode(errors="replace")) > MAX_TO_BYTES:
        raise BadParams(f"to: must be an operator's name of at most {MAX_TO_BYTES} bytes")
    if not isinstance(channel, str) or not channel or len(channel) > MAX_CHANNEL_CHARS:
        raise BadParams("channel: must name the channel to connect to, for example grpc_server")
    return Operator(to), channel, parse_client(params)


def parse_connection_request(params: Object) -> tuple[str, str, Token]:
    """``channel``, ``endpoint`` and ``token`` of a ``_connectionRequest`` (PROTOCOL.md section 7, step 3).

    Raises:
        BadParams: with code 1, as peers in use answer, naming every key that is wrong.
    """
    wrong = []
    channel, endpoint = params.get("channel"), params.get("endpoint")
    if not isinstance(channel, str) or not channel:
        wrong.append("channel: expected the name of a channel")
    if not isinstance(endpoint, str) or not endpoint:
        wrong.append("endpoint: expected host:port")
    token = decode_token(params.get("token"))
    if token is None:
        wrong.append(f"token: expected {TOKEN_BYTES} bytes in standard base64")
    wrong += client_flaws(params.get("client"), "client")
    if wrong:
        raise BadParams("invalid params: " + "; ".join(wrong), code=1, hint="see PROTOCOL.md section 7, step 3")
    assert isinstance(channel, str) and isinstance(endpoint, str) and token is not None
    return channel, endpoint, token


def decode_token(value: Any) -> Token | None:
    """The token that ``value`` spells in standard, padded base64; None if it spells none."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Token(raw) if len(raw) == TOKEN_BYTES else None


def parse_incoming_connection(params: Object) -> tuple[str, str, Token]:
    """``domain``, ``endpoint`` and ``token`` of ``incomingConnection``, by which a public proxy calls a private one in.

    Raises:
        BadParams: naming the place.
    """
    domain, endpoint, token = params.get("domain"), params.get("endpoint"), decode_token(params.get("token"))
    if not isinstance(domain, str) or not domain:
        raise BadParams("domain: must be a domain name")
    if not isinstance(endpoint, str) or not endpoint:
        raise BadParams("endpoint: must be HOST:PORT")
    parse_host_port(endpoint)
    if token is None:
        raise BadParams(f"token: must be {TOKEN_BYTES} bytes in standard base64")
    return domain, endpoint, token


def parse_offer(result: Any, proxy: str) -> tuple[Token, str]:
    """Token and endpoint of the proxy's answer to ``requestConnection`` (step 5).

    Raises:
        TunnelFailed: the answer holds no usable token and endpoint.
    """
    offer = result if isinstance(result, dict) else {}
    token, endpoint = decode_token(offer.get("token")), offer.get("endpoint")
    if token is None or not isinstance(endpoint, str) or not endpoint:
        raise TunnelFailed(
            f"the proxy {proxy} answered without a token of {TOKEN_BYTES} bytes and an endpoint",
            hint=f"check that {proxy}'s public proxy and not another service answers requestConnection",
        )
    return token, endpoint

"""The messages of a brokered connection."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.brokering import decode_token, encode_token, parse_connection_request, parse_offer
from eps.core.names import Token
from eps.errors import BadParams, TunnelFailed

TOKEN = Token(bytes(range(32)))
CLIENT = {"name": "hd-1", "entry": {"name": "hd-1", "channels": []}}


@given(st.binary(min_size=32, max_size=32))
def test_a_token_survives_the_way(raw: bytes) -> None:
    assert decode_token(encode_token(Token(raw))) == raw


@pytest.mark.parametrize(
    "value", [None, 5, "", "AAAA", base64.b64encode(bytes(31)).decode(), encode_token(TOKEN)[:-1], "é" * 44, "A" * 100]
)
def test_anything_else_is_no_token(value: object) -> None:
    assert decode_token(value) is None


def test_url_safe_base64_is_not_standard() -> None:
    assert decode_token(base64.urlsafe_b64encode(b"\xff" * 32).decode()) is None


def test_offer() -> None:
    assert parse_offer({"token": encode_token(TOKEN), "endpoint": "p:1", "more": 1}, "p") == (TOKEN, "p:1")


@pytest.mark.parametrize(
    "result", [None, [], {}, {"token": encode_token(TOKEN)}, {"token": "x", "endpoint": "p:1"}, {"endpoint": "p:1"},
               {"token": encode_token(TOKEN), "endpoint": ""}, {"token": encode_token(TOKEN), "endpoint": 5}]
)  # fmt: skip
def test_no_offer(result: object) -> None:
    with pytest.raises(TunnelFailed, match="proxy p answered without"):
        parse_offer(result, "p")


def test_connection_request() -> None:
    params = {"endpoint": "p:1", "channel": "grpc_server", "token": encode_token(TOKEN), "client": CLIENT}
    assert parse_connection_request(params) == ("grpc_server", "p:1", TOKEN)


def test_every_wrong_key_is_named_at_once() -> None:
    with pytest.raises(BadParams) as caught:
        parse_connection_request({})
    assert caught.value.code == 1
    assert all(key in caught.value.message for key in ("endpoint", "channel", "token", "client"))


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ({"name": None, "entry": CLIENT["entry"]}, "client.name"),
        ({"name": "a", "entry": []}, "client.entry:"),
        ({"name": "a", "entry": {"channels": []}}, "client.entry.name"),
        ({"name": "a", "entry": {"name": "a", "channels": None}}, "client.entry.channels"),
    ],
)
def test_a_client_needs_a_name_and_an_entry(client: object, key: str) -> None:
    params = {"endpoint": "p:1", "channel": "c", "token": encode_token(TOKEN), "client": client}
    with pytest.raises(BadParams, match=key):
        parse_connection_request(params)

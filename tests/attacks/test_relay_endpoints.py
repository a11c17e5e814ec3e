"""A public proxy that lets operators knock at doors inside their own networks."""

import re

import pytest

from eps.core.endpoint import LIST_KEY, relay_trust
from eps.core.names import TOKEN_BYTES, Token
from eps.errors import TunnelFailed
from eps.transport.tunnel import dial_relay
from support.network import HD_1, HD_2, PROXY, Network

TOKEN = "A" * 43 + "="
"""32 zero bytes."""

HOSTILE = (
    *("127.0.0.2:80", "127.1:80", "2130706433:80", "0x7f000001:80", "0177.0.0.1:80", "127.0.0.1.:80", "0:80"),
    *("0.0.0.0:80", "[::]:80", "[::ffff:127.0.0.1]:80", "[::ffff:7f00:1]:80", "[::127.0.0.1]:80", "10.0.0.1:80"),
    *("10.255.255.255:443", "172.16.0.1:80", "172.31.255.255:80", "192.168.0.1:80", "169.254.169.254:80"),
    *("[::ffff:169.254.169.254]:80", "[fe80::1]:80", "[fe80::1%lo]:80", "[fc00::1]:80", "[fd00:ec2::254]:80"),
    *("[fec0::1]:80", "100.64.0.1:80", "198.18.0.1:80", "192.0.2.1:80", "203.0.113.1:80", "224.0.0.1:80"),
    *("255.255.255.255:80", "240.0.0.1:80", "[ff02::1]:80", "[64:ff9b::a00:1]:80", "[64:ff9b:1::a00:1]:80"),
    *("[2002:a00:1::]:80", "[2001:db8::1]:80", "[2001::1]:80", "a b:1", "http://10.0.0.1:80", "10.0.0.1:0"),
)


REASONS = "not an address that can|has no address|HOST:PORT"

WITHOUT_A_LIST = relay_trust(None, [], "relay.example:9999")
"""What is known of a proxy whose directory settings list no endpoints."""


@pytest.mark.parametrize("endpoint", HOSTILE)
async def test_forty_endpoints_that_no_proxy_may_name(endpoint: str) -> None:
    """As A and B dial what a proxy has named, where no list says which endpoints are its own."""
    with pytest.raises(TunnelFailed) as caught:
        await dial_relay(endpoint, Token(bytes(TOKEN_BYTES)), 5, name="proxy", allow=WITHOUT_A_LIST.judge)
    assert re.search(f"not a public address|{REASONS}", str(caught.value)), caught.value


async def test_where_a_list_is_given_nothing_else_is_dialled() -> None:
    """Over the network: by A, as the answer to its question, and by B, in a ``_connectionRequest``."""
    async with Network() as network:
        a, _ = await network.node(HD_1), await network.node(HD_2)
        await network.proxy()
        await network.ready()
        told = {"operator": "", "service": "proxy", "environment": "", "settings": {LIST_KEY: ["relay.example:9999"]}}
        network.extra.append(
            {"name": PROXY, "section": "settings", "data": [told], "created_at": "2026-11-22T10:00:00Z"}
        )
        network.publish()
        proxy = network.nodes[PROXY]
        client = {"name": HD_1, "entry": {"name": HD_1, "channels": []}}
        for number, endpoint in enumerate(HOSTILE):
            params = {"endpoint": endpoint, "client": client, "channel": "grpc_server", "token": TOKEN}
            refused = [(await proxy.call("hd-2._connectionRequest", params, f"b{number}")).error]
            proxy.application.answer = lambda request, told=endpoint: {"token": TOKEN, "endpoint": told}
            refused.append((await a.call("hd-2.echo")).error)
            for error in refused:
                assert error is not None and error.data["stage"] == "relay", (endpoint, error)
                assert error.data["outcome"] != "unknown"
                assert re.search(f"{LIST_KEY}|not an address that can|has no address|HOST:PORT", error.message), (
                    endpoint,
                    error,
                )

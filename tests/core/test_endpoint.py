"""Which relay endpoints may be dialled."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.endpoint import (
    RelayTrust,
    effective,
    is_global,
    judge_endpoint,
    normal_host,
    relay_trust,
)

NO_LIST = RelayTrust(None, "relay.example")


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_anybody_may_name_a_public_address(address: str) -> None:
    assert judge_endpoint("some.example", 1, ip_address(address), NO_LIST) is None


INTERNAL = [
    *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1"),
    *("192.0.2.1", "198.18.0.1", "240.0.0.1", "0.1.2.3", "::1", "fe80::1", "fe80::1%2", "fc00::1", "fd00::1"),
    *("fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "::8.8.8.8"),
    *("2002:7f00:1::", "2001:0:1::", "2001:db8::1", "3fff::1", "100::1", "4000::1"),
]

NOWHERE = [
    *("0.0.0.0", "255.255.255.255", "224.0.0.1", "239.1.2.3", "::", "ff02::1", "ff0e::1"),
    *("::ffff:0.0.0.0", "::ffff:224.0.0.1", "64:ff9b::0.0.0.0"),
]


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_need_a_reason(address: str) -> None:
    ip = ip_address(address)
    assert "not a public address" in (judge_endpoint("some.example", 1, ip, NO_LIST) or "")
    assert judge_endpoint("relay.example", 1, ip, NO_LIST) is None, "the host of the proxy's own server"
    listed = RelayTrust(frozenset({("some.example", 1)}), "")
    assert judge_endpoint("some.example", 1, ip, listed) is None, "listed"


@pytest.mark.parametrize("address", NOWHERE)
def test_what_is_no_interface_is_never_dialled(address: str) -> None:
    listed = RelayTrust(frozenset({("some.example", 1)}), "some.example")
    for trust in (NO_LIST, listed):
        assert "can be dialled" in (judge_endpoint("some.example", 1, ip_address(address), trust) or "")


def test_a_list_excludes_all_others() -> None:
    trust = relay_trust({"internal_endpoints": ["Relay.Example.:9999"]}, [], "own.example:5556")
    public = ip_address("8.8.8.8")
    assert trust.judge("relay.example", 9999, public) is None
    assert "not among the proxy's internal_endpoints" in (trust.judge("relay.example", 9998, public) or "")
    assert trust.judge("own.example", 9999, public) is not None
    assert trust.judge("8.8.8.8", 9999, public) is not None


def test_a_name_is_trusted_as_such_if_it_is_listed_or_the_proxys_own() -> None:
    """Asked where an HTTP proxy resolves it."""
    listed = relay_trust({"internal_endpoints": ["relay.example:1"]}, (), "p.example:2")
    assert listed.judge("Relay.example", 1, None) is None
    assert listed.judge("relay.example", 2, None) == "relay.example:2 is not among the proxy's internal_endpoints"
    unlisted = relay_trust(None, (), "p.example:2")
    assert unlisted.judge("p.example", 1, None) is None
    assert (unlisted.judge("q.example", 1, None) or "").startswith("q.example is not a public address")


def test_lists_of_the_directory_and_our_own_add_up() -> None:
    trust = relay_trust({"internal_endpoints": ["a:1"]}, ["[::1]:2"], "")
    assert trust.judge("a", 1, ip_address("10.0.0.1")) is None
    assert trust.judge("0:0:0:0:0:0:0:1", 2, ip_address("::1")) is None
    assert trust.judge("::1", 3, ip_address("::1")) is not None


@pytest.mark.parametrize("settings", [None, {}, {"internal_endpoints": []}, {"internal_endpoints": None}])
def test_without_a_list_the_proxys_own_host_counts(settings: dict[str, object] | None) -> None:
    trust = relay_trust(settings, [], "localhost:5556")
    assert trust.listed is None
    for host, address in (("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")):
        assert trust.judge(host, 9999, ip_address(address)) is None
    assert trust.judge("127.0.0.2", 9999, ip_address("127.0.0.2")) is not None


@pytest.mark.parametrize("settings", [{"internal_endpoints": [7, "", ":9", "nonsense"]}, {"internal_endpoints": 7}])
def test_a_malformed_list_allows_nothing(settings: dict[str, object]) -> None:
    trust = relay_trust(settings, [], "localhost:5556")
    assert trust.listed == frozenset()
    assert trust.judge("localhost", 9999, ip_address("127.0.0.1")) is not None


def test_a_single_endpoint_may_stand_without_a_list() -> None:
    assert relay_trust({"internal_endpoints": "a:1"}, [], "").listed == {("a", 1)}


def test_a_proxy_without_an_address_has_no_host_of_its_own() -> None:
    assert relay_trust(None, [], "").own_host == ""
    assert relay_trust(None, [], "").judge("localhost", 1, ip_address("::1")) is not None


def test_hosts_have_one_spelling() -> None:
    assert normal_host("LOCALHOST.") == "localhost"
    assert normal_host("::ffff:10.0.0.1") == "10.0.0.1"
    assert normal_host("2001:DB8:0::1") == "2001:db8::1"


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_wrapping(address: object) -> None:
    ip = ip_address(str(address))
    for wrapped in (f"::ffff:{ip}", f"64:ff9b::{ip}"):
        assert effective(ip_address(wrapped)) == ip
    assert is_global(effective(ip_address(f"::ffff:{ip}"))) == is_global(ip)

"""Which dials go through an HTTP proxy."""

import pytest

from eps.core.http_proxy import NONE, HttpProxies, http_proxies
from eps.errors import StartError

URL = "http://me:secret@proxy.example:3128"


def test_none() -> None:
    assert NONE.url_for("a.example:1") is None
    assert http_proxies(None, {}).url_for("a.example:1") is None
    assert http_proxies("", {"https_proxy": " "}).url_for("a.example:1") is None


def test_a_setting_is_for_everybody() -> None:
    proxies = http_proxies(URL, {"HTTPS_PROXY": "http://other:1"})
    assert proxies.url_for("a.example:1") == URL
    assert proxies.url_for("localhost:1") == URL
    assert http_proxies(URL, {"NO_PROXY": "localhost"}).url_for("localhost:1") is None


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.1:1", "127.3.2.1:1", "[::1]:1", "x.localhost:1"])
def test_the_variable_spares_this_machine(address: str) -> None:
    proxies = http_proxies(None, {"HTTPS_PROXY": URL})
    assert proxies.url_for(address) is None
    assert proxies.url_for("a.example:1") == URL
    assert proxies.url_for("10.0.0.1:1") == URL


def test_lower_case_first_and_a_scheme_may_be_missing() -> None:
    environment = {"https_proxy": "proxy:3128", "HTTPS_PROXY": URL, "no_proxy": "a", "NO_PROXY": "b"}
    proxies = http_proxies(None, environment)
    assert (proxies.url_for("b:1"), proxies.url_for("a:1")) == ("http://proxy:3128", None)


@pytest.mark.parametrize("value", ["https://proxy:1", "socks5://proxy:1", "http://", "http://a:x", "http://a:0"])
def test_a_variable_that_is_no_proxy(value: str) -> None:
    with pytest.raises(StartError, match="HTTPS_PROXY"):
        http_proxies(None, {"HTTPS_PROXY": value})


@pytest.mark.parametrize(
    ("exceptions", "address", "direct"),
    [
        ("*", "a.example:1", True),
        ("example", "a.example:1", True),
        ("example", "aexample:1", False),
        (".example", "a.example:1", True),
        (".example", "example:1", True),
        ("*.Example.", "A.EXAMPLE:1", True),
        ("example:8443", "a.example:8443", True),
        ("example:8443", "a.example:443", False),
        ("x, a.example  y", "a.example:1", True),
        ("10.0.0.0/8", "10.2.3.4:1", True),
        ("10.0.0.0/8", "11.2.3.4:1", False),
        ("10.0.0.0/8", "a.example:1", False),
        ("10.0.0.0/99", "10.2.3.4:1", False),
        ("10.2.3.4", "10.2.3.4:1", True),
        ("2001:db8::1", "[2001:db8:0::1]:1", True),
        ("[2001:db8::1]:2", "[2001:db8::1]:1", False),
        ("2001:db8::/32", "[2001:db8::1]:1", True),
        (".", "a.example:1", False),
        ("", "a.example:1", False),
    ],
)
def test_exceptions(exceptions: str, address: str, direct: bool) -> None:
    proxies = http_proxies(None, {"HTTPS_PROXY": URL, "NO_PROXY": exceptions})
    assert (proxies.url_for(address) is None) is direct


def test_an_address_that_is_none_is_left_to_whoever_dials_it() -> None:
    assert HttpProxies(URL).url_for("a:b:c") == URL


def test_the_password_is_not_shown() -> None:
    assert repr(HttpProxies(URL)) == "<HttpProxies set>" and repr(NONE) == "<HttpProxies none>"

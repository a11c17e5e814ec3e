"""HOST:PORT."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps.core.host_port import parse_host_port, render_host_port
from eps.errors import BadParams


@pytest.mark.parametrize(
    ("text", "default", "parsed"),
    [
        ("localhost:9999", None, ("localhost", 9999)),
        ("proxy.example.org:1", None, ("proxy.example.org", 1)),
        ("10.0.0.1:65535", None, ("10.0.0.1", 65535)),
        ("[2001:db8::1]:0", None, ("2001:db8::1", 0)),
        (":4444", None, ("", 4444)),
        ("0.0.0.0:1", None, ("0.0.0.0", 1)),
        ("[::]:4433", None, ("::", 4433)),
        ("localhost", 80, ("localhost", 80)),
        ("localhost:81", 80, ("localhost", 81)),
        ("[::1]", 80, ("::1", 80)),
        ("[::1%eth0]:80", None, ("::1%eth0", 80)),
        ("[fe80::1%3]:80", None, ("fe80::1%3", 80)),
    ],
)
def test_reads_addresses(text: str, default: int | None, parsed: tuple[str, int]) -> None:
    assert parse_host_port(text, default) == parsed


@pytest.mark.parametrize("default", [None, 80])
@pytest.mark.parametrize(
    "text",
    [
        *("", "a:", "a:b", "a:-1", "a:+1", "a:65536", "a:000080", "a:¹", "a:1:2", "::1", "::1:80"),
        *("[::1", "[::1]80", "[::1]:", "[1.2.3.4]:80", "[a]:80", "a b:1", "a/b:1", "u@a:1", "a\n:1", "http://a:1"),
        *("a@b:80", "[::1%]:80", "[::1%a%b]:80", "[::1% ]:80", "[::1%a\r\nHost: b]:80", "[1.2.3.4%eth0]:80"),
        *(
            " a:1",
            "a:1 ",
        ),
        f"[::1%{'a' * 33}]:80",
        "a" * 254 + ":1",
    ],
)
def test_refuses_what_is_no_address(text: str, default: int | None) -> None:
    with pytest.raises(BadParams, match="HOST:PORT"):
        parse_host_port(text, default)


def test_a_port_is_mandatory_without_a_default() -> None:
    for text in ("localhost", "[::1]"):
        with pytest.raises(BadParams):
            parse_host_port(text)


@given(
    st.one_of(
        st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?", fullmatch=True),
        st.ip_addresses().map(str),
    ),
    st.integers(0, 65535),
)
def test_parse_after_render_is_the_identity(host: str, port: int) -> None:
    assert parse_host_port(render_host_port(host, port)) == (host, port)
